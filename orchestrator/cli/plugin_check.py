"""``orchestrator plugins check``: the conformance kit on one adapter, live, in plain words."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from orchestrator.authoring.inspecting import adapter_factory, is_installed
from orchestrator.backends.registry import settings_of
from orchestrator.cli import DONE, NO
from orchestrator.cli.aside import exits_told, set_aside
from orchestrator.cli.output import console, emit
from orchestrator.errors import AdapterUnavailable
from orchestrator.loading import installed
from orchestrator.notify.registry import GROUP as CHANNELS
from orchestrator.settings import load
from orchestrator.testing.adapter_kit import CHECKS, Bench, Finding, Report, Verdict, examine
from orchestrator.testing.adapter_kit.quiet import quiet

#: So many checks left out for one reason are told one by one; more in a line.
_ALIKE: Final = 3
_MARKS: Final = {
    Verdict.KEPT: "[green]kept    [/]",
    Verdict.BROKEN: "[bold red]broken  [/]",
    Verdict.SKIPPED: "[bright_black]left out[/]",
}


async def examined(name: str, config: Path | None, backends: tuple[str, ...], *, as_json: bool) -> int:
    """Check, and print what was found as it is found; answers the exit code.

    Raises:
        AdapterUnavailable: There is nothing of that name to check.
    """
    settings = load(config)
    if name in installed(CHANNELS) and not is_installed(name):
        raise AdapterUnavailable(name, "it is a notification channel; hold it to orchestrator.testing.channel_suite")
    if not is_installed(name) and ":" not in name:
        adapter_factory(name)
    try:
        with quiet(), set_aside():
            make = adapter_factory(name, settings.dispatch.import_limit_s)
            adapter = make()
    except AdapterUnavailable as problem:
        if as_json:
            emit({"adapter": name, "problem": problem.reason})
        else:
            console().print(f"[bold red]{escape(name)}[/] is unavailable: {escape(problem.reason)}", soft_wrap=True)
        return NO
    bench = Bench(make, settings=settings_of(adapter, settings.plugins), backends=backends)
    with set_aside() as aside, exits_told(NO):
        report = await examine(bench) if as_json else await _live(name, bench, aside.report)
    if as_json:
        emit(_document(name, report, aside.summary()))
    else:
        _conclude(name, report, aside.summary())
    return NO if report.broken else DONE


async def _live(name: str, bench: Bench, file: TextIO) -> Report:
    """Run the kit; each finding is a line as soon as it is made, a bar below tells how far it is.

    Checks that are left out for the same reason, one after the other, are one line.
    """
    out = Console(highlight=False, file=file)
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=out, transient=True, redirect_stdout=False, redirect_stderr=False) as bar:
        task = bar.add_task(f"checking {escape(name)}", total=len(CHECKS))
        alike: list[Finding] = []

        def flush() -> None:
            if len(alike) > _ALIKE:
                out.print(f"{_MARKS[Verdict.SKIPPED]} {len(alike)} checks: {escape(alike[0].why)}", soft_wrap=True)
            else:
                for finding in alike:
                    line(finding)
            alike.clear()

        def line(finding: Finding) -> None:
            out.print(f"{_MARKS[finding.verdict]} {escape(finding.promise)}", soft_wrap=True)
            if finding.why:
                out.print(f"         {escape(finding.why)}", style="bright_black", soft_wrap=True)

        def tell(finding: Finding) -> None:
            if alike and (finding.verdict, finding.why) != (alike[0].verdict, alike[0].why):
                flush()
            if finding.verdict is Verdict.SKIPPED:
                alike.append(finding)
            else:
                line(finding)
            bar.advance(task)

        report = await examine(bench, tell)
        flush()
        return report


def _conclude(name: str, report: Report, printed: str) -> None:
    style = "bold red" if report.broken else "bold green"
    if printed:
        console().print(f"\n{escape(printed)}", style="bright_black", soft_wrap=True)
    console().print(f"\n[{style}]{escape(name)}[/]: {report.totals()}", soft_wrap=True)


def _document(name: str, report: Report, printed: str) -> dict[str, Any]:
    def items(findings: list[Finding]) -> list[dict[str, str]]:
        return [{"check": each.check, "promise": each.promise, "why": each.why} for each in findings]

    return {
        "adapter": name,
        "kept": items(report.kept),
        "broken": items(report.broken),
        "skipped": items(report.skipped),
        "printed": printed,
    }

"""``orchestrator plugins check``: the conformance kit on one adapter, live, in plain words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

import structlog
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from orchestrator.authoring.inspecting import adapter_factory, is_installed
from orchestrator.backends.registry import settings_of
from orchestrator.cli import DONE, NO
from orchestrator.cli.output import console, emit
from orchestrator.errors import AdapterUnavailable
from orchestrator.notify.registry import GROUP as CHANNELS
from orchestrator.settings import load
from orchestrator.testing.adapter_kit import CHECKS, Bench, Finding, Report, Verdict, examine

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
    if name in {point.name for point in entry_points(group=CHANNELS)} and not is_installed(name):
        raise AdapterUnavailable(name, "it is a notification channel; hold it to orchestrator.testing.channel_suite")
    if not is_installed(name) and ":" not in name:
        adapter_factory(name)
    try:
        with _quiet():
            make = adapter_factory(name)
            adapter = make()
    except AdapterUnavailable as problem:
        if as_json:
            emit({"adapter": name, "problem": problem.reason})
        else:
            console().print(f"[bold red]{escape(name)}[/] is unavailable: {escape(problem.reason)}", soft_wrap=True)
        return NO
    bench = Bench(make, settings=settings_of(adapter, settings.plugins), backends=backends)
    with _quiet():
        report = await examine(bench) if as_json else await _live(name, bench)
    if as_json:
        emit(_document(name, report))
    else:
        _conclude(name, report)
    return NO if report.broken else DONE


async def _live(name: str, bench: Bench) -> Report:
    """Run the kit; each finding is a line as soon as it is made, a bar below tells how far it is."""
    out = console()
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=out, transient=True) as bar:
        task = bar.add_task(f"checking {escape(name)}", total=len(CHECKS))

        def tell(finding: Finding) -> None:
            out.print(f"{_MARKS[finding.verdict]} {escape(finding.promise)}", soft_wrap=True)
            if finding.why:
                out.print(f"         {escape(finding.why)}", style="bright_black", soft_wrap=True)
            bar.advance(task)

        return await examine(bench, tell)


@contextmanager
def _quiet() -> Iterator[None]:
    """No log meanwhile: the kit breaks things on purpose, and tells itself what came of it."""
    before = structlog.get_config()
    structlog.configure(processors=[_dropped])
    try:
        yield
    finally:
        structlog.configure(**before)


def _dropped(*_: Any) -> structlog.typing.EventDict:
    raise structlog.DropEvent


def _conclude(name: str, report: Report) -> None:
    totals = f"{len(report.kept)} promises kept, {len(report.broken)} broken, {len(report.skipped)} left out"
    style = "bold red" if report.broken else "bold green"
    console().print(f"\n[{style}]{escape(name)}[/]: {totals}", soft_wrap=True)


def _document(name: str, report: Report) -> dict[str, Any]:
    def items(findings: list[Finding]) -> list[dict[str, str]]:
        return [{"check": each.check, "promise": each.promise, "why": each.why} for each in findings]

    return {
        "adapter": name,
        "kept": items(report.kept),
        "broken": items(report.broken),
        "skipped": items(report.skipped),
    }

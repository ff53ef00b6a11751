"""``orchestrator bench``: what this machine makes of the orchestrator."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.text import Text

from orchestrator.cli.options import json_option
from orchestrator.cli.output import console, emit, table

if TYPE_CHECKING:
    from orchestrator.bench.plan import Sizes
    from orchestrator.bench.report import Figure, Report


@click.command()
@json_option
@click.option("--quick", "size", flag_value="QUICK", help="One short round: is everything in order?")
@click.option("--full", "size", flag_value="FULL", help="With 1,000,000 finished jobs; takes some minutes and 2 GB.")
@click.option("--feed", is_flag=True, help="Measure the event feed instead, beside plain aiohttp.")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder on the disk to be measured; a temporary one unless given. Everything made there is removed.",
)
def command(as_json: bool, size: str | None, feed: bool, data: Path | None) -> None:
    """Measure life cycles, latencies and HTTP on this machine, and print them with the conditions.

    No-op jobs go the normal way: stored with their input, dispatched, four events each, every commit synced. Figures
    are medians of five rounds; compare ratios rather than figures where others use the machine too.
    """
    from orchestrator.bench import plan  # noqa: PLC0415 - brings aiohttp
    from orchestrator.process import run  # noqa: PLC0415

    sizes: Sizes = getattr(plan, size or "USUAL")
    if data is not None:
        data.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="orchestrator-bench-", dir=data) as folder:
        if feed:
            _feed(Path(folder), sizes, as_json)
            return
        if as_json:
            emit(run(_measured(Path(folder), sizes, lambda _: None)))
            return
        out = console()
        with out.status("measuring") as status:
            report = run(_measured(Path(folder), sizes, status.update))
        _show(report)


def _feed(folder: Path, sizes: Sizes, as_json: bool) -> None:
    from orchestrator.bench.feed import ROUNDS, measure  # noqa: PLC0415
    from orchestrator.process import run  # noqa: PLC0415

    if as_json:
        emit(run(measure(folder, ROUNDS * sizes.rounds, lambda _: None)))
        return
    with console().status("measuring") as status:
        report = run(measure(folder, ROUNDS * sizes.rounds, status.update))
    figures = [(f"{row.subscribers:,}", *map(_number, (row.feed, row.plain, row.ratio))) for row in report.fanout]
    table(("subscribers", "feed, deliveries/s", "plain aiohttp, deliveries/s", "feed / plain"), figures)
    waits = {"after its commit": report.after_commit_ms, "after the submit": report.after_submit_ms}
    rows = [(title, *map(_number, wait.values())) for title, wait in waits.items()]
    table(("job.submitted arrives", *(f"{name}, ms" for name in report.after_commit_ms)), rows)


async def _measured(folder: Path, sizes: Sizes, tell: Callable[[str], None]) -> Report:
    from orchestrator.bench.conditions import conditions  # noqa: PLC0415
    from orchestrator.bench.plan import Bench  # noqa: PLC0415
    from orchestrator.bench.report import report  # noqa: PLC0415

    before = conditions(folder)
    return report(before, sizes, await Bench(folder, sizes, tell).run())


def _show(report: Report) -> None:
    from orchestrator.bench.report import SECTIONS  # noqa: PLC0415

    here, out = report.conditions, console()
    versions = ", ".join(f"{name} {number}" for name, number in here.versions.items())
    out.print(f"{here.cpu}, {here.cores} cores, {here.system}; load average {here.load_average:.1f}")
    out.print(f"Python {here.python}, {here.loop}, {versions}")
    out.print(f"synchronous = {here.synchronous}, one write and sync {here.fsync_ms:.2f} ms; four events a job")
    out.print(f"medians of {report.sizes.rounds} rounds, {report.sizes.seconds:g} s for each figure")
    for title, rows in SECTIONS:
        out.print(f"\n[bold]{title.format(finished=report.sizes.finished)}[/]")
        figures = [report.figures[row.name] for row in rows if row.name in report.figures]
        table(("figure", "median", "rounds", "bar"), [_line(figure) for figure in figures], optional=["rounds"])
    for note in report.notes:
        out.print(note)


def _line(figure: Figure) -> tuple[str | Text, ...]:
    value = Text(f"{_number(figure.value)} {figure.unit}", style="bold")
    rounds = f"{_number(min(figure.rounds))} - {_number(max(figure.rounds))}"
    if figure.reach is None:
        return figure.title, value, rounds, ""
    bar = f"{'<=' if figure.most else '>='} {_number(figure.reach)} {'reached' if figure.reached else 'missed'}"
    return figure.title, value, rounds, Text(bar, style="green" if figure.reached else "red")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"

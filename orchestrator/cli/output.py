"""What commands print: one JSON document a line for scripts, tables for people."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Literal

import click
import msgspec
from rich.box import ASCII, SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.lifecycle import JobStatus
from orchestrator.model import Cost

#: Colour of each status, here and nowhere else.
STYLES: Final = {
    JobStatus.SUBMITTED: "bright_black",
    JobStatus.READY: "yellow",
    JobStatus.STARTED: "bold blue",
    JobStatus.COMPLETED: "green",
    JobStatus.FAILED: "bold red",
    JobStatus.CANCELED: "magenta",
}
_LEAST_WRAPPED: Final = 24
_SIGNS: Final = {
    JobStatus.SUBMITTED: "○",
    JobStatus.READY: "◔",
    JobStatus.STARTED: "◑",
    JobStatus.COMPLETED: "✔",
    JobStatus.FAILED: "✘",
    JobStatus.CANCELED: "⊘",
}


def console() -> Console:
    """Standard output, for people."""
    return Console(highlight=False)


def emit(document: object) -> None:
    """One JSON document on a line of its own."""
    click.echo(msgspec.json.encode(document))


def badge(status: JobStatus, *, plain: bool = False) -> Text:
    """A status in its colour, with its sign where the terminal has it."""
    return Text(status if plain else f"{_SIGNS[status]} {status}", style=STYLES[status], no_wrap=True)


def table(
    titles: Sequence[str],
    rows: Sequence[Sequence[str | Text]],
    *,
    optional: Sequence[str] = (),
    wrap: str | None = None,
) -> None:
    """Print a table that fits the terminal; where nobody looks, in a pipe or a file, nothing is cut or left out.

    Args:
        titles: Of the columns.
        rows: A cell for each column.
        optional: Columns that are left out where the terminal is too narrow, in that order.
        wrap: The column whose cells may take several lines.
    """
    out = console()
    looked_at = out.is_terminal or "COLUMNS" in os.environ
    columns = dict(zip(titles, zip(*rows, strict=True) if rows else [()] * len(titles), strict=True))
    widths = {title: max(len(cell) for cell in (title, *cells)) for title, cells in columns.items()}
    needed = sum(width + 3 for width in widths.values())
    if not looked_at:
        out.width, optional, wrap = max(out.width, needed), (), None
    if wrap is not None:
        widths[wrap] = min(widths[wrap], _LEAST_WRAPPED)
    for title in optional:
        if sum(width + 2 for width in widths.values()) <= out.width:
            break
        del columns[title], widths[title]
    grid = Table(
        box=ASCII if out.options.ascii_only else SIMPLE_HEAD, header_style="bold", show_edge=False, pad_edge=False
    )
    for title in columns:
        overflow: Literal["fold", "ellipsis"] = "fold" if title == wrap else "ellipsis"
        grid.add_column(title, no_wrap=title != wrap, overflow=overflow, min_width=widths[title])
    for cells in zip(*columns.values(), strict=True):
        grid.add_row(*cells)
    out.print(grid)


def moment(at_ms: int | None) -> str:
    """A time as people read it, UTC; empty for none."""
    return "" if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def clock_time(iso: str | None) -> str:
    """A time of the contract as people read it, UTC; empty for none."""
    return "" if iso is None else moment(round(datetime.fromisoformat(iso).timestamp() * 1000))


def about(ms: float) -> str:
    """A duration that is only predicted, in whole units."""
    if ms < 60_000:
        return f"{max(1, round(ms / 1_000))} s"
    return f"{round(ms / 60_000)} min" if ms < 90 * 60_000 else f"{ms / 3_600_000:.1f} h"


def amount(cost: Cost) -> str:
    """An amount of money, as exact as costs are."""
    digits = f"{cost.value:,.6f}".rstrip("0")
    whole, _, cents = digits.partition(".")
    return f"{whole}.{cents:0<2} {cost.unit}"


def duration(ms: float | None) -> str:
    """A duration in the unit that suits it; empty for none."""
    if ms is None:
        return ""
    if ms < 1_000:
        return f"{ms:.0f} ms"
    return f"{ms / 1_000:.2f} s" if ms < 60_000 else f"{ms / 60_000:.1f} min"

"""A result as bars in a terminal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.text import Text

from orchestrator.model import Result

#: Outcomes that are told one by one; of more, the most probable ones and a line for the rest.
MOST: Final = 12
_EIGHTHS: Final = " ▏▎▍▌▋▊▉"
_WIDEST_BAR: Final = 48
_WIDEST_LABEL: Final = 32


@dataclass(frozen=True)
class Bar:
    """One line of a histogram: what was measured, how often, and how probable that makes it."""

    label: str
    probability: float
    count: int | None


def bars(result: Result, most: int = MOST) -> list[Bar]:
    """The lines of a histogram, in the order of the outcomes.

    An outcome is written with qubit 0 rightmost. Of more than `most` outcomes the most probable are shown, and
    what the others add up to.
    """
    counts = result.counts
    shown = list(result.probabilities)
    if len(shown) > most:
        shown = sorted(shown, key=lambda outcome: (-result.probabilities[outcome], outcome))[: most - 1]
    lines = [
        Bar(
            label(outcome, result.qubits),
            result.probabilities[outcome],
            None if counts is None else counts.get(outcome, 0),
        )
        for outcome in sorted(shown)
    ]
    if len(shown) < len(result.probabilities):
        rest = math.fsum(result.probabilities.values()) - math.fsum(line.probability for line in lines)
        hidden = len(result.probabilities) - len(shown)
        counted = None if counts is None else sum(counts.values()) - sum(line.count or 0 for line in lines)
        lines.append(Bar(f"{hidden} others", max(rest, 0.0), counted))
    return lines


def label(outcome: int, qubits: int) -> str:
    """An outcome in binary, qubit 0 rightmost; in decimal where that is too long to read."""
    return f"{outcome:0{qubits}b}" if qubits <= _WIDEST_LABEL else str(outcome)


def bar(fraction: float, width: int, *, plain: bool = False) -> str:
    """A bar `fraction` (0 to 1) of `width` characters long, to an eighth of one; anything above 0 is seen."""
    if plain:
        return "#" * max(round(fraction * width), int(fraction > 0))
    eighths = max(round(fraction * width * 8), int(fraction > 0))
    full, rest = divmod(eighths, 8)
    return "█" * full + (_EIGHTHS[rest] if rest else "")


class Histogram:
    """A renderable histogram that fits the width it is given.

    Args:
        result: What was measured.
        style: Colour of the bars.
        most: See `bars`.
    """

    def __init__(self, result: Result, *, style: str = "cyan", most: int = MOST) -> None:
        self._bars = bars(result, most)
        self._style = style

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(self._around() + 4, self._around() + _WIDEST_BAR)

    def _around(self) -> int:
        counts = max((len(f"{line.count:,}") + 2 for line in self._bars if line.count is not None), default=0)
        return max((len(line.label) for line in self._bars), default=0) + len("   100.0 %") + counts

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        labels = max((len(line.label) for line in self._bars), default=0)
        width = max(4, min(_WIDEST_BAR, options.max_width - self._around()))
        top = max((line.probability for line in self._bars), default=1.0) or 1.0
        for line in self._bars:
            drawn = bar(line.probability / top, width, plain=options.ascii_only)
            text = Text(no_wrap=True, overflow="crop", end="\n")
            text.append(f"{line.label:>{labels}} ", style="bold")
            text.append(f"{drawn:<{width}}", style=self._style)
            text.append(f" {100 * line.probability:5.1f} %")
            if line.count is not None:
                text.append(f"  {line.count:,}", style="bright_black")
            yield text

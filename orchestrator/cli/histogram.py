"""A result as bars in a terminal."""

from __future__ import annotations

from typing import Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.text import Text

from orchestrator.histogram import MOST, bars
from orchestrator.model import Result

_EIGHTHS: Final = " ▏▎▍▌▋▊▉"
_WIDEST_BAR: Final = 48


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
        most: See `orchestrator.histogram.bars`.
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

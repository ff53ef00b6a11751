"""The histogram of a result as a picture for a mail: PNG, because mail programs show no SVG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from orchestrator.histogram import MOST, bars, percent
from orchestrator.model import Result
from orchestrator.notify.channels.canvas import Canvas, Colour, advance

#: Pixels of the picture for one of the mail, so that it is sharp on dense screens.
DENSITY: Final = 2
WIDTH: Final = 1072

_INK: Final[Colour] = (30, 34, 51)
_MUTED: Final[Colour] = (104, 112, 133)
_TRACK: Final[Colour] = (237, 239, 246)
_BAR: Final[Colour] = (79, 86, 211)
_REST: Final[Colour] = (166, 173, 191)

_ROW: Final = 52
_THICK: Final = 30
_CORNER: Final = 7.0
_MARGIN: Final = 8
_EDGE: Final = 4
_GAP: Final = 22
_LARGE, _SMALL = 24.0, 17.0


#: A PNG file, and the width and height to show it at.
Drawn = tuple[bytes, int, int]

#: Longest label that a picture of half the width has room for, and the most bars of one among several.
_SHORT: Final = 10
_FEW: Final = 6


def beside_each_other(results: Sequence[Result], narrow: int) -> list[Drawn]:
    """Pictures of several results, equally wide: `narrow` if their labels allow it."""
    longest = max((len(line.label) for result in results for line in bars(result, _FEW)), default=1)
    width = DENSITY * narrow if longest <= _SHORT else WIDTH
    return [histogram(result, width, _FEW) for result in results]


def histogram(result: Result, width: int = WIDTH, most: int = MOST) -> Drawn:
    """The picture of one result. Bars are scaled to the most probable outcome's.

    Args:
        result: What was measured.
        width: Of the picture, pixels.
        most: See `orchestrator.histogram.bars`.

    Raises:
        ValueError: So narrow a picture has no room for labels so long.
    """
    lines = bars(result, most)
    longest = max((len(line.label) for line in lines), default=1)
    size = _LARGE if longest <= 14 else _SMALL
    figures = max((len(percent(line.probability)) for line in lines), default=6)
    left = _EDGE + longest * advance(size) + _GAP
    right = width - _EDGE - figures * advance(size) - _GAP
    top = max((line.probability for line in lines), default=1.0) or 1.0
    canvas = Canvas(width, 2 * _MARGIN + _ROW * max(1, len(lines)))
    for row, line in enumerate(lines):
        y = _MARGIN + row * _ROW
        text_y = y + (_ROW - size) / 2
        bar_y = y + (_ROW - _THICK) // 2
        canvas.text(left - _GAP - len(line.label) * advance(size), text_y, line.label, size, _INK)
        canvas.bar(left, bar_y, right - left, _THICK, radius=_CORNER, colour=_TRACK)
        if line.probability > 0:
            length = max((right - left) * line.probability / top, 4.0)
            canvas.bar(left, bar_y, length, _THICK, radius=_CORNER, colour=_REST if line.rest else _BAR)
        figure = percent(line.probability)
        canvas.text(width - _EDGE - len(figure) * advance(size), text_y, figure, size, _MUTED)
    return canvas.png(), canvas.width // DENSITY, canvas.height // DENSITY

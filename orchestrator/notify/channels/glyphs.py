"""A tiny stroke font for labels of histograms: bit strings, percentages and the word "others".

A letter is a few lines drawn by a round pen on a grid 10 wide and 14 high, y downwards, digits from 0 to 14. Lines
scale to any size, where a bitmap would show its pixels on sharp screens.
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache
from typing import Final

Point = tuple[float, float]
Stroke = list[Point]

GRID_HEIGHT: Final = 14.0
#: Thickness of the pen, grid units.
_PEN: Final = 1.75


def _arc(x: float, y: float, rx: float, ry: float, *turn: float) -> Stroke:
    """A part of an ellipse, from the first angle of `turn` to the second; degrees, 0 to the right, 90 down."""
    start, end = turn
    steps = max(2, round(abs(end - start) / 15))
    angles = (math.radians(start + (end - start) * step / steps) for step in range(steps + 1))
    return [(x + rx * math.cos(angle), y + ry * math.sin(angle)) for angle in angles]


def _curve(start: Point, pull: Point, end: Point) -> Stroke:
    """A quadratic Bezier curve."""
    parts = [step / 8 for step in range(9)]
    return [
        (
            (1 - t) ** 2 * start[0] + 2 * (1 - t) * t * pull[0] + t * t * end[0],
            (1 - t) ** 2 * start[1] + 2 * (1 - t) * t * pull[1] + t * t * end[1],
        )
        for t in parts
    ]


_STROKES: Final[dict[str, list[Stroke]]] = {
    "0": [_arc(5, 7, 4, 7, 0, 360)],
    "1": [[(2, 2.6), (5.4, 0), (5.4, 14)], [(2.2, 14), (8.6, 14)]],
    "2": [[*_arc(5, 4, 3.9, 4, 195, 395), (1.2, 14), (9, 14)]],
    "3": [_arc(4.7, 3.4, 3.7, 3.4, 205, 450), _arc(4.7, 10.4, 4.2, 3.6, 270, 515)],
    "4": [[(7.2, 14), (7.2, 0), (0.9, 10.2), (9.4, 10.2)]],
    "5": [[(8.4, 0), (2.2, 0), (1.7, 6.6), *_arc(4.9, 9.4, 4.2, 4.6, 225, 510)]],
    "6": [_arc(5, 9.6, 4, 4.4, 0, 360), _curve((7.6, 0), (1.2, 3.6), (1, 9.6))],
    "7": [[(1, 0), (9, 0), (3.8, 14)]],
    "8": [_arc(5, 3.5, 3.5, 3.5, 0, 360), _arc(5, 10.5, 4.1, 3.5, 0, 360)],
    "9": [_arc(5, 4.4, 4, 4.4, 0, 360), _curve((2.4, 14), (8.8, 10.4), (9, 4.4))],
    ".": [[(5, 13.6), (5, 13.6)]],
    ",": [[(5.4, 13.4), (4.4, 16.2)]],
    "<": [[(8.6, 3), (1.4, 7.5), (8.6, 12)]],
    "%": [_arc(2.2, 3, 2.1, 3, 0, 360), _arc(7.8, 11, 2.1, 3, 0, 360), [(8.8, 0.6), (1.2, 13.4)]],
    "o": [_arc(5, 9.5, 3.9, 4.5, 0, 360)],
    "t": [[(4, 1.6), *_curve((4, 11), (4, 14), (8.4, 13.8))], [(1, 5), (8.4, 5)]],
    "h": [[(1.4, 0), (1.4, 14)], [*_arc(5, 8.8, 3.6, 3.8, 180, 360), (8.6, 14)]],
    "e": [[(1.2, 9.4), (8.8, 9.4), *_arc(5, 9.5, 3.9, 4.5, 355, 45)]],
    "r": [[(2.6, 5), (2.6, 14)], _curve((2.6, 9), (3.2, 4.6), (8.4, 5.2))],
    "s": [[*_arc(5, 7.2, 3.4, 2.2, 330, 90), *_arc(5, 11.7, 3.6, 2.3, 270, 510)]],
    " ": [],
}


def known(text: str) -> bool:
    """Whether the font has all letters of a text."""
    return set(text) <= set(_STROKES)


@lru_cache(maxsize=256)
def coverage(character: str, size: float) -> tuple[int, int, tuple[tuple[float, ...], ...]]:
    """How much of each pixel a letter covers, 0 to 1: the offset of the first column and row, and the rows.

    Args:
        size: Height of a digit, pixels.

    Raises:
        KeyError: The font has no such letter.
    """
    scale = size / GRID_HEIGHT
    pen = _PEN * scale / 2
    strokes = [[(x * scale, y * scale) for x, y in stroke] for stroke in _STROKES[character]]
    points = [point for stroke in strokes for point in stroke]
    if not points:
        return 0, 0, ()
    left, top = (math.floor(min(point[axis] for point in points) - pen - 1) for axis in (0, 1))
    right, bottom = (math.ceil(max(point[axis] for point in points) + pen + 1) for axis in (0, 1))
    pairs = [pair for stroke in strokes for pair in itertools.pairwise(stroke)]
    rows = tuple(
        tuple(
            min(1.0, max(0.0, pen + 0.5 - min(_distance((x + 0.5, y + 0.5), start, end) for start, end in pairs)))
            for x in range(left, right)
        )
        for y in range(top, bottom)
    )
    return left, top, rows


def _distance(point: Point, start: Point, end: Point) -> float:
    """From a point to a line between two others."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = dx * dx + dy * dy
    along = ((point[0] - start[0]) * dx + (point[1] - start[1]) * dy) / length if length else 0.0
    along = min(1.0, max(0.0, along))
    return math.hypot(point[0] - start[0] - along * dx, point[1] - start[1] - along * dy)

"""Pictures without a library: a white RGB canvas, smooth shapes, and a PNG of it (RFC 2083)."""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache
from typing import Final

from orchestrator.notify.channels.glyphs import coverage

Colour = tuple[int, int, int]

WHITE: Final[Colour] = (255, 255, 255)


class Canvas:
    """`width` by `height` pixels; coordinates in pixels from the top left."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._rows = [bytearray(bytes(WHITE) * width) for _ in range(height)]

    def bar(self, x: float, y: int, width: float, height: int, *, radius: float, colour: Colour) -> None:
        """A bar with round corners, as round as its height and width allow."""
        radius = min(radius, height / 2, width / 2)
        for line in range(y, y + height):
            # How far the middle of this line of pixels lies beyond the straight part of the ends.
            off = max(0.0, abs(line + 0.5 - (y + height / 2)) - (height / 2 - radius))
            inset = radius - (radius * radius - off * off) ** 0.5
            self._span(line, x + inset, x + width - inset, colour)

    def _span(self, y: int, left: float, right: float, colour: Colour) -> None:
        """A line of pixels from `left` to `right`; pixels it covers in part are blended."""
        left, right = max(left, 0.0), min(right, float(self.width))
        if right <= left or not 0 <= y < self.height:
            return
        first, last = int(left), int(right)
        if first == last:
            self._blend(first, y, colour, right - left)
            return
        self._blend(first, y, colour, first + 1 - left)
        self._rows[y][3 * (first + 1) : 3 * last] = bytes(colour) * (last - first - 1)
        if last < self.width:
            self._blend(last, y, colour, right - last)

    def _blend(self, x: int, y: int, colour: Colour, alpha: float) -> None:
        row, start = self._rows[y], 3 * x
        row[start : start + 3] = _mixed((row[start], row[start + 1], row[start + 2]), colour, alpha)

    def text(self, x: float, y: float, text: str, size: float, colour: Colour) -> None:
        """Write on white in the font of `glyphs`; `x` is the left edge and `y` the top of the digits.

        Raises:
            ValueError: The text leaves the canvas.
        """
        for character in text:
            left, top, lines = _stamp(character, size, colour)
            left, top = round(x) + left, round(y) + top
            for row, line in enumerate(lines, start=top):
                if left < 0 or 3 * left + len(line) > 3 * self.width or not 0 <= row < self.height:
                    raise ValueError("text leaves the canvas")
                self._rows[row][3 * left : 3 * left + len(line)] = line
            x += advance(size)

    def png(self) -> bytes:
        """The picture as a PNG file, 8 bits a channel."""
        raw = b"".join(b"\0" + row for row in self._rows)
        header = struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)
        chunks = (_chunk(b"IHDR", header), _chunk(b"IDAT", zlib.compress(raw, 6)), _chunk(b"IEND", b""))
        return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def advance(size: float) -> float:
    """How far apart letters of a size stand, pixels; all are equally wide."""
    return size * 0.86


@lru_cache(maxsize=256)
def _stamp(character: str, size: float, colour: Colour) -> tuple[int, int, tuple[bytes, ...]]:
    """A letter as pixels on white; see `coverage` for the offsets."""
    left, top, rows = coverage(character, size)
    return left, top, tuple(b"".join(_mixed(WHITE, colour, alpha) for alpha in row) for row in rows)


def _mixed(below: Colour, above: Colour, alpha: float) -> bytes:
    return bytes(round(low + (high - low) * alpha) for low, high in zip(below, above, strict=True))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

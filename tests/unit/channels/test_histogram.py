"""Histograms as bars, letters and pictures."""

from __future__ import annotations

import struct
import zlib

import pytest

from orchestrator.histogram import MOST, bars, label, percent
from orchestrator.model import Result
from orchestrator.notify.channels import plain
from orchestrator.notify.channels.canvas import Canvas
from orchestrator.notify.channels.glyphs import known
from orchestrator.notify.channels.picture import beside_each_other, histogram

RESULTS = {
    "bell": Result(qubits=2, probabilities={0: 0.5, 3: 0.5}),
    "certain": Result(qubits=1, probabilities={1: 1.0}),
    "rare": Result(qubits=1, probabilities={0: 0.9999, 1: 0.0001}),
    "many": Result(qubits=20, probabilities=dict.fromkeys(range(99999), 1 / 99999)),
    "wide": Result(qubits=32, probabilities={2**32 - 1 - key: 0.1 for key in range(10)}),
    "digits": Result(qubits=1000, probabilities={2**999 + key: 0.25 for key in range(4)}),
    "zeros": Result(qubits=1, probabilities={0: 0.0}),
    "empty": Result(qubits=1, probabilities={}),
}


def test_most_probable_and_the_rest() -> None:
    """Many outcomes become the most probable ones in their own order, and what the others add up to."""
    weights = {key: (3.0 if key == 77 else 1.0) for key in range(100)}
    total = sum(weights.values())
    result = Result(
        qubits=7,
        probabilities={key: weight / total for key, weight in weights.items()},
        counts={key: int(weight) for key, weight in weights.items()},
    )
    drawn = bars(result)
    assert len(drawn) == MOST
    assert [bar.label for bar in drawn] == [*(label(key, 7) for key in range(10)), label(77, 7), "89 others"]
    assert drawn[-1].rest
    assert sum(bar.probability for bar in drawn) == pytest.approx(1.0)
    assert sum(bar.count or 0 for bar in drawn) == 102


@pytest.mark.parametrize("name", list(RESULTS))
def test_pictures_beside_each_other(name: str) -> None:
    """Pictures of several results are equally wide: half as wide as the mail where all labels are short."""
    shown = beside_each_other([RESULTS[name], RESULTS["bell"]], 256)
    width = 536 if name in {"many", "wide", "digits"} else 256
    assert [drawn[1] for drawn in shown] == [width] * 2


def test_labels_and_figures() -> None:
    """Qubit 0 is rightmost; long numbers lose their middle; small probabilities are not none."""
    assert label(1, 3) == "001"
    assert len(label(2**999, 1000)) < 32
    assert [percent(value) for value in (1.0, 0.5, 0.0004, 0.0)] == ["100.0 %", "50.0 %", "<0.1 %", "0.0 %"]


@pytest.mark.parametrize("name", RESULTS)
def test_any_result_can_be_drawn(name: str) -> None:
    """The picture is a valid PNG of the size announced, and nothing is written over its edge."""
    png, width, height = histogram(RESULTS[name])
    pixels = decoded(png)
    assert (len(pixels[0]) // 3, len(pixels)) == (2 * width, 2 * height)
    for bar in bars(RESULTS[name]):
        assert known(bar.label + percent(bar.probability))
    assert plain.bars(RESULTS[name]) is not None


def test_bars_are_as_long_as_probable() -> None:
    """Half the probability is half the bar, to a pixel or two."""
    png, _, _ = histogram(Result(qubits=1, probabilities={0: 2 / 3, 1: 1 / 3}))
    pixels = decoded(png)
    bar = bytes((79, 86, 211))
    lengths = [sum(row[x : x + 3] == bar for x in range(0, len(row), 3)) for row in (pixels[34], pixels[34 + 52])]
    assert lengths[0] > 400
    assert lengths[1] == pytest.approx(lengths[0] / 2, abs=2)


def test_text_over_the_edge_is_refused() -> None:
    """A picture that would be cut is a fault of the program."""
    with pytest.raises(ValueError, match="leaves"):
        Canvas(20, 20).text(15, 2, "0", 14, (0, 0, 0))


def decoded(png: bytes) -> list[bytes]:
    """The rows of a picture, with all checksums checked."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    at, data, width, height = 8, b"", 0, 0
    while at < len(png):
        size = int.from_bytes(png[at : at + 4])
        kind, content = png[at + 4 : at + 8], png[at + 8 : at + 8 + size]
        assert int.from_bytes(png[at + 8 + size : at + 12 + size]) == zlib.crc32(kind + content)
        if kind == b"IHDR":
            width, height = struct.unpack(">II", content[:8])
        data += content if kind == b"IDAT" else b""
        at += 12 + size
    raw = zlib.decompress(data)
    assert len(raw) == height * (3 * width + 1)
    return [raw[row * (3 * width + 1) + 1 : (row + 1) * (3 * width + 1)] for row in range(height)]

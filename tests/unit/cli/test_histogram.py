"""Histograms in a terminal."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from orchestrator.cli.histogram import Histogram, bar
from orchestrator.histogram import bars, label
from orchestrator.model import Result

BELL = Result(qubits=2, probabilities={0: 0.5, 3: 0.5}, counts={0: 52, 3: 48})


def drawn(result: Result, *, width: int = 80, encoding: str = "utf-8") -> list[str]:
    """The lines of a histogram on a terminal of that width and encoding."""
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    Console(file=file, width=width).print(Histogram(result))
    file.seek(0)
    return [line.rstrip() for line in file.read().splitlines()]


def test_outcomes_are_binary_with_qubit_0_rightmost() -> None:
    """Outcome 1 of three qubits is qubit 0, and stands rightmost."""
    assert label(1, 3) == "001"
    assert label(4, 3) == "100"
    assert label(7, 40) == "7"


def test_a_line_tells_outcome_probability_and_count() -> None:
    """Equal shares have equal bars; the number of shots stands beside the share."""
    lines = drawn(Result(qubits=2, probabilities={0: 0.5, 3: 0.5}, counts={0: 50, 3: 50}))
    assert lines == [
        f"00 {'█' * 48}  50.0 %  50",
        f"11 {'█' * 48}  50.0 %  50",
    ]


def test_what_was_counted_goes_before_exact_probabilities() -> None:
    """52 of 100 shots are 52 %, also where the backend knows that it is one half; what only it knows of counts 0."""
    both = Result(qubits=2, probabilities={0: 0.5, 1: 0.0, 3: 0.5}, counts={0: 52, 3: 47, 2: 1})
    assert [(line.label, line.probability, line.count) for line in bars(both)] == [
        ("00", 0.52, 52), ("01", 0.0, 0), ("10", 0.01, 1), ("11", 0.47, 47),
    ]  # fmt: skip
    assert [line.split()[2:] for line in drawn(BELL)] == [["52.0", "%", "52"], ["48.0", "%", "48"]]


def test_exact_results_show_no_counts() -> None:
    """Where nothing was sampled, no count is invented."""
    assert drawn(Result(qubits=1, probabilities={1: 1.0})) == [f"1 {'█' * 48} 100.0 %"]


@pytest.mark.parametrize("width", [24, 40, 80, 200])
def test_lines_fit_the_terminal(width: int) -> None:
    """No line is longer than the terminal is wide, and none is cut."""
    lines = drawn(BELL, width=width)
    assert len(lines) == 2
    assert all(len(line) <= width and line.endswith(("52", "48")) for line in lines)


def test_plain_terminals_get_plain_characters() -> None:
    """A terminal without Unicode gets ASCII alone."""
    assert all(line.isascii() and "#" in line for line in drawn(BELL, encoding="ascii"))


def test_many_outcomes_are_summed_up() -> None:
    """Of many outcomes the most probable are shown in order, and the others in one line that completes the sum."""
    counts = {outcome: 100 if outcome == 9 else 1 for outcome in range(16)}
    total = sum(counts.values())
    result = Result(qubits=4, probabilities={k: n / total for k, n in counts.items()}, counts=counts)
    lines = bars(result, most=4)
    assert [line.label for line in lines] == ["0000", "0001", "1001", "13 others"]
    assert sum(line.count or 0 for line in lines) == total
    assert (lines[-1].label, lines[-1].count) == ("13 others", 13)
    assert lines[-1].probability == pytest.approx(13 / total)


def test_counts_may_be_missing_for_an_outcome() -> None:
    """An outcome that has a probability but was never sampled counts 0."""
    result = Result(qubits=1, probabilities={0: 0.999, 1: 0.001}, counts={0: 10})
    assert [line.count for line in bars(result)] == [10, 0]


@given(st.floats(0, 1), st.integers(1, 100))
def test_bars_are_as_long_as_they_should_be(fraction: float, width: int) -> None:
    """A bar is right to an eighth of a character, never wider than its place, and seen if there is anything."""
    text = bar(fraction, width)
    assert len(text) <= width
    assert bool(text) == (fraction > 0)
    assert abs(text.count("█") - fraction * width) <= 1

"""A result as the bars of a histogram, whatever draws them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from orchestrator.model import Result

#: Bars at most: outcomes that are shown one by one; of more, the most probable ones and a bar for the rest.
MOST: Final = 12
_WIDEST_LABEL: Final = 32


@dataclass(frozen=True)
class Bar:
    """One bar: what was measured, how probable it is, and how often it came if that was counted.

    Attributes:
        probability: The share of the shots where they were counted, else the probability that the backend told.
        rest: The bar stands for all outcomes that are not shown.
    """

    label: str
    probability: float
    count: int | None
    rest: bool = False


def bars(result: Result, most: int = MOST) -> list[Bar]:
    """The bars of a histogram, in the order of the outcomes.

    An outcome is written with qubit 0 rightmost. Of more than `most` outcomes the most probable are shown, and
    what the others add up to. Where shots were counted, the bars are those of the counts: a backend that also
    knows exact probabilities would else show 50 % beside 52 of 100. Outcomes it knows of that never came count 0.
    """
    counts = result.counts
    shares = result.probabilities
    if counts:
        shots = sum(counts.values())
        shares = {outcome: counts.get(outcome, 0) / shots for outcome in result.probabilities.keys() | counts.keys()}
    shown = list(shares)
    if len(shown) > most:
        shown = sorted(shown, key=lambda outcome: (-shares[outcome], outcome))[: most - 1]
    lines = [
        Bar(
            label(outcome, result.qubits),
            shares[outcome],
            None if counts is None else counts.get(outcome, 0),
        )
        for outcome in sorted(shown)
    ]
    if len(shown) < len(shares):
        rest = math.fsum(shares.values()) - math.fsum(line.probability for line in lines)
        counted = None if counts is None else sum(counts.values()) - sum(line.count or 0 for line in lines)
        hidden = len(shares) - len(shown)
        lines.append(Bar(f"{hidden} others", max(rest, 0.0), counted, rest=True))
    return lines


def label(outcome: int, qubits: int) -> str:
    """An outcome in binary, qubit 0 rightmost; where that is too long to read in decimal, the middle left out."""
    if qubits <= _WIDEST_LABEL:
        return f"{outcome:0{qubits}b}"
    text = str(outcome)
    return text if len(text) <= _WIDEST_LABEL else f"{text[:14]}...{text[-14:]}"


def percent(probability: float) -> str:
    """A probability for people: ``50.1 %``; a small one is not shown as none."""
    return "<0.1 %" if 0 < probability < 0.0005 else f"{100 * probability:.1f} %"

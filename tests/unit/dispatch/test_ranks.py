"""Who is ahead of whom: the blocks against a plain list."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from orchestrator.dispatch import ranks
from orchestrator.dispatch.ranks import Ahead, Ranks
from orchestrator.lifecycle import JobStatus
from orchestrator.storage.abc import Waiting
from orchestrator.testing.adapters import ScriptedAdapter


class Slow(ScriptedAdapter):
    """Wall time is so many times the execution time."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self._factor = factor

    def wall_ms(self, execution_ms: int) -> int:
        return self._factor * execution_ms


def entry(number: int, predicted_ms: int | None, parent: str | None = None, session: str | None = None) -> Waiting:
    return Waiting("b", f"{number:05}", JobStatus.READY, "p", parent, session, predicted_ms)


def expected(entries: Sequence[Waiting], job_id: str, factor: int) -> Ahead:
    before = [entry.predicted_ms for entry in entries if entry.id < job_id]
    known = [factor * predicted for predicted in before if predicted is not None]
    return Ahead(len(before), sum(known) if len(known) == len(before) else None)


@pytest.mark.parametrize("seed", range(6))
def test_blocks_are_a_sorted_list(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever comes and goes, in whatever order, and whoever asks meanwhile."""
    monkeypatch.setattr(ranks, "BLOCK", 4)
    rng = random.Random(seed)
    unknown = 0.0 if seed % 2 else 0.05
    made, model = Ranks(), dict[str, Waiting]()
    adapters = {factor: Slow(factor) for factor in (1, 3)}
    for _ in range(600):
        number = rng.randrange(80)
        if f"{number:05}" in model:
            del model[f"{number:05}"]
            made.discard(f"{number:05}")
        else:
            predicted = None if rng.random() < unknown else rng.randrange(100)
            new = entry(number, predicted, rng.choice((None, "x", "y")), rng.choice((None, "s")))
            model[new.id] = new
            made.add(new)
        made.discard("nobody")
        entries = [model[job_id] for job_id in sorted(model)]
        assert (list(made), len(made)) == (entries, len(entries))
        asked, factor = f"{rng.randrange(90):05}", rng.choice((1, 3))
        assert made.get(asked) == model.get(asked)
        assert made.ahead(asked, adapters[factor]) == expected(entries, asked, factor)
        most = rng.randrange(1, 9)
        names = {asked, "x", "s", "unknown"}
        found = list(made.of(names, most, adapters[factor]))
        groups = [[e for e in entries if name in (e.parent_id, e.session_id)] for name in ("x", "s")]
        first = {each.id for group in groups for each in group[:most]}
        assert {each.id for each, _ in found} == first | ({asked} & model.keys())
        assert len(found) == len({each.id for each, _ in found})
        assert all(ahead == expected(entries, each.id, factor) for each, ahead in found)

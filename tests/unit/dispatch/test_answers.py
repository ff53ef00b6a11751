"""Answers of adapters that hold numbers of numpy, or text for outcomes: refused with the member and what to write."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from orchestrator.backends.abc import Attempt
from orchestrator.errors import JobFailed
from orchestrator.model import JobRequest, Result
from orchestrator.testing.adapters import FLIP, ScriptedAdapter, serving

ANSWERS: list[tuple[dict[str, Any], str]] = [
    ({"probabilities": {np.int64(1): 1.0}}, "probabilities has a key of type numpy.int64; use int(...)"),
    ({"counts": {np.int64(1): 100}}, "counts has a key of type numpy.int64; use int(...)"),
    ({"counts": {1: np.int64(100)}}, "counts has a value of type numpy.int64; use int(...)"),
    ({"probabilities": {1: np.float64(1.0)}}, "probabilities has a value of type numpy.float64; use float(...)"),
    ({"shots": [np.int64(1)] * 100}, "shots has a value of type numpy.int64; use int(...)"),
    ({"shots": np.ones(100, int)}, "shots is of type numpy.ndarray, not a list"),
    ({"execution_ms": np.int32(1)}, "execution_ms has a value of type numpy.int32; use int(...)"),
    ({"probabilities": {1: float("nan")}}, "probabilities has the value nan, which is no number"),
    ({"probabilities": {1: float("inf")}}, "probabilities has the value inf, which is no number"),
    ({"probabilities": {"1": 1.0}}, "probabilities has the key '1'; outcomes are integers"),
    ({"counts": {"1": 100}}, "counts has the key '1'; outcomes are integers"),
    ({"counts": {True: 100}}, "counts has a key of type bool; use int(...)"),
]


@pytest.mark.parametrize(("members", "words"), ANSWERS)
async def test_a_foreign_number_is_named(members: dict[str, Any], words: str) -> None:
    """The failure of the job says which member it is; a key of text is no key, also where its digits would fit."""

    def answer(attempt: Attempt) -> Result:
        return Result(**{"qubits": 1, "probabilities": {1: 1.0}, **members})

    async with serving(ScriptedAdapter(answer=answer)) as orchestrator:
        job = await orchestrator.submit(JobRequest(backend="scripted", circuits=(FLIP,)))
        with pytest.raises(JobFailed) as failed:
            await orchestrator.result(job.id)
    assert words in str(failed.value)

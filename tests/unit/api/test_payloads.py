"""Result payloads: registers, bit order, pieces and derived shots."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.api.payloads import FORMATS, Format, json_array, json_object, ordered_shots
from orchestrator.lifecycle import JobStatus
from orchestrator.model import Job, JobSpec, Result

BY_ID = {form.id: form for form in FORMATS}


def job(**spec: Any) -> Job:
    return Job(
        id="j", project_id="p", spec=JobSpec(backend="simulator", **spec), status=JobStatus.COMPLETED, submitted_at=0
    )


@given(st.integers(0, 25_000))
def test_pieces_make_one_document(number: int) -> None:
    """However many entries there are, the text is what one encoding would give."""
    assert json.loads(json_array(range(number))) == list(range(number))
    assert json.loads(json_object((index, 1) for index in range(number))) == {str(index): 1 for index in range(number)}


def test_bit_strings_read_like_the_binary_form_of_the_key() -> None:
    """Leftmost letter = highest bit, padded to the register's width; unused bits are 0, sums are marginal."""
    result = Result(qubits=3, probabilities={1: 0.25, 4: 0.75}, counts={1: 1, 4: 3})
    named = job(registers={"low": [0], "turned": [2, 0], "gap": [None, 2]})
    payload = json.loads(BY_ID["ionq.result.probabilities.json.v2"].write(named, result))
    assert payload["probabilities"]["registers"] == {
        "low": {"1": 0.25, "0": 0.75},
        "turned": {"10": 0.25, "01": 0.75},
        "gap": {"00": 0.25, "10": 0.75},
        "output_all": {"001": 0.25, "100": 0.75},
    }
    shots = json.loads(BY_ID["ionq.result.shots.json.v2"].write(named, result))["shots"]
    assert sorted(shot["registers"]["output_all"] for shot in shots) == [[0, 0, 1]] * 3 + [[1, 0, 0]]
    assert {tuple(shot["registers"]["turned"]) for shot in shots} == {(0, 1), (1, 0)}


@given(st.dictionaries(st.integers(0, 7), st.integers(1, 30), max_size=8), st.integers(1, 5))
def test_shots_made_of_counts_are_a_fixed_order_of_them(counts: dict[int, int], seed: int) -> None:
    """Counts are kept, each answer repeats the first, and another seed may order them otherwise."""
    result = Result(qubits=3, probabilities={}, counts=counts)
    shots = ordered_shots(job(seed=seed), result)
    assert Counter(shots) == Counter(counts)
    assert ordered_shots(job(seed=seed), result) == shots


def test_shots_as_measured_are_kept() -> None:
    """Where the backend recorded the order, that is the order."""
    result = Result(qubits=1, probabilities={0: 0.5, 1: 0.5}, counts={0: 1, 1: 1}, shots=[1, 0])
    assert ordered_shots(job(), result) == [1, 0]


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.id)
def test_every_format_is_json(form: Format) -> None:
    """An empty circuit's single outcome too."""
    result = Result(qubits=1, probabilities={0: 1.0}, counts={0: 2})
    assert json.loads(form.write(job(), result))

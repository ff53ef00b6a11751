"""Refusals: each names the member and says what is wrong."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.circuits import read_input
from orchestrator.circuits.ir import Circuit, Gate
from orchestrator.circuits.validation import MAX_GATES, statevector_bytes, stats, validate
from orchestrator.errors import InvalidRequest

PAULIEXP = {"gate": "pauliexp", "targets": [0, 1], "terms": ["XZ", "YY"], "coefficients": [0.5, 1], "time": 1}
MS = {"gate": "ms", "targets": [0, 1], "phases": [0, 0]}


def refusal(body: bytes, *, multi: bool | None = None, root: str = "input") -> tuple[str, str]:
    with pytest.raises(InvalidRequest) as caught:
        read_input(body, multi=multi, root=root)
    (field,) = caught.value.fields
    return field, caught.value.code


@pytest.mark.parametrize(
    ("wire", "member", "code"),
    [
        ({"gate": "foo", "target": 0}, "gate", "unknown_gate"),
        ({"gate": "p", "target": 0, "rotation": 1}, "gate", "unknown_gate"),
        ({"gate": "gpi", "target": 0, "phase": 0}, "gate", "wrong_gateset"),
        ({"gate": 1, "target": 0}, "gate", "wrong_type"),
        ({"target": 0}, "gate", "missing_field"),
        ({"gate": "h"}, "target", "missing_field"),
        ({"gate": "swap", "targets": []}, "targets", "missing_field"),
        ({"gate": "swap", "target": 0}, "target", "invalid_request"),
        ({"gate": "swap", "targets": [0, 1, 2]}, "targets", "invalid_request"),
        ({"gate": "swap", "targets": [0, 0]}, "targets", "duplicate_index"),
        ({"gate": "h", "targets": [1, 1]}, "targets", "duplicate_index"),
        ({"gate": "h", "targets": [0] * 1025}, "targets", "duplicate_index"),
        ({"gate": "x", "target": 0, "control": 0}, "control", "duplicate_index"),
        ({"gate": "x", "target": 0, "controls": [1, 1]}, "controls", "duplicate_index"),
        ({"gate": "h", "target": 0, "targets": [1]}, "target", "invalid_request"),
        ({"gate": "cnot", "target": 0}, "control", "missing_field"),
        ({"gate": "h", "target": 3}, "target", "index_out_of_range"),
        ({"gate": "h", "targets": [0, 3]}, "targets", "index_out_of_range"),
        ({"gate": "x", "target": 0, "control": 3}, "control", "index_out_of_range"),
        ({"gate": "h", "target": -1}, "target", "index_out_of_range"),
        ({"gate": "h", "target": 10**12}, "target", "index_out_of_range"),
        ({"gate": "h", "target": 0.5}, "target", "wrong_type"),
        ({"gate": "h", "target": -1.0}, "target", "wrong_type"),
        ({"gate": "h", "target": "0"}, "target", "wrong_type"),
        ({"gate": "h", "target": True}, "target", "wrong_type"),
        ({"gate": "h", "targets": 0}, "targets", "wrong_type"),
        ({"gate": "rx", "target": 0}, "rotation", "missing_field"),
        ({"gate": "rx", "target": 0, "rotation": "1"}, "rotation", "wrong_type"),
        (PAULIEXP | {"terms": ["XZ", "Y"]}, "terms[1]", "invalid_request"),
        (PAULIEXP | {"terms": ["XZ", "Yy"]}, "terms[1]", "invalid_request"),
        (PAULIEXP | {"terms": ["XZ", 3]}, "terms[1]", "wrong_type"),
        (PAULIEXP | {"terms": ["XZ"]}, "coefficients", "invalid_request"),
        (PAULIEXP | {"terms": [], "coefficients": []}, "terms", "missing_field"),
        (PAULIEXP | {"time": -0.1}, "time", "angle_out_of_range"),
        (PAULIEXP | {"time": None}, "time", "missing_field"),
        (PAULIEXP | {"time": 1e200, "coefficients": [1, 1e200]}, "coefficients[1]", "angle_out_of_range"),
        ({"gate": "pauliexp", "targets": [0], "time": 1}, "terms", "missing_field"),
    ],
)
def test_refused_qis_gates(wire: dict[str, Any], member: str, code: str) -> None:
    """A bad gate is refused with the place of the gate and the member as the request spells it."""
    document = {"qubits": 3, "circuit": [{"gate": "h", "target": 0}, wire]}
    assert refusal(json.dumps(document).encode()) == (f"input.circuit[1].{member}", code)


@pytest.mark.parametrize(
    ("wire", "member", "code"),
    [
        ({"gate": "h", "target": 0}, "gate", "wrong_gateset"),
        ({"gate": "gpi", "target": 0}, "phase", "missing_field"),
        ({"gate": "gpi", "target": 0, "phase": 1.51}, "phase", "angle_out_of_range"),
        ({"gate": "gpi2", "target": 0, "phase": 0, "control": 1}, "control", "invalid_request"),
        (MS | {"phases": [0]}, "phases", "wrong_type"),
        (MS | {"phases": [0, -1.5]}, "phases[1]", "angle_out_of_range"),
        (MS | {"angle": 0.26}, "angle", "angle_out_of_range"),
        (MS | {"angle": -0.1}, "angle", "angle_out_of_range"),
        ({"gate": "ms", "targets": [0, 1]}, "phases", "missing_field"),
        ({"gate": "zz", "targets": [0, 1]}, "angle", "missing_field"),
        ({"gate": "zz", "targets": [0, 1], "angle": 0, "phase": 0}, "phase", "invalid_request"),
    ],
)
def test_refused_native_gates(wire: dict[str, Any], member: str, code: str) -> None:
    """Native gates have ranges, no controls, and no qis gates beside them."""
    document = {"gateset": "native", "qubits": 2, "circuits": [{"circuit": []}, {"circuit": [wire]}]}
    assert refusal(json.dumps(document).encode()) == (f"input.circuits[1].circuit[0].{member}", code)


@pytest.mark.parametrize(
    ("document", "multi", "field", "code"),
    [
        ({}, None, "input.circuit", "missing_field"),
        ({"circuit": None}, False, "input.circuit", "missing_field"),
        ({"circuit": []}, True, "input.circuits", "missing_field"),
        ({"circuits": [{"circuit": []}]}, False, "input.circuit", "missing_field"),
        ({"circuit": [], "circuits": []}, None, "input.circuit", "invalid_request"),
        ({"circuits": []}, None, "input.circuits", "circuits_out_of_range"),
        ({"circuits": [{}]}, None, "input.circuits[0].circuit", "missing_field"),
        ({"circuits": [{"circuit": []}] * 5001}, None, "input.circuits", "circuits_out_of_range"),
        ([{"circuit": []}], True, "input", "wrong_type"),
        ([], None, "input", "circuits_out_of_range"),
        ([{"circuit": []}, {"circuits": []}], None, "input[1].circuit", "missing_field"),
        ([{"circuit": [], "qubits": 0}], None, "input[0].qubits", "qubits_out_of_range"),
        ("text", None, "input", "wrong_type"),
        ({"qubits": 10**9, "circuit": []}, None, "input.qubits", "qubits_out_of_range"),
        ({"qubits": 10**9, "circuits": [{"circuit": []}]}, None, "input.qubits", "qubits_out_of_range"),
        ({"qubits": 1e300, "circuit": []}, None, "input.qubits", "qubits_out_of_range"),
        ({"qubits": 1.5, "circuit": []}, None, "input.qubits", "wrong_type"),
        ({"qubits": "2", "circuit": []}, None, "input.qubits", "wrong_type"),
        ({"circuits": [{"circuit": [], "qubits": 0}]}, None, "input.circuits[0].qubits", "qubits_out_of_range"),
        ({"gateset": "other", "circuit": []}, None, "input.gateset", "invalid_request"),
        ({"format": "qasm", "data": "x"}, None, "input.format", "unknown_format"),
        ({"qubits": 2, "registers": {"c": [2]}, "circuit": []}, None, "input.registers", "index_out_of_range"),
        ({"qubits": 2, "registers": {"c": 2}, "circuit": []}, None, "input.registers[...]", "wrong_type"),
    ],
)
def test_refused_documents(document: Any, multi: bool | None, field: str, code: str) -> None:
    """The form must be one of the contract's and the one the job's type asks for."""
    assert refusal(json.dumps(document).encode(), multi=multi) == (field, code)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"circuit":[{"gate":"rx","target":0,"rotation":1e999}]}', "non_finite_number"),
        (b'{"circuit":[{"gate":"rx","target":0,"rotation":NaN}]}', "invalid_json"),
        (b'{"circuit":[', "invalid_json"),
        (b"", "invalid_json"),
    ],
)
def test_refused_text(body: bytes, code: str) -> None:
    """What is not JSON, or not a finite number, never gets as far as a circuit."""
    assert refusal(body, root="body")[1] == code


def test_too_many_gates_in_all() -> None:
    """Gates are counted over all circuits, and a pauliexp as its terms."""
    half = {"circuit": [{"gate": "x", "target": 0}] * (MAX_GATES // 2 + 1)}
    code = "gates_out_of_range"
    assert refusal(json.dumps({"circuits": [half, half]}).encode()) == ("input.circuits", code)
    terms = MAX_GATES // 2 + 1
    wire = {"gate": "pauliexp", "targets": [0], "terms": ["X"] * terms, "coefficients": [1] * terms, "time": 1}
    assert refusal(json.dumps({"circuit": [wire, wire]}).encode()) == ("input.circuit", code)
    wire |= {"terms": ["X"] * (MAX_GATES + 1)}
    assert refusal(json.dumps({"circuit": [wire]}).encode()) == ("input.circuit[0].terms", code)


def test_messages_do_not_repeat_the_request() -> None:
    """Refusals are shown and logged, so they never carry the sender's own text."""
    for wire in ({"gate": "<script>", "target": 0}, {"gate": "h", "target": "<script>"}):
        with pytest.raises(InvalidRequest) as caught:
            read_input(json.dumps({"circuit": [wire], "gateset": "qis"}).encode())
        assert "script" not in f"{caught.value} {caught.value.fields}"


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(), st.lists))
def test_any_value_of_any_member_is_read_or_refused(value: Any) -> None:
    """Wrong types never raise anything but the documented refusal."""
    document: dict[str, Any] = {"gate": "rx", "target": 0, "rotation": 1}
    for member in ("gate", "target", "targets", "control", "controls", "rotation", "terms"):
        for body in ({"circuit": [document | {member: value}]}, {"circuit": value, "qubits": 1}, {"circuits": value}):
            try:
                read_input(json.dumps(body).encode())
            except InvalidRequest as error:
                assert error.fields[0].startswith("input")  # noqa: PT017 - success is as good as refusal


@pytest.mark.parametrize(
    ("gate", "field"),
    [
        (Gate("rx", (0,), params=(math.nan,)), "input.circuits[1].circuit[0].rotation"),
        (Gate("rx", (0,), params=(math.inf,)), "input.circuits[1].circuit[0].rotation"),
        (Gate("rx", (0,)), "input.circuits[1].circuit[0].gate"),
        (Gate("cnot", (0,)), "input.circuits[1].circuit[0].gate"),
        (Gate("x", (2,)), "input.circuits[1].circuit[0].targets"),
        (Gate("pauliexp", (0,), terms=("X",)), "input.circuits[1].circuit[0].time"),
    ],
)
def test_circuits_made_in_process_are_checked_too(gate: Gate, field: str) -> None:
    """Embedders hand over IR; it meets the same table."""
    with pytest.raises(InvalidRequest) as caught:
        validate([Circuit(qubits=1), Circuit(qubits=2, gates=(gate,))], multi=True)
    assert caught.value.fields == (field,)


def test_sizes() -> None:
    """Stats count wires touched and gates by width; a statevector takes 16 bytes an amplitude."""
    gates = (Gate("h", (5,)), Gate("x", (5,), (7,)), Gate("swap", (1, 5)), Gate("x", (0,), (1, 2)))
    assert stats(Circuit(qubits=29, gates=gates)) == (5, 1, 3)
    assert stats(Circuit(qubits=29)) == (29, 0, 0)
    assert stats(Circuit(qubits=2, gates=(Gate("nop", (0,)),), gateset="native")) == (1, 0, 0)
    assert statevector_bytes(29) == 8 * 2**30

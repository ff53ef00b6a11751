"""Reading and writing the IonQ wire forms."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given

from orchestrator.circuits import read_input, validate, write_circuit, write_native
from orchestrator.circuits.ir import Circuit, Gate
from orchestrator.errors import InvalidRequest
from tests.unit.circuits.strategies import circuits


def read(document: Any, *, multi: bool | None = None) -> list[Circuit]:
    read_circuits, form = read_input(json.dumps(document).encode(), multi=multi)
    assert form == (isinstance(document, list) or "circuits" in document)
    return read_circuits


def gates(*wire: dict[str, Any], gateset: str = "qis") -> tuple[Gate, ...]:
    (circuit,) = read({"gateset": gateset, "qubits": 8, "circuit": list(wire)})
    return circuit.gates


@pytest.mark.parametrize("multi", [None, False])
def test_one_circuit(multi: bool | None) -> None:
    """The ordinary form, with members that mean nothing here ignored."""
    document = {
        "format": "ionq.circuit.v0",
        "gateset": "qis",
        "qubits": 2,
        "name": "bell",
        "registers": {"c": [0, None, 1.0]},
        "circuit": [{"gate": "h", "target": 0, "label": [{}]}, {"gate": "cnot", "control": 0, "target": 1}],
        "shots": {"anything": [1]},
    }
    assert read(document, multi=multi) == [
        Circuit(
            qubits=2,
            name="bell",
            registers={"c": [0, None, 1]},
            gates=(Gate("h", (0,)), Gate("x", (1,), (0,))),
        )
    ]


@pytest.mark.parametrize("multi", [None, True])
def test_several_circuits_inherit_and_override(multi: bool | None) -> None:
    """Gate set and width beside `circuits` are defaults; each circuit may have its own."""
    a, b, c = read(
        {
            "gateset": "qis",
            "qubits": 3,
            "circuits": [
                {"name": "a", "circuit": [{"gate": "h", "target": 0}]},
                {"gateset": "native", "qubits": 1, "circuit": [{"gate": "gpi2", "target": 0, "phase": 0.5}]},
                {"circuit": []},
            ],
        },
        multi=multi,
    )
    assert (a.name, a.qubits, a.gateset) == ("a", 3, "qis")
    assert (b.qubits, b.gateset, b.gates) == (1, "native", (Gate("gpi2", (0,), params=(0.5,)),))
    assert (c.qubits, c.gates) == (3, ())


def test_list_of_complete_documents() -> None:
    """The multi-circuit form of the original v0.3 documentation."""
    one = {"format": "ionq.circuit.v0", "qubits": 1, "circuit": [{"gate": "h", "target": 0}]}
    two = {"gateset": "native", "circuit": [{"gate": "gpi", "target": 1, "phase": 0}]}
    first, second = read([one, two])
    assert first == Circuit(qubits=1, gates=(Gate("h", (0,)),))
    assert second == Circuit(qubits=2, gates=(Gate("gpi", (1,), params=(0.0,)),), gateset="native")


def test_width_defaults_to_the_highest_index() -> None:
    """Without `qubits` a circuit is as wide as the wires it names, controls and identities included."""
    assert read({"circuit": []})[0].qubits == 1
    assert read({"circuit": [{"gate": "x", "control": 4, "target": 1}]})[0].qubits == 5
    assert read({"circuit": [{"gate": "id", "target": 6}]})[0] == Circuit(qubits=7)
    assert read({"qubits": 29.0, "circuit": []})[0].qubits == 29


@pytest.mark.parametrize(
    ("wire", "gate"),
    [
        ({"gate": "not", "target": 1}, Gate("x", (1,))),
        ({"gate": "cnot", "control": 0, "target": 1}, Gate("x", (1,), (0,))),
        ({"gate": "cx", "controls": [0], "targets": [1]}, Gate("x", (1,), (0,))),
        ({"gate": "cnot", "controls": [0, 2.0], "target": 1.0}, Gate("x", (1,), (0, 2))),
        ({"gate": "sx", "target": 1}, Gate("v", (1,))),
        ({"gate": "sdg", "target": 1}, Gate("si", (1,))),
        ({"gate": "tdg", "target": 1}, Gate("ti", (1,))),
        ({"gate": "z", "target": 1}, Gate("z", (1,))),
        ({"gate": "z", "target": 1, "control": 2, "rotation": 0.5}, Gate("p", (1,), (2,), (0.5,))),
        ({"gate": "h", "target": 1, "controls": [], "rotation": 3}, Gate("h", (1,))),
        ({"gate": "rx", "target": 1, "control": None, "rotation": 2}, Gate("rx", (1,), params=(2.0,))),
        ({"gate": "swap", "targets": [1, 0], "controls": [2]}, Gate("swap", (1, 0), (2,))),
        ({"gate": "zz", "targets": [1, 0], "rotation": 1.5}, Gate("zz", (1, 0), params=(1.5,))),
        (
            {"gate": "pauliexp", "targets": [3, 1], "terms": ["XZ", "YY"], "coefficients": [1, -0.5], "time": 0},
            Gate("pauliexp", (3, 1), params=(0.0, 1.0, -0.5), terms=("XZ", "YY")),
        ),
    ],
)
def test_spellings_of_qis_gates(wire: dict[str, Any], gate: Gate) -> None:
    """Aliases, singular and plural members, integral floats and nulls all arrive at the canonical gate."""
    assert gates(wire) == (gate,)


@pytest.mark.parametrize(
    ("wire", "gate"),
    [
        ({"gate": "gpi", "target": 1, "phase": -1}, Gate("gpi", (1,), params=(-1.0,))),
        ({"gate": "ms", "targets": [0, 1], "phases": [0, 1]}, Gate("ms", (0, 1), params=(0.0, 1.0, 0.25))),
        ({"gate": "ms", "targets": [0, 1], "phases": [0, 1], "angle": 0}, Gate("ms", (0, 1), params=(0.0, 1.0, 0.0))),
        ({"gate": "zz", "targets": [0, 1], "angle": 3.5}, Gate("zz", (0, 1), params=(3.5,))),
        ({"gate": "zz", "targets": [0, 1], "phase": -0.1}, Gate("zz", (0, 1), params=(-0.1,))),
        ({"gate": "nop", "target": 3}, Gate("nop", (3,))),
    ],
)
def test_spellings_of_native_gates(wire: dict[str, Any], gate: Gate) -> None:
    """Native gates keep their turns; `ms` is fully entangling unless told; `zz` takes `angle` or `phase`."""
    assert gates(wire, gateset="native") == (gate,)


def test_several_targets_are_several_gates() -> None:
    """A one-qubit gate acts on each of its targets, under the same controls."""
    assert gates({"gate": "h", "targets": [2, 0]}) == (Gate("h", (2,)), Gate("h", (0,)))
    wire = {"gate": "rz", "targets": [0, 1], "control": 5, "rotation": math.pi}
    assert gates(wire) == (Gate("rz", (0,), (5,), (math.pi,)), Gate("rz", (1,), (5,), (math.pi,)))


@given(circuits())
def test_written_circuits_read_back(circuit: Circuit) -> None:
    """What is written for another cloud is read as the same circuit."""
    body = msgspec.json.encode(write_circuit(circuit))
    assert read_input(msgspec.Raw(body), multi=False) == ([circuit], False)
    validate([circuit], multi=False)


@given(circuits("native"))
def test_native_artifact_reads_back(circuit: Circuit) -> None:
    """The artifact has width and gates alone; with its gate set it is the compiled circuit."""
    artifact = write_native(circuit)
    assert artifact.keys() == {"qubits", "circuit"}
    assert read_input(msgspec.json.encode(artifact | {"gateset": "native"})) == ([circuit], False)


def test_large_circuits_are_read_in_time() -> None:
    """The largest legal job is read in about a third of a second; the bound leaves room for slow machines."""
    gate = {"gate": "rx", "targets": [3], "rotation": 0.1}
    body = json.dumps({"qubits": 29, "circuit": [gate] * 150_000}).encode()
    started = time.process_time()
    (circuit,), _ = read_input(body)
    assert time.process_time() - started < 3
    assert len(circuit.gates) == 150_000


def test_far_too_many_gates_are_refused_before_they_are_built() -> None:
    """A flood costs a scan of its text, not an object a gate."""
    body = b'{"circuit":[' + b",".join([b'{"gate":"x","target":0}'] * 400_000) + b"]}"
    with pytest.raises(InvalidRequest) as caught:
        read_input(body)
    assert (caught.value.code, caught.value.fields) == ("gates_out_of_range", ("input",))

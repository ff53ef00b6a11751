"""Compilation to native gates, proved by equality of unitaries."""

from __future__ import annotations

import math
import typing

import pytest
from hypothesis import given, settings

from orchestrator.circuits.gates import GATES
from orchestrator.circuits.ir import Circuit, Gate
from orchestrator.circuits.native import Entangler, Native, to_native
from orchestrator.circuits.validation import stats, validate
from tests.reference import ComplexArray, distance, unitary
from tests.unit.circuits.strategies import circuits

ATOL = 1e-11
ENTANGLERS: tuple[Entangler, ...] = typing.get_args(Entangler)


def framed(native: Native) -> ComplexArray:
    """The compiled unitary with the Z rotations that measurement does not see."""
    turns = native.frame_turns
    frame = tuple(Gate("rz", (wire,), params=(2 * math.pi * turn,)) for wire, turn in enumerate(turns))
    product: ComplexArray = unitary(Circuit(qubits=native.circuit.qubits, gates=frame)) @ unitary(native.circuit)
    return product


def names(native: Native) -> list[str]:
    return [gate.name for gate in native.circuit.gates]


@pytest.mark.parametrize("entangler", ENTANGLERS)
@pytest.mark.parametrize("opt", [0, 1])
@given(circuit=circuits())
@settings(deadline=None, max_examples=50)
def test_compiled_circuit_is_the_same_unitary(circuit: Circuit, opt: int, entangler: Entangler) -> None:
    """Compiled and original circuit differ by the frame and a global phase; the compiled one is valid and native."""
    native = to_native(circuit, entangler, opt=opt)
    assert native.circuit.gateset == "native"
    assert set(names(native)) <= {"gpi", "gpi2", entangler}
    validate([native.circuit], multi=False)
    assert distance(framed(native), unitary(circuit)) < ATOL


@pytest.mark.parametrize("entangler", ENTANGLERS)
@pytest.mark.parametrize("name", list(GATES["qis"]))
def test_every_gate_of_the_table(name: str, entangler: Entangler) -> None:
    """Each gate, with and without controls, at ordinary and special angles."""
    row = GATES["qis"][name]
    targets = tuple(range(row.targets or 2))
    for angle in (0.0, 0.3, -0.3, math.pi / 2, -math.pi, math.pi, 3 * math.pi, 7.1, 1e6):
        params: tuple[float, ...] = (angle,) * len(row.params)
        terms: tuple[str, ...] = ()
        if name == "pauliexp":
            params, terms = (1.0, angle, 0.4, 0.7), ("XZ", "IY", "II")
        for controls in range(3):
            gate = Gate(name, targets, tuple(range(len(targets), len(targets) + controls)), params, terms)
            circuit = Circuit(qubits=len(gate.wires), gates=(gate,))
            native = to_native(circuit, entangler)
            validate([native.circuit], multi=False)
            assert distance(framed(native), unitary(circuit)) < 1e-9, (angle, controls)


@given(circuit=circuits("native"))
def test_native_circuits_run_as_written(circuit: Circuit) -> None:
    """A native circuit bypasses the compiler."""
    assert to_native(circuit, "ms").circuit is circuit


@pytest.mark.parametrize(
    ("name", "pulses"),
    [("x", ["gpi"]), ("y", ["gpi"]), ("z", []), ("s", []), ("t", []), ("h", ["gpi2"]), ("v", ["gpi2"])],
)
def test_common_gates_take_the_fewest_pulses(name: str, pulses: list[str]) -> None:
    """Z rotations are free, Paulis and square roots one pulse."""
    assert names(to_native(Circuit(qubits=1, gates=(Gate(name, (0,)),)), "ms")) == pulses


@pytest.mark.parametrize("entangler", ENTANGLERS)
def test_entangling_gates_needed(entangler: Entangler) -> None:
    """A controlled gate takes one entangling gate, a swap three, a Toffoli five."""
    for gate, wanted in (
        (Gate("x", (0,), (1,)), 1),
        (Gate("rz", (0,), (1,), (0.3,)), 1),
        (Gate("swap", (0, 1)), 3),
        (Gate("x", (0,), (1, 2)), 5),
    ):
        assert names(to_native(Circuit(qubits=3, gates=(gate,)), entangler)).count(entangler) == wanted


def test_neighbours_merge_and_cancel() -> None:
    """Neighbouring one-qubit gates become at most two pulses, and none where they cancel; opt 0 keeps them."""
    run = (*(Gate("rx", (0,), params=(0.1 * k,)) for k in range(8)), Gate("h", (0,)))
    circuit = Circuit(qubits=1, gates=run)
    assert len(to_native(circuit, "ms").circuit.gates) <= 2
    assert len(to_native(circuit, "ms", opt=0).circuit.gates) > 8
    assert not to_native(Circuit(qubits=1, gates=(Gate("h", (0,)), Gate("h", (0,)))), "ms").circuit.gates
    nothing = Circuit(qubits=2, gates=(Gate("xx", (0, 1), params=(0.0,)), Gate("rx", (0,), params=(2 * math.pi,))))
    assert not to_native(nothing, "zz").circuit.gates


def test_idle_wires_get_no_gates() -> None:
    """A circuit padded to the backend's width compiles to gates on its own wires only."""
    native = to_native(Circuit(qubits=36, gates=(Gate("h", (7,)), Gate("x", (30,), (7,)))), "zz")
    assert native.circuit.active == (7, 30)
    assert native.circuit.qubits == len(native.frame_turns) == 36


def test_name_and_registers_are_kept() -> None:
    """What the user called a circuit survives compilation."""
    circuit = Circuit(qubits=1, gates=(Gate("h", (0,)),), name="a", registers={"c": [0]})
    compiled = to_native(circuit, "ms").circuit
    assert (compiled.name, compiled.registers) == ("a", {"c": [0]})
    assert stats(compiled) == (1, 1, 0)

"""Expansion of wide gates."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from orchestrator.circuits.decompose import to_two_qubit
from orchestrator.circuits.gates import GATES
from orchestrator.circuits.ir import Circuit, Gate
from tests.reference import ComplexArray, apply, distance, unitary
from tests.unit.circuits.strategies import circuits

ATOL = 1e-11


def states(qubits: int) -> ComplexArray:
    """A few random states; equality on them is equality of the circuits but for a chance of zero."""
    rng = np.random.default_rng(qubits)
    return rng.normal(size=(2**qubits, 3)) + 1j * rng.normal(size=(2**qubits, 3))


@given(circuits(max_qubits=6, max_controls=5))
@settings(deadline=None, max_examples=60)
def test_expansion_is_the_same_unitary_on_at_most_two_wires(circuit: Circuit) -> None:
    """Any circuit keeps its unitary, and no gate is left on more than two wires."""
    expanded = to_two_qubit(circuit)
    assert all(len(gate.wires) <= 2 and gate.name != "pauliexp" for gate in expanded.gates)
    assert distance(unitary(expanded), unitary(circuit)) < ATOL


@pytest.mark.parametrize("controls", range(2, 10))
@pytest.mark.parametrize("name", ["x", "h", "v", "rz", "p", "swap"])
def test_any_number_of_controls_without_spare_wires(name: str, controls: int) -> None:
    """Each construction, also those for many controls, is exact when there is nothing to borrow."""
    row = GATES["qis"][name]
    targets = tuple(range(row.targets))
    gate = Gate(name, targets, tuple(range(row.targets, row.targets + controls)), (0.7,) * len(row.params))
    circuit = Circuit(qubits=row.targets + controls, gates=(gate,))
    before = states(circuit.qubits)
    assert distance(apply(to_two_qubit(circuit), before), apply(circuit, before)) < ATOL


@pytest.mark.parametrize(("controls", "spare"), [(5, 1), (6, 1), (6, 4), (7, 5), (8, 2)])
def test_borrowed_wires_are_given_back(controls: int, spare: int) -> None:
    """Wires in use elsewhere are borrowed in whatever state they are, which shortens the expansion."""
    gate = Gate("x", (0,), tuple(range(1, controls + 1)))
    busy = tuple(Gate("h", (wire,)) for wire in range(controls + 1, controls + 1 + spare))
    circuit = Circuit(qubits=controls + 1 + spare, gates=(gate, *busy))
    expanded = to_two_qubit(circuit)
    before = states(circuit.qubits)
    assert distance(apply(expanded, before), apply(circuit, before)) < ATOL
    assert len(expanded.gates) - spare < len(to_two_qubit(Circuit(qubits=controls + 1, gates=(gate,))).gates)


def test_idle_wires_stay_idle() -> None:
    """Expansion touches no wire that the circuit leaves alone."""
    circuit = Circuit(qubits=36, gates=(Gate("x", (20,), tuple(range(6))),))
    assert to_two_qubit(circuit).active == circuit.active


def test_thirty_five_controls_are_expanded_to_polynomially_many_gates() -> None:
    """The widest gate of any backend stays within a cubic bound, and a linear one with a wire to borrow."""
    gate = Gate("x", (35,), tuple(range(35)))
    assert len(to_two_qubit(Circuit(qubits=36, gates=(gate,))).gates) < 35**3 * 2
    assert len(to_two_qubit(Circuit(qubits=37, gates=(gate, Gate("h", (36,))))).gates) < 100 * 35


@pytest.mark.parametrize("name", ["swap", "xx", "yy", "zz"])
def test_two_qubit_gates_stay(name: str) -> None:
    """Gates on two wires are not taken apart: noise models count them as one."""
    gate = Gate(name, (0, 1), params=(0.3,) * len(GATES["qis"][name].params))
    controlled = Gate("h", (0,), (1,))
    circuit = Circuit(qubits=2, gates=(gate, controlled))
    assert to_two_qubit(circuit) == circuit


def test_native_circuits_pass() -> None:
    """A native circuit runs as written."""
    circuit = Circuit(qubits=2, gates=(Gate("ms", (0, 1), params=(0.0, 0.0, 0.25)),), gateset="native")
    assert to_two_qubit(circuit) is circuit

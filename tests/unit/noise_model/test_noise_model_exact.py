"""Exact probabilities: every way through the engine equals an independent calculation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.circuits.decompose import to_two_qubit
from orchestrator.circuits.ir import Circuit, Gate, GateSet, compact
from orchestrator_noise_model import engine, estimate, kernel
from orchestrator_noise_model.fusion import group
from orchestrator_noise_model.lowering import build, build_noisy
from orchestrator_noise_model.models import Rates
from orchestrator_noise_model.program import Apply, Floats, PauliChannel, Program
from tests.reference import apply, matrix, statevector
from tests.unit.circuits.strategies import circuits

RATES = Rates(one_qubit=0.03, two_qubit=0.1)


def random_circuit(qubits: int, gates: int, seed: int) -> Circuit:
    """Rotations and cnots on random wires; every wire is touched."""
    rng = np.random.default_rng(seed)
    drawn = [Gate("h", (wire,)) for wire in range(qubits)]
    for number in range(gates):
        one, other = (int(wire) for wire in rng.permutation(qubits)[:2])
        if number % 2:
            drawn.append(Gate("x", (one,), (other,)))
        else:
            drawn.append(Gate(("rx", "ry", "rz")[number % 3], (one,), params=(float(rng.normal()),)))
    return Circuit(qubits=qubits, gates=tuple(drawn))


def depolarized(circuit: Circuit, rates: Rates) -> Floats:
    """Outcome probabilities by the definition: with probability r the wires are replaced by the mixed state."""
    n = circuit.qubits
    rho = np.zeros((2**n, 2**n), dtype=np.complex128)
    rho[0, 0] = 1
    for gate in circuit.gates:
        alone = Circuit(qubits=n, gates=(gate,), gateset=circuit.gateset)
        rho = apply(alone, apply(alone, rho).conj().T).conj().T
        rate = rates.one_qubit if len(gate.wires) == 1 else rates.two_qubit
        mixed = rho.reshape((2,) * (2 * n))
        for wire in gate.wires:
            axes = (n - 1 - wire, 2 * n - 1 - wire)
            traced = np.trace(mixed, axis1=axes[0], axis2=axes[1])
            mixed = np.moveaxis(np.multiply.outer(np.eye(2) / 2, traced), (0, 1), axes)
        rho = (1 - rate) * rho + rate * mixed.reshape(rho.shape)
    return np.ascontiguousarray(np.diag(rho).real)


@pytest.mark.parametrize("gateset", ["qis", "native"])
@given(data=st.data())
@settings(deadline=None, max_examples=150)
def test_small_circuits_equal_a_reference(gateset: GateSet, data: st.DataObject) -> None:
    """Any circuit of at most six qubits: probabilities within 1e-9 of an independent statevector."""
    circuit = data.draw(circuits(gateset, max_controls=4))
    expected = np.abs(statevector(compact(circuit)[0])) ** 2 if circuit.active else np.ones(1)
    np.testing.assert_allclose(engine.probabilities(build(circuit)), expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("qubits", [11, 17])
def test_fused_and_pieced_runs_equal_a_reference(qubits: int) -> None:
    """Fused matrices, and pieces of a large vector on several threads, give the same state."""
    circuit = random_circuit(qubits, 80, seed=qubits)
    state = engine.statevector(build(circuit))
    np.testing.assert_allclose(state, statevector(circuit), atol=1e-12, rtol=0)


def test_single_precision_stays_close(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the work is large amplitudes are complex64, within 1e-6 of the reference."""
    circuit = random_circuit(12, 100, seed=5)
    monkeypatch.setattr(estimate, "_DOUBLE_WORK", 0)
    state = engine.statevector(build(circuit))
    assert state.dtype == np.complex64
    np.testing.assert_allclose(state, statevector(circuit), atol=1e-6, rtol=0)


def test_gate_with_more_controls_than_a_piece_has_qubits() -> None:
    """The widest gates move few amplitudes and touch no others."""
    wires = tuple(range(18))
    prepared = tuple(Gate("x", (wire,)) for wire in wires[:-1])
    turn = Gate("ry", (17,), wires[:-1], (1.0,))
    found = engine.probabilities(build(Circuit(qubits=18, gates=(*prepared, turn))))
    assert np.flatnonzero(found).tolist() == [2**17 - 1, 2**18 - 1]
    np.testing.assert_allclose(found[[2**17 - 1, 2**18 - 1]], [np.cos(0.5) ** 2, np.sin(0.5) ** 2])


@given(data=st.data(), limit=st.integers(1, 5), base=st.sampled_from([0, 1]))
@settings(deadline=None)
def test_groups_keep_the_order_of_steps_that_share_a_qubit(data: st.DataObject, limit: int, base: int) -> None:
    """Each step is in one group; where two share a qubit the earlier one runs first; groups keep to the limit."""
    masks = data.draw(st.lists(st.integers(1, 2**7 - 1), max_size=30))
    groups = group(masks, limit, base)
    order = [index for found in groups for index in found.members]
    assert sorted(order) == list(range(len(masks)))
    for place, later in enumerate(order):
        assert not any(masks[later] & masks[earlier] and earlier > later for earlier in order[:place])
    for found in groups:
        assert len(found.wires) <= limit or len(found.members) == 1
        assert base <= sum(1 << wire for wire in found.wires)


@given(circuit=circuits(max_qubits=4, max_gates=8, max_controls=2))
@settings(deadline=None, max_examples=60)
def test_density_matrix_equals_its_definition(circuit: Circuit) -> None:
    """The Pauli coefficients give the probabilities of rho -> (1 - r) rho + r (mixed), gate by gate."""
    two_qubit = compact(to_two_qubit(circuit))[0]
    expected = depolarized(two_qubit, RATES) if two_qubit.active else np.ones(1)
    program = build_noisy(two_qubit, RATES)
    np.testing.assert_allclose(engine.density_probabilities(program), expected, atol=1e-12, rtol=0)


def test_misread_qubits_mix_outcomes() -> None:
    """Each qubit is read wrong with its own probability, whatever its value."""
    x = matrix(Gate("x", (0,)), "qis")
    program = Program(2, (Apply(x, (1,)),), np.array([0.1, 0.25]))
    np.testing.assert_allclose(engine.density_probabilities(program), [0.9 * 0.25, 0.1 * 0.25, 0.9 * 0.75, 0.1 * 0.75])


def test_channel_letters_are_ordered_as_documented() -> None:
    """Probability number 4 of a two-wire channel is X on the first wire and I on the second."""
    only = np.zeros(16)
    only[4] = 1.0
    program = Program(2, (PauliChannel((1, 0), only),))
    np.testing.assert_allclose(engine.density_probabilities(program), [0, 0, 1, 0], atol=1e-15)


def test_wide_density_matrix_runs_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A density matrix larger than a piece gives the same probabilities as one that fits."""
    program = build_noisy(random_circuit(6, 40, seed=1), RATES)
    whole = engine.density_probabilities(program)
    monkeypatch.setattr(kernel, "DIRECT", 4)
    monkeypatch.setattr(kernel, "LOCAL", 8)
    np.testing.assert_allclose(engine.density_probabilities(program), whole, atol=1e-12, rtol=0)

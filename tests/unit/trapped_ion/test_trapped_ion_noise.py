"""Noise: closed forms of each channel, and where the channels stand in a program."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from orchestrator.circuits.ir import Circuit, Gate
from orchestrator.model import Characterization
from orchestrator_noise_model.program import Apply, PauliChannel, Program
from orchestrator_trapped_ion.calibration import load
from orchestrator_trapped_ion.job import measure
from orchestrator_trapped_ion.noise import noisy_program
from orchestrator_trapped_ion.physics import dephasing_probability, depolarizing_rate

Matrix = NDArray[np.complex128]

PAULIS: list[Matrix] = [
    np.array(rows, dtype=complex)
    for rows in ([[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]])
]
ARIA = load()["qpu.aria-1"].characterization("aria", 0)


def on(matrix: Matrix, wires: Sequence[int], qubits: int) -> Matrix:
    """`matrix` on `wires` (the first the most significant) of a register whose qubit 0 is least significant."""
    size = len(wires)
    tensor = np.eye(2**qubits, dtype=complex).reshape((2,) * qubits + (2**qubits,))
    axes = [qubits - 1 - wire for wire in wires]
    tensor = np.tensordot(matrix.reshape((2,) * 2 * size), tensor, (range(size, 2 * size), axes))
    return np.moveaxis(tensor, range(size), axes).reshape(2**qubits, 2**qubits)


def _kron(left: Matrix, right: Matrix) -> Matrix:
    return np.asarray(np.kron(left, right), dtype=np.complex128)


def density_matrix(program: Program) -> Matrix:
    """The exact state of a program before readout."""
    rho = np.zeros((2**program.qubits,) * 2, dtype=complex)
    rho[0, 0] = 1
    for step in program.steps:
        if isinstance(step, Apply):
            unitary = on(step.matrix, step.wires, program.qubits)
            rho = unitary @ rho @ unitary.conj().T
        else:
            errors = [
                on(functools.reduce(_kron, letters), step.wires, program.qubits)
                for letters in itertools.product(PAULIS, repeat=len(step.wires))
            ]
            rho = sum(
                (p * error @ rho @ error.conj().T for p, error in zip(step.probabilities, errors, strict=True)),
                np.zeros_like(rho),
            )
    return rho


def changed(characterization: Characterization, **medians: float) -> Characterization:
    """The characterization with other fidelities."""
    fidelity = {name.strip("_"): {"median": value} for name, value in medians.items()}
    return msgspec.structs.replace(characterization, fidelity=characterization.fidelity | fidelity)


@pytest.mark.parametrize("qubits", [1, 2])
def test_depolarizing_rate_gives_the_average_gate_fidelity(qubits: int) -> None:
    """The channel of rate r after a perfect gate has the fidelity it came from, by F = (d F_e + 1) / (d + 1)."""
    dimension, fidelity = 2**qubits, 0.97
    rate = depolarizing_rate(fidelity, qubits)
    entanglement_fidelity = 1 - rate * (1 - 1 / dimension**2)  # the probability of the identity
    assert (dimension * entanglement_fidelity + 1) / (dimension + 1) == pytest.approx(fidelity, abs=1e-15)


def test_dephasing_probability() -> None:
    """Coherences shrink by 1 - 2 p = e^(-t/T2); p starts as t / 2 T2 and ends at one half."""
    assert 1 - 2 * dephasing_probability(0.3, 1.5) == pytest.approx(math.exp(-0.2), abs=1e-15)
    assert dephasing_probability(1e-12, 1.0) == pytest.approx(5e-13, rel=1e-9)
    assert dephasing_probability(1e6, 1.0) == 0.5


@pytest.mark.parametrize(("pairs", "waits"), [(1, 0), (40, 0), (0, 300), (7, 11)])
def test_ramsey_fringe_decays_with_t2(pairs: int, waits: int) -> None:
    """Between two gpi2 on one wire, gates elsewhere and nops shrink its coherence by e^(-t/T2), and gates by 1 - r."""
    perfect = changed(ARIA, _1q=1.0, _2q=1.0)
    gates = (
        Gate("gpi2", (0,), params=(0.0,)),
        *[Gate("ms", (1, 2), params=(0.0, 0.1, 0.2))] * pairs,
        *[Gate("nop", (0,))] * waits,
        Gate("gpi2", (0,), params=(0.0,)),
    )
    circuit = Circuit(qubits=3, gateset="native", gates=gates)
    coherence = math.exp(-(pairs * 600e-6 + waits * 135e-6) / 1.0)
    for characterization, shrink in ((perfect, 1.0), (changed(perfect, _1q=0.99), (1 - 2 * 0.01) ** 2)):
        diagonal = np.diag(density_matrix(noisy_program(circuit, characterization))).real
        assert diagonal[1::2].sum() == pytest.approx((1 + coherence * shrink) / 2, abs=1e-12)


def test_gate_noise_follows_each_gate_on_its_wires() -> None:
    """One channel per gate, on its wires, at the rate of its width; none for nop, none for wires that did not wait."""
    gates = (
        Gate("gpi", (1,), params=(0.0,)),
        Gate("ms", (1, 0), params=(0.0, 0.0, 0.25)),
        Gate("nop", (0,)),
    )
    program = noisy_program(Circuit(qubits=2, gateset="native", gates=gates), ARIA)
    channels = [step for step in program.steps if isinstance(step, PauliChannel)]
    assert [channel.wires for channel in channels] == [(1,), (1, 0)]
    assert 1 - channels[0].probabilities[0] == pytest.approx(3 / 4 * 0.0005, rel=1e-9)
    assert 1 - channels[1].probabilities[0] == pytest.approx(15 / 16 * 0.0133, rel=1e-9)
    assert program.flips is not None
    assert program.flips.tolist() == pytest.approx([0.0039, 0.0039])


def test_waiting_that_cannot_be_seen_is_left_out() -> None:
    """Dropping phase errors before a wire's first and after its last gate changes no outcome's probability."""
    spread = [Gate("gpi2", (wire,), params=(0.1,)) for wire in range(3)]
    circuit = Circuit(qubits=3, gateset="native", gates=(*spread, Gate("ms", (0, 1), params=(0.0, 0.0, 0.25)), *spread))
    slow = msgspec.structs.replace(ARIA, timing=ARIA.timing | {"t2": 1e-3})
    program = noisy_program(circuit, slow)
    idle = dict.fromkeys(range(3), 0)
    full: list[Apply | PauliChannel] = []
    for step in program.steps:  # the same gates, with dephasing written out gate by gate on every wire
        if isinstance(step, Apply):
            seconds = 135e-6 if len(step.wires) == 1 else 600e-6
            p = dephasing_probability(seconds, 1e-3)
            full += [PauliChannel((wire,), np.array([1 - p, 0, 0, p])) for wire in idle if wire not in step.wires]
        if (
            isinstance(step, Apply) or len(step.wires) == 2 or step.probabilities[1]
        ):  # all but the program's own dephasing
            full.append(step)
    written_out = density_matrix(Program(3, tuple(full)))
    assert np.diag(density_matrix(program)).real == pytest.approx(np.diag(written_out).real, abs=1e-12)


def test_histogram_is_that_of_the_exact_state() -> None:
    """Counts of a circuit with every kind of error follow the exact distribution (chi-square, significance 1e-5)."""
    rng = np.random.default_rng(8)
    gates = []
    for wire, other in [(0, 1), (1, 2), (2, 0)] * 4:
        gates.append(Gate("gpi2", (wire,), params=(rng.uniform(-1, 1),)))
        gates.append(Gate("ms", (wire, other), params=(*rng.uniform(-1, 1, 2), rng.uniform(0, 0.25))))
    circuit = Circuit(qubits=3, gateset="native", gates=tuple(gates))
    device = changed(ARIA, _1q=0.98, _2q=0.95, spam=0.9)
    device = msgspec.structs.replace(device, timing=ARIA.timing | {"t2": 0.01})
    expected = np.diag(density_matrix(noisy_program(circuit, device))).real
    for wire in range(3):
        expected = 0.9 * expected + 0.1 * expected[np.arange(8) ^ 1 << wire]
    shots = 50_000
    counts = measure(circuit, device, shots, 9).counts or {}
    observed = np.array([counts.get(outcome, 0) for outcome in range(8)])
    chi_square = ((observed - expected * shots) ** 2 / (expected * shots)).sum()
    assert chi_square < 35.26  # the quantile 1 - 1e-5 for 7 degrees of freedom

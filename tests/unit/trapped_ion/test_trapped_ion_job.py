"""Noisy runs: reproducible, on the right wires, with the statistics of the device."""

from __future__ import annotations

import math
from collections import Counter

import msgspec
import pytest

from orchestrator.circuits import ir
from orchestrator.model import Characterization, Result
from orchestrator_trapped_ion.calibration import load
from orchestrator_trapped_ion.job import execute, measure
from orchestrator_trapped_ion.measuring import Run

ARIA = load()["qpu.aria-1"].characterization("aria", 0)
BELL = ir.Circuit(
    qubits=25,
    gateset="native",
    gates=(ir.Gate("gpi2", (3,), params=(0.1,)), ir.Gate("ms", (3, 17), params=(0.0, 0.0, 0.25))),
)


def perfect(**medians: float) -> Characterization:
    """A device without errors, but for those given (by fidelity)."""
    fidelity = {name: {"median": medians.get(name, 1.0)} for name in ("spam", "1q", "2q")}
    return msgspec.structs.replace(ARIA, fidelity=fidelity, timing=ARIA.timing | {"t2": 1e12})


def test_same_seed_same_shots() -> None:
    """Shots are a function of circuit, characterization, shots and seed alone."""
    first, again, other = (measure(BELL, ARIA, 200, seed) for seed in (1, 1, 2))
    assert first == again
    assert first.shots != other.shots


def test_result_is_consistent() -> None:
    """Counts are those of the shots, probabilities counts / shots, on the wires the gates touched."""
    result = measure(BELL, ARIA, 500, 3)
    assert result.shots is not None
    assert result.counts is not None
    assert result.counts == Counter(result.shots)
    assert sum(result.counts.values()) == 500
    assert result.probabilities == {outcome: count / 500 for outcome, count in result.counts.items()}
    assert set(result.counts) <= {0, 1 << 3, 1 << 17, 1 << 3 | 1 << 17}
    assert (result.qubits, result.characterization_id) == (25, "aria")
    assert result.execution_ms == math.ceil(500 * (20 + 135 + 600 + 250) / 1000)


def test_worker_form_is_the_same_run() -> None:
    """What a worker answers is what `measure` returns; outcomes above 64 bits survive the way."""
    high = ir.Circuit(qubits=1024, gateset="native", gates=(ir.Gate("gpi", (900,), params=(0.0,)),))
    run = Run(native=msgspec.Raw(ir.dumps(high)), characterization=perfect(), shots=7, seed=5)
    result = msgspec.json.decode(execute(msgspec.json.encode(run)), type=Result)
    assert result == measure(high, perfect(), 7, 5)
    assert result.counts == {1 << 900: 7}


def test_empty_circuit_reads_zero() -> None:
    """Without gates nothing is touched, so every wire reads 0."""
    result = measure(ir.Circuit(qubits=25, gateset="native"), ARIA, 9, 1)
    assert (result.counts, result.shots, result.execution_ms) == ({0: 9}, [0] * 9, 3)


def test_spam_flips_each_touched_wire_independently() -> None:
    """The number of wrong bits of a perfect circuit is binomial with probability 1 - F_spam per wire."""
    wires, shots, error = 8, 20_000, 0.03
    circuit = ir.Circuit(
        qubits=25, gateset="native", gates=tuple(ir.Gate("gpi", (3 * wire,), params=(0.0,)) for wire in range(wires))
    )
    result = measure(circuit, perfect(spam=1 - error), shots, 11)
    assert result.counts is not None
    expected = sum(1 << 3 * wire for wire in range(wires))
    for wire in range(wires):
        flipped = sum(count for outcome, count in result.counts.items() if (outcome ^ expected) >> 3 * wire & 1)
        assert abs(flipped - shots * error) < 4.5 * math.sqrt(shots * error * (1 - error))
    right = (1 - error) ** wires
    assert abs(result.counts[expected] - shots * right) < 4.5 * math.sqrt(shots * right * (1 - right))


def test_repeated_gates_decay_at_the_rate_of_their_fidelity() -> None:
    """m gates of average fidelity F leave a population of 1/2 + (2F - 1)^m / 2 (d = 2: 1 - r = 2F - 1)."""
    gates, fidelity, shots = 100, 0.997, 20_000
    circuit = ir.Circuit(qubits=1, gateset="native", gates=(ir.Gate("gpi", (0,), params=(0.0,)),) * gates)
    result = measure(circuit, perfect(**{"1q": fidelity}), shots, 4)
    assert result.counts is not None
    survival = (1 + (2 * fidelity - 1) ** gates) / 2
    assert abs(result.counts[0] - shots * survival) < 4.5 * math.sqrt(shots * survival * (1 - survival))


def test_waiting_dephases() -> None:
    """A Ramsey sequence around 2,000 nops reads 1 with probability (1 + e^(-t/T2)) / 2."""
    shots, t2 = 20_000, 0.5
    half = ir.Gate("gpi2", (0,), params=(0.0,))
    circuit = ir.Circuit(qubits=1, gateset="native", gates=(half, *[ir.Gate("nop", (0,))] * 2_000, half))
    device = msgspec.structs.replace(perfect(), timing=ARIA.timing | {"t2": t2})
    result = measure(circuit, device, shots, 6)
    assert result.counts is not None
    ones = (1 + math.exp(-2_000 * 135e-6 / t2)) / 2
    assert abs(result.counts[1] - shots * ones) < 4.5 * math.sqrt(shots * ones * (1 - ones))


@pytest.mark.parametrize("shots", [1, 3])
def test_few_shots(shots: int) -> None:
    """One shot is a result too."""
    assert sum((measure(BELL, ARIA, shots, 1).counts or {}).values()) == shots

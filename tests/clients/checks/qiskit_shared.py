"""What the checks of both generations of qiskit-ionq share: circuits and an independent state vector."""

from __future__ import annotations

import math
import time
from typing import Any

from qiskit import QuantumCircuit
from qiskit.circuit.library import MCPhaseGate, PauliEvolutionGate, XGate
from qiskit.providers import JobStatus
from qiskit.quantum_info import SparsePauliOp, Statevector

TOLERANCE = 1e-9


def measured(circuit: QuantumCircuit, bits: int | None = None) -> QuantumCircuit:
    """The circuit with qubit k measured into classical bit k."""
    width = circuit.num_qubits if bits is None else bits
    out = QuantumCircuit(circuit.num_qubits, width)
    out.compose(circuit, inplace=True)
    out.measure(range(width), range(width))
    return out


def expected(circuit: QuantumCircuit) -> dict[int, float]:
    """Outcome probabilities of a circuit without measurements, by Qiskit's own state vector."""
    found = Statevector.from_instruction(circuit).probabilities()
    return {index: float(p) for index, p in enumerate(found) if p > 1e-12}


def same(found: dict[int, float], wanted: dict[int, float]) -> None:
    """Assert that two distributions agree to 1e-9."""
    for outcome in found.keys() | wanted.keys():
        difference = abs(found.get(outcome, 0.0) - wanted.get(outcome, 0.0))
        assert difference < TOLERANCE, (outcome, found.get(outcome), wanted.get(outcome))


def lopsided(qubits: int) -> QuantumCircuit:
    """A start from which every later gate, and every swapped qubit, shows in the outcome."""
    circuit = QuantumCircuit(qubits)
    for qubit in range(qubits):
        circuit.ry(0.4 + 0.55 * qubit, qubit)
        circuit.rz(0.7 - 0.3 * qubit, qubit)
    for qubit in range(qubits - 1):
        circuit.cx(qubit, qubit + 1)
    return circuit


def finished(circuit: QuantumCircuit) -> QuantumCircuit:
    """The circuit and a change of basis, so that phases show."""
    for qubit in range(circuit.num_qubits):
        circuit.rx(0.9 + 0.2 * qubit, qubit)
    return circuit


def each_gate() -> dict[str, QuantumCircuit]:
    """One circuit for every gate that qiskit-ionq can send, on qubits out of order."""
    one = {
        name: lambda c, name=name: getattr(c, name)(1)
        for name in ("x", "y", "z", "h", "s", "sdg", "t", "tdg", "sx", "sxdg", "id")
    }
    turned = {name: lambda c, name=name: getattr(c, name)(0.77, 2) for name in ("rx", "ry", "rz", "p")}
    pairs = {name: lambda c, name=name: getattr(c, name)(2, 0) for name in ("cx", "cy", "cz", "ch", "csx", "swap")}
    bent = {
        name: lambda c, name=name: getattr(c, name)(-1.3, 2, 0)
        for name in ("crx", "cry", "crz", "cp", "rxx", "ryy", "rzz")
    }
    wide = {
        "ccx": lambda c: c.ccx(3, 1, 0),
        "mcx": lambda c: c.append(XGate().control(3), [3, 0, 2, 1]),
        "mcphase": lambda c: c.append(MCPhaseGate(0.6, 2), [3, 0, 1]),
        "evolution": lambda c: c.append(
            PauliEvolutionGate(SparsePauliOp(["XIZ", "IYI"], [0.5, -0.8]), time=0.4), [2, 0, 1]
        ),
    }
    circuits = {}
    for name, apply in (one | turned | pairs | bent | wide).items():
        circuit = lopsided(4)
        apply(circuit)
        circuits[name] = finished(circuit)
    return circuits


def spelled(value: int, qubits: int) -> QuantumCircuit:
    """A circuit whose only outcome is the number."""
    circuit = QuantumCircuit(qubits, qubits, name=f"value-{value}")
    for qubit in range(qubits):
        if value >> qubit & 1:
            circuit.x(qubit)
    circuit.measure(range(qubits), range(qubits))
    return circuit


def ghz(qubits: int) -> QuantumCircuit:
    """All or nothing."""
    circuit = QuantumCircuit(qubits, qubits)
    circuit.h(0)
    for qubit in range(1, qubits):
        circuit.cx(qubit - 1, qubit)
    circuit.measure(range(qubits), range(qubits))
    return circuit


def bell() -> QuantumCircuit:
    """The classic example."""
    circuit = QuantumCircuit(2, 2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure([0, 1], [0, 1])
    return circuit


def too_wide(qubits: int) -> QuantumCircuit:
    """A circuit of that many busy qubits."""
    circuit = QuantumCircuit(qubits, qubits)
    circuit.h(range(qubits))
    circuit.measure(range(qubits), range(qubits))
    return circuit


def laborious(qubits: int, layers: int) -> QuantumCircuit:
    """A circuit that takes a while to compile and to run."""
    circuit = QuantumCircuit(qubits, qubits)
    for layer in range(layers):
        for qubit in range(qubits):
            circuit.rx(0.1 + 0.01 * layer, qubit)
            circuit.cx(qubit, (qubit + 1 + layer % (qubits - 1)) % qubits)
    circuit.measure(range(qubits), range(qubits))
    return circuit


def states(*jobs: Any) -> list[list[str]]:
    """The states that each of the jobs passes through, as the client names them, until all are done."""
    seen: list[list[str]] = [[] for _ in jobs]
    end = time.monotonic() + 30
    while any(not names or names[-1] != JobStatus.DONE.name for names in seen):
        assert time.monotonic() < end, seen
        for job, names in zip(jobs, seen, strict=True):
            name = job.status().name
            if not names or names[-1] != name:
                names.append(name)
    return seen


def in_order(names: list[str]) -> bool:
    """Whether a job passed its states in the order of its life, none of them twice."""
    life = ["INITIALIZING", "QUEUED", "RUNNING", "DONE"]
    return names == [name for name in life if name in names]


def commonest(counts: dict[str, int]) -> str:
    """The most frequent outcome."""
    return max(counts, key=lambda outcome: counts[outcome])


def spread(counts: dict[str, int], shots: int, wanted: dict[str, float]) -> None:
    """Assert that counts are a plausible draw: every outcome within six standard deviations."""
    assert sum(counts.values()) == shots, counts
    for outcome in counts.keys() | wanted.keys():
        p = wanted.get(outcome, 0.0)
        slack = 6 * math.sqrt(shots * p * (1 - p)) + 1e-9
        assert abs(counts.get(outcome, 0) - shots * p) <= slack, (outcome, counts, wanted)

"""What a simulation costs: ``python -m benchmarks.simulator [--quick] [--aer]``.

Prints one line per case: the best of a few runs of a worker's whole job, from the payload's bytes to
the answer's, in this process. Circuits are random rotations and cnots on random pairs, as many of each. ``--aer``
runs the same circuits in qiskit-aer with its automatic method, if it is installed (it is never a dependency).
"""

from __future__ import annotations

import argparse
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import msgspec

from orchestrator.circuits import ir
from orchestrator_noise_model import engine, job
from orchestrator_noise_model.lowering import build
from orchestrator_noise_model.models import MODELS
from orchestrator_noise_model.task import Task

SHOTS = 1_000


@dataclass(frozen=True)
class Case:
    """A circuit and its noise model; `state` measures the state alone, where an answer would have too many outcomes."""

    title: str
    circuit: ir.Circuit
    noise: str | None = None
    state: bool = False
    repeats: int = 3


def circuit(qubits: int, gates: int, seed: int = 1) -> ir.Circuit:
    """Rotations and cnots in turn."""
    rng = random.Random(seed)
    drawn = []
    for number in range(gates):
        one, other = rng.sample(range(qubits), 2)
        if number % 2:
            drawn.append(ir.Gate("x", (one,), (other,)))
        else:
            drawn.append(ir.Gate(rng.choice(("rx", "ry", "rz")), (one,), params=(rng.uniform(-3.0, 3.0),)))
    return ir.Circuit(qubits=qubits, gates=tuple(drawn))


def cases(quick: bool) -> list[Case]:
    """All cases; with `quick` those of under a second."""
    bell = ir.Circuit(qubits=2, gates=(ir.Gate("h", (0,)), ir.Gate("x", (1,), (0,))))
    ghz = ir.Circuit(qubits=24, gates=(ir.Gate("h", (0,)), *(ir.Gate("x", (wire + 1,), (wire,)) for wire in range(23))))
    small = [
        Case("Bell pair, ideal", bell, repeats=500),
        Case("Bell pair on wires of 29, ideal", msgspec.structs.replace(bell, qubits=29), repeats=500),
        Case("Bell pair, aria-1", bell, "aria-1", repeats=200),
        Case("12 qubits, 200 gates, ideal", circuit(12, 200)),
        Case("4 qubits, 100 gates, aria-1", circuit(4, 100), "aria-1"),
        Case("8 qubits, 200 gates, aria-1", circuit(8, 200), "aria-1"),
        Case("10 qubits, 250 gates, aria-1", circuit(10, 250), "aria-1"),
        Case("12 qubits, 300 gates, aria-1", circuit(12, 300), "aria-1"),
    ]
    large = [
        Case("14 qubits, 350 gates, aria-1", circuit(14, 350), "aria-1", repeats=2),
        Case("16 qubits, 400 gates, aria-1", circuit(16, 400), "aria-1", repeats=1),
        Case("GHZ on 24 qubits, ideal", ghz),
        Case("20 qubits, 500 gates, state", circuit(20, 500), state=True),
        Case("24 qubits, 600 gates, state", circuit(24, 600), state=True),
    ]
    return small if quick else small + large


def ours(case: Case) -> Callable[[], object]:
    """The case in our engine."""
    if case.state:
        return lambda: engine.statevector(build(case.circuit))
    task = Task(
        circuit=msgspec.Raw(ir.dumps(case.circuit)),
        shots=SHOTS,
        seed=1,
        max_outcomes=2**20,
        rates=None if case.noise is None else MODELS[case.noise],
    )
    payload = msgspec.json.encode(task)
    return lambda: job.execute(payload)


def aer(case: Case) -> Callable[[], object]:
    """The case in qiskit-aer, automatic method."""
    qiskit, qiskit_aer, noise = (import_module(name) for name in ("qiskit", "qiskit_aer", "qiskit_aer.noise"))
    touched = case.circuit.active
    translated = qiskit.QuantumCircuit(len(touched))
    for gate in ir.compact(case.circuit)[0].gates:
        if gate.controls:
            translated.cx(gate.controls[0], gate.targets[0])
        else:
            getattr(translated, gate.name)(*gate.params, gate.targets[0])
    model = noise.NoiseModel()
    if case.noise is not None:
        rates = MODELS[case.noise]
        model.add_all_qubit_quantum_error(noise.depolarizing_error(rates.one_qubit, 1), ["h", "rx", "ry", "rz"])
        model.add_all_qubit_quantum_error(noise.depolarizing_error(rates.two_qubit, 2), ["cx"])
    if case.noise is None:
        translated.save_statevector()
    else:
        translated.measure_all()
    simulator = qiskit_aer.AerSimulator(noise_model=model)
    return lambda: simulator.run(translated, shots=SHOTS, seed_simulator=1).result()


def best_ms(run: Callable[[], object], repeats: int) -> float:
    """Least time of some runs, milliseconds; the first one, which fills caches, counts only if it is the only one."""
    times = []
    for _ in range(repeats + (repeats > 1)):
        begun = time.perf_counter()
        run()
        times.append(time.perf_counter() - begun)
    return 1e3 * min(times[1:] or times)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="only what takes under a second")
    parser.add_argument("--aer", action="store_true", help="compare with qiskit-aer")
    options = parser.parse_args()
    print(
        f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, {SHOTS} shots where noisy, best run, milliseconds"
    )
    for case in cases(options.quick):
        line = f"{case.title:<36}{best_ms(ours(case), case.repeats):>12,.2f}"
        if options.aer:
            line += f"{best_ms(aer(case), min(case.repeats, 3)):>12,.2f}"
        print(line, flush=True)


if __name__ == "__main__":
    main()

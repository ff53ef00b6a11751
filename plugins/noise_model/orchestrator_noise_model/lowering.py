"""From the circuit IR to programs: gates become matrices, a noise model's rates become channels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Final

import numpy as np

from orchestrator.circuits import gates, ir
from orchestrator.circuits.decompose import to_two_qubit
from orchestrator_noise_model.models import Rates
from orchestrator_noise_model.program import Apply, Complexes, Program, Step, depolarizing

_H: Final = np.array([[1, 1], [1, -1]], dtype=np.complex128) * math.sqrt(0.5)
_X: Final = np.array([[0, 1], [1, 0]], dtype=np.complex128)
#: Letter -> B with B P B^dagger = Z.
_TO_Z: Final = {"X": _H, "Y": _H @ np.diag([1, -1j])}


def build(circuit: ir.Circuit) -> Program:
    """The ideal program of a circuit, with idle wires left out.

    Qubit i of the program is the i-th of ``circuit.active`` (`ir.compact`).
    """
    circuit, _ = ir.compact(circuit)
    steps: list[Step] = []
    for gate in circuit.gates:
        if gate.name == "pauliexp":
            steps += _pauli_exponential(gate)
        elif gate.name != "nop":
            steps.append(_apply(gate, circuit.gateset))
    return Program(len(circuit.active), tuple(steps))


def build_noisy(circuit: ir.Circuit, rates: Rates) -> Program:
    """The program of a circuit under a noise model, with idle wires left out as in `build`.

    Gates on more than two wires and Pauli exponentials are decomposed first; then each gate is
    followed by a depolarizing channel on its wires. ``nop`` is no gate.
    """
    circuit, _ = ir.compact(circuit)
    steps: list[Step] = []
    for gate in to_two_qubit(circuit).gates:
        if gate.name != "nop":
            steps.append(_apply(gate, circuit.gateset))
            rate = rates.two_qubit if len(gate.wires) == 2 else rates.one_qubit
            if rate:
                steps.append(depolarizing(rate, *gate.wires))
    return Program(len(circuit.active), tuple(steps))


def _apply(gate: ir.Gate, gateset: ir.GateSet) -> Apply:
    return Apply(_matrix(gate.name, gate.params, gateset), gate.targets, gate.controls)


@lru_cache(maxsize=4096)
def _matrix(name: str, params: tuple[float, ...], gateset: ir.GateSet) -> Complexes:
    wires = (0, 1)[: gates.GATES[gateset][name].targets]
    matrix = np.array(gates.matrix(ir.Gate(name, wires, params=params), gateset), dtype=np.complex128)
    matrix.flags.writeable = False
    return matrix


def _pauli_exponential(gate: ir.Gate) -> Iterator[Apply]:
    """exp(-i angle P), one factor after the other: the parity of P's wires is gathered on the last one and turned.

    Controls act on the turn alone, since all else undoes itself (Nielsen and Chuang, section 4.7.3).
    """
    for angle, letters in gates.pauli_factors(gate):
        phase = np.exp(-1j * angle)
        if not letters:
            yield Apply(np.array([[phase]]), (), gate.controls)
            continue
        wires = [wire for _, wire in letters]
        bases = [Apply(_TO_Z[letter], (wire,)) for letter, wire in letters if letter in _TO_Z]
        ladder = [Apply(_X, (target,), (control,)) for control, target in pairwise(wires)]
        yield from bases
        yield from ladder
        yield Apply(np.diag([phase, phase.conjugate()]), (wires[-1],), gate.controls)
        yield from reversed(ladder)
        yield from (Apply(basis.matrix.conj().T, basis.wires) for basis in bases)

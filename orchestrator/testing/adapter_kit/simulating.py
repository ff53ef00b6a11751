"""What a circuit measures, by the gate table's own matrices: pure Python, for circuits of a few qubits."""

from __future__ import annotations

import math
from collections.abc import Sequence

from orchestrator.circuits.gates import matrix, pauli_factors
from orchestrator.circuits.ir import Circuit, Gate, GateSet

State = list[complex]


def probabilities(circuit: Circuit) -> dict[int, float]:
    """The probability of each outcome, those that are impossible left out; bit k of an outcome is qubit k."""
    return {outcome: p for outcome, each in enumerate(amplitudes(circuit)) if (p := abs(each) ** 2) > 1e-15}


def amplitudes(circuit: Circuit) -> State:
    """The state that a circuit makes of all zeros: ``2**qubits`` amplitudes, qubit 0 the least significant bit."""
    state: State = [1 + 0j] + [0j] * ((1 << circuit.qubits) - 1)
    for gate in circuit.gates:
        state = _pauliexp(state, gate) if gate.name == "pauliexp" else _applied(state, gate, circuit.gateset)
    return state


def _applied(state: State, gate: Gate, gateset: GateSet) -> State:
    rows = matrix(gate, gateset)
    wires = tuple(reversed(gate.targets))  # targets[0] is the more significant letter
    everything = sum(1 << wire for wire in wires)
    places = [sum(1 << wire for at, wire in enumerate(wires) if row >> at & 1) for row in range(len(rows))]
    after = list(state)
    for base in range(len(state)):
        if base & everything or not _controlled(base, gate.controls):
            continue
        for place, entries in zip(places, rows, strict=True):
            after[base | place] = sum(
                (entry * state[base | other] for entry, other in zip(entries, places, strict=True)), 0j
            )
    return after


def _pauliexp(state: State, gate: Gate) -> State:
    """Each factor is cos(angle) - i sin(angle) P."""
    for angle, letters in pauli_factors(gate):
        flipped = sum(1 << wire for letter, wire in letters if letter != "Z")
        after = list(state)
        for outcome in range(len(state)):
            if not _controlled(outcome, gate.controls):
                continue
            sign = 1 + 0j
            for letter, wire in letters:  # what P makes of the outcome that it brings here
                one = outcome >> wire & 1
                if letter == "Y":
                    sign *= 1j if one else -1j
                elif letter == "Z" and one:
                    sign = -sign
            after[outcome] = math.cos(angle) * state[outcome] - 1j * math.sin(angle) * sign * state[outcome ^ flipped]
        state = after
    return state


def _controlled(outcome: int, controls: Sequence[int]) -> bool:
    return all(outcome >> wire & 1 for wire in controls)

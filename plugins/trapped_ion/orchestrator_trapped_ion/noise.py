"""Noise as the engine takes it: a compiled circuit and a characterization become matrices and Pauli channels.

The formulas and their sources stand in `physics`.
"""

from __future__ import annotations

import numpy as np

from orchestrator.circuits.gates import matrix
from orchestrator.circuits.ir import Circuit
from orchestrator.model import Characterization
from orchestrator_noise_model.program import Apply, Program, Step, dephasing, depolarizing
from orchestrator_trapped_ion.physics import dephasing_probability, depolarizing_rate
from orchestrator_trapped_ion.timing import schedule


def noisy_program(native: Circuit, characterization: Characterization) -> Program:
    """The program of `native`, whose wires are compact (0 to ``qubits - 1``, see `ir.compact`)."""
    fidelity = {name: figures["median"] or 0.0 for name, figures in characterization.fidelity.items()}
    rates = {qubits: depolarizing_rate(fidelity[f"{qubits}q"], qubits) for qubits in (1, 2)}
    t2 = characterization.timing["t2"]
    steps: list[Step] = []
    for gate, waits in schedule(native, characterization.timing):
        for wire, waited_ns in waits:
            steps.append(dephasing(dephasing_probability(waited_ns * 1e-9, t2), wire))
        steps.append(Apply(np.array(matrix(gate, "native")), gate.targets))
        steps.append(depolarizing(rates[len(gate.targets)], *gate.targets))
    flips = np.full(native.qubits, 1 - fidelity["spam"])
    return Program(native.qubits, tuple(steps), flips)

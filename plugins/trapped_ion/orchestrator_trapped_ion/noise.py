"""Noise: a compiled circuit and a characterization become a program of matrices and Pauli channels.

* **Gates.** A depolarizing channel of rate r follows every gate, on the gate's qubits. Its average
  gate fidelity is F = 1 - r (d - 1) / d with d = 2**qubits (M. A. Nielsen, Phys. Lett. A 303, 249
  (2002)), hence r = (1 - F) d / (d - 1): 2 (1 - F) and 4/3 (1 - F). The measured
  fidelity includes what the gate's own wires lose to decoherence meanwhile, so they lose nothing more.
* **Dephasing.** Wires that wait while others are worked on lose coherence as e^{-t/T2}: a Z error of
  probability (1 - e^{-t/T2}) / 2 (M. A. Nielsen and I. L. Chuang, Quantum Computation and Quantum
  Information, section 8.3.6). Z errors before a wire's first gate and after its last one cannot be
  seen in the outcome and are left out; waits add up exactly, as exponents do.
* **SPAM.** Each wire is read wrong with probability 1 - F_spam, whichever bit it holds: the published
  figure joins preparation and measurement and does not tell 0 from 1. Wires that no gate touches read 0.
* **T1** is left out: at 100 s it acts at a hundredth of the rate of T2, and it is no Pauli channel.
"""

from __future__ import annotations

import math

import numpy as np

from orchestrator.circuits.gates import matrix
from orchestrator.circuits.ir import Circuit
from orchestrator.model import Characterization
from orchestrator_noise_model.program import Apply, Program, Step, dephasing, depolarizing
from orchestrator_trapped_ion.timing import gate_ns


def depolarizing_rate(fidelity: float, qubits: int) -> float:
    """Rate r of the depolarizing channel whose average gate fidelity is `fidelity`."""
    dimension = 1 << qubits
    return (1 - fidelity) * dimension / (dimension - 1)


def dephasing_probability(seconds: float, t2: float) -> float:
    """Probability of a Z error within `seconds` of waiting, at most 1/2."""
    return -math.expm1(-seconds / t2) / 2


def noisy_program(native: Circuit, characterization: Characterization) -> Program:
    """The program of `native`, whose wires are compact (0 to ``qubits - 1``, see `ir.compact`)."""
    fidelity = {name: figures["median"] or 0.0 for name, figures in characterization.fidelity.items()}
    rates = {qubits: depolarizing_rate(fidelity[f"{qubits}q"], qubits) for qubits in (1, 2)}
    t2 = characterization.timing["t2"]
    steps: list[Step] = []
    now_ns = 0
    worked_until: dict[int, int] = {}
    for gate in native.gates:
        duration = gate_ns(gate.name, characterization.timing)
        if gate.name != "nop":
            for wire in gate.targets:
                waited = now_ns - worked_until.get(wire, now_ns)
                if waited:
                    steps.append(dephasing(dephasing_probability(waited * 1e-9, t2), wire))
                worked_until[wire] = now_ns + duration
            steps.append(Apply(np.array(matrix(gate, "native")), gate.targets))
            steps.append(depolarizing(rates[len(gate.targets)], *gate.targets))
        now_ns += duration
    flips = np.full(native.qubits, 1 - fidelity["spam"])
    return Program(native.qubits, tuple(steps), flips)

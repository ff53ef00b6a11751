"""The formulas of the noise: from published figures to probabilities of Pauli errors. Pure Python.

* **Gates.** A depolarizing channel of rate r follows every gate, on the gate's qubits. Its average
  gate fidelity is F = 1 - r (d - 1) / d with d = 2**qubits (M. A. Nielsen, Phys. Lett. A 303, 249
  (2002)), hence r = (1 - F) d / (d - 1): 2 (1 - F) and 4/3 (1 - F). The measured fidelity includes
  what the gate's own wires lose to decoherence meanwhile, so they lose nothing more.
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


def depolarizing_rate(fidelity: float, qubits: int) -> float:
    """Rate r of the depolarizing channel whose average gate fidelity is `fidelity`."""
    dimension = 1 << qubits
    return (1 - fidelity) * dimension / (dimension - 1)


def dephasing_probability(seconds: float, t2: float) -> float:
    """Probability of a Z error within `seconds` of waiting, at most 1/2."""
    return -math.expm1(-seconds / t2) / 2

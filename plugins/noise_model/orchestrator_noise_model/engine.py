"""The front door of the engine: exact probabilities, exact noisy probabilities, sampled shots.

Which method and precision runs is a function of the program and the number of shots alone, never of
the machine: so are the outcomes.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from orchestrator_noise_model import density, estimate, kernel, trajectories
from orchestrator_noise_model.kernel import Numbers
from orchestrator_noise_model.program import Apply, Floats, Integers, PauliChannel, Program

#: Widest step a density matrix takes, in wires; its transfer matrix has 16**k entries.
_DENSITY_WIRES: Final = 3


def statevector(program: Program) -> Numbers:
    """The final state without errors, ``(2**n,)``, qubit 0 the least significant.

    complex128 while that costs a second or two, complex64 (rounding errors near 1e-7) for more work.
    """
    qubits = program.qubits
    steps = list(program.unitaries)
    dtype = np.complex128 if estimate.double_precision(qubits, len(steps)) else np.complex64
    state: Numbers = np.zeros(1 << qubits, dtype=dtype)
    state[0] = 1.0
    kernel.run(steps, state)
    return state


def probabilities(program: Program) -> Floats:
    """Exact outcome probabilities without errors and with perfect readout, float64 ``(2**n,)``."""
    state = statevector(program)
    weights: Floats = state.real.astype(np.float64) ** 2
    weights += state.imag.astype(np.float64) ** 2
    return weights


def density_probabilities(program: Program) -> Floats:
    """Exact outcome probabilities with all channels and misread qubits, float64 ``(2**n,)``; memory grows as 4**n."""
    return density.probabilities(program)


def sample(program: Program, shots: int, rng: np.random.Generator) -> Integers:
    """Outcomes of `shots` runs with errors and misread qubits, int64 ``(shots,)``; bit k is qubit k.

    A function of the program, the number of shots and the state of `rng` alone.
    """
    if program.noisy and not density_is_cheaper(program, shots):
        outcomes = trajectories.sample(program, shots, rng)
        return _misread(outcomes, program, rng)
    if program.noisy:
        return trajectories.pick(density.probabilities(program), rng.random(shots))
    return _misread(trajectories.pick(probabilities(program), rng.random(shots)), program, rng)


def _misread(outcomes: Integers, program: Program, rng: np.random.Generator) -> Integers:
    """Flip each bit with its qubit's probability."""
    if program.flips is None:
        return outcomes
    for qubit, flip in enumerate(program.flips.tolist()):
        outcomes = outcomes ^ ((rng.random(len(outcomes)) < flip).astype(np.int64) << qubit)
    return outcomes


def density_is_cheaper(program: Program, shots: int) -> bool:
    """Whether the density matrix is expected to take less time than trajectories."""
    if any(_width(step) > _DENSITY_WIRES for step in program.steps):
        return False
    clean = math.prod(float(step.probabilities[0]) for step in program.steps if isinstance(step, PauliChannel))
    steps = sum(1 for _ in program.unitaries)
    exact = estimate.density_ms(program.qubits, steps)
    return exact <= estimate.trajectories_ms(program.qubits, steps, shots, clean)


def _width(step: Apply | PauliChannel) -> int:
    return len(step.wires) + (len(step.controls) if isinstance(step, Apply) else 0)

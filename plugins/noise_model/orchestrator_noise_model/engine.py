"""The front door of the engine: exact probabilities, exact noisy probabilities, sampled shots.

Which method and precision runs is a function of the program and the number of shots alone, never of
the machine: so are the outcomes.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from orchestrator_noise_model import density, kernel, trajectories
from orchestrator_noise_model.fusion import apply_small
from orchestrator_noise_model.kernel import Numbers
from orchestrator_noise_model.program import Apply, Floats, Integers, PauliChannel, Program

#: Up to this width steps run one by one: fusing them would cost more than it saves.
_DIRECT_QUBITS: Final = 10
#: Amplitudes times steps up to which double precision is used, a second or two; single precision beyond.
_DOUBLE_WORK: Final = 2**31
#: Widest density matrix, 4**n float64: 128 MiB and as much again for its kernel.
_DENSITY_QUBITS: Final = 12
#: Widest step a density matrix takes, in wires; its transfer matrix has 16**k entries.
_DENSITY_WIRES: Final = 3

# Costs measured on the machine of benchmarks/simulator.py, in nanoseconds.
_DENSITY_NUMBER_NS: Final = 1.0
_DENSITY_STEP_NS: Final = 60_000.0
_TRAJECTORY_NUMBER_NS: Final = 0.6
_TRAJECTORY_NS: Final = 150_000.0


def precision(qubits: int, steps: int) -> np.dtype[Any]:
    """complex128 while that costs a second or two, complex64 (rounding errors near 1e-7) for more work."""
    return np.dtype(np.complex128 if steps << qubits <= _DOUBLE_WORK else np.complex64)


def statevector(program: Program) -> Numbers:
    """The final state without errors: ``(2**n,)`` in `precision`, qubit 0 the least significant."""
    qubits = program.qubits
    steps = list(program.unitaries)
    state: Numbers = np.zeros(1 << qubits, dtype=precision(qubits, len(steps)))
    state[0] = 1.0
    if qubits > _DIRECT_QUBITS:
        kernel.run(steps, state)
        return state
    wires = range(qubits - 1, -1, -1)
    for step in steps:
        state = apply_small(step, state, wires)
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
    qubits, steps = program.qubits, program.steps
    if qubits > _DENSITY_QUBITS or any(_width(step) > _DENSITY_WIRES for step in steps):
        return False
    ideal = float(np.prod([step.probabilities[0] for step in steps if isinstance(step, PauliChannel)]))
    unitaries = sum(isinstance(step, Apply) for step in steps)
    whole = unitaries * (_DENSITY_STEP_NS + _DENSITY_NUMBER_NS * 4**qubits)
    each = _TRAJECTORY_NS + unitaries * _TRAJECTORY_NUMBER_NS * 2**qubits
    return whole <= (1 + shots * (1 - ideal)) * each


def _width(step: Apply | PauliChannel) -> int:
    return len(step.wires) + (len(step.controls) if isinstance(step, Apply) else 0)

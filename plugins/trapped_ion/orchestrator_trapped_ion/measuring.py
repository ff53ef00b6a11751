"""What a noisy run is told, and what it may cost; shared by the server and the workers, without numerics."""

from __future__ import annotations

import math
from typing import Final

import msgspec

from orchestrator.circuits.ir import Circuit
from orchestrator.model import Characterization
from orchestrator_trapped_ion.calibration import Calibration
from orchestrator_trapped_ion.physics import dephasing_probability, depolarizing_rate
from orchestrator_trapped_ion.timing import schedule

#: A run may take this many times its estimate's limit before its worker is stopped.
PATIENCE: Final = 2.0
#: What the compilation of a large circuit may take, and how often it is tried where workers are lost.
COMPILE_ATTEMPTS: Final = 3
COMPILE_LIMIT_S: Final = 120.0
COMPILE_MEMORY_BYTES: Final = 2 * 2**30

#: The engine's costs as measured, seconds: a gate on one amplitude of a trajectory, and beginning and ending one. Up to
#: `_SIDE_BY_SIDE` wires many trajectories run side by side.
_SIDE_BY_SIDE: Final = 14
_AMPLITUDE_S: Final = 0.7e-9
_AMPLITUDE_SIDE_BY_SIDE_S: Final = 0.15e-9
_TRAJECTORY_S: Final = 50e-6
#: A gate on a density matrix and on one of its entries, seconds; the widest one that the engine uses.
_GATE_S: Final = 100e-6
_ENTRY_S: Final = 1e-9
_DENSITY_WIRES: Final = 12
#: Bytes for each amplitude (ideal state, trajectory, weights and their sums), entry and shot (its errors, its outcome).
_AMPLITUDE_BYTES: Final = 64
_ENTRY_BYTES: Final = 32
_SHOT_BYTES: Final = 4096


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a noisy run depends on. `native` is the compiled circuit as `ir.dumps` wrote it."""

    native: msgspec.Raw
    characterization: Characterization
    shots: int
    seed: int


def memory_bytes(wires: int, shots: int) -> int:
    """What a run that touches so many wires may allocate."""
    density = _ENTRY_BYTES << 2 * min(wires, _DENSITY_WIRES)
    return (_AMPLITUDE_BYTES << wires) + density + _SHOT_BYTES * shots + 64 * 2**20


def simulation_s(native: Circuit, calibration: Calibration, shots: int) -> float:
    """Estimate of the seconds that a noisy run takes to simulate.

    Shots with the same errors cost as much as one. With an expected number of errors m a shot has none
    with probability e^{-m}, so about 1 + shots (1 - e^{-m}) trajectories are run; narrow circuits may
    take the way of the density matrix instead.
    """
    wires, gates = len(native.active), len(native.gates)
    rates = (
        depolarizing_rate(calibration.fidelity.one_qubit, 1) * 3 / 4,
        depolarizing_rate(calibration.fidelity.two_qubit, 2) * 15 / 16,
    )
    errors = 0.0
    for gate, waits in schedule(native, msgspec.to_builtins(calibration.timing)):
        errors += rates[len(gate.targets) - 1]
        errors += sum(dephasing_probability(waited_ns * 1e-9, calibration.timing.t2) for _, waited_ns in waits)
    trajectories = 1 - shots * math.expm1(-errors)
    amplitude_s = _AMPLITUDE_SIDE_BY_SIDE_S if wires <= _SIDE_BY_SIDE else _AMPLITUDE_S
    sampled = trajectories * (_TRAJECTORY_S + gates * amplitude_s * (1 << wires))
    if wires > _DENSITY_WIRES:
        return sampled
    return min(sampled, gates * (_GATE_S + _ENTRY_S * (1 << 2 * wires)))

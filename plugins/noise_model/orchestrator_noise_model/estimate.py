"""What a simulation will cost, in time and memory. Pure Python: the server process asks too.

Figures are rough: they sort tiny jobs from large ones, set generous limits and give people an idea.
Constants were measured with ``benchmarks/simulator.py`` on two slow cores.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Final

import msgspec

from orchestrator.errors import ExecutionError
from orchestrator_noise_model.models import Rates

#: Amplitudes times steps up to which the ideal simulation is in double precision: a second or two.
_DOUBLE_WORK: Final = 2**31
#: Widest density matrix: 4**n float64 are 128 MiB.
_DENSITY_QUBITS: Final = 12

_JOB_NS: Final = 200_000.0
_STEP_NS: Final = 15_000.0
_AMPLITUDE_NS: Final = 0.7
_DENSITY_STEP_NS: Final = 150_000.0
_DENSITY_NUMBER_NS: Final = 1.5
_TRAJECTORY_NS: Final = 100_000.0
_TRAJECTORY_AMPLITUDE_NS: Final = 0.4

_OUTCOME_BYTES: Final = 400
_SHOT_BYTES: Final = 400
_BUFFER_BYTES: Final = 256 * 2**20


class Estimate(msgspec.Struct, frozen=True):
    """Time of one execution in milliseconds, and what it allocates."""

    ms: float
    memory_bytes: int


def double_precision(qubits: int, steps: int) -> bool:
    """Whether amplitudes are complex128; complex64 (rounding errors near 1e-7) where that would take long."""
    return steps << qubits <= _DOUBLE_WORK


def state_bytes(qubits: int, steps: int) -> int:
    """Size of the ideal state."""
    return (16 if double_precision(qubits, steps) else 8) << qubits


def noisy_bytes(qubits: int) -> int:
    """What noisy sampling allocates: two states and cumulated weights, or the density matrix and its copies."""
    return max(32 << qubits, 24 << 2 * qubits if qubits <= _DENSITY_QUBITS else 0)


def density_ms(qubits: int, steps: int) -> float:
    """Time of an exact density matrix; infinite where it is too wide."""
    if qubits > _DENSITY_QUBITS:
        return math.inf
    return steps * (_DENSITY_STEP_NS + _DENSITY_NUMBER_NS * (1 << 2 * qubits)) * 1e-6


def trajectories_ms(qubits: int, steps: int, shots: int, clean: float) -> float:
    """Time of `shots` trajectories of which a fraction `clean` has no errors."""
    each = _TRAJECTORY_NS + steps * _TRAJECTORY_AMPLITUDE_NS * (1 << qubits)
    return (1 + shots * (1 - clean)) * each * 1e-6


def estimate(qubits: int, gates_1q: int, gates_2q: int, shots: int, rates: Rates | None) -> Estimate:
    """Cost of a job by its sizes; `gates_2q` counts all wider gates."""
    steps = gates_1q + gates_2q
    if rates is None:
        size = state_bytes(qubits, steps)
        ms = (_JOB_NS + steps * (_STEP_NS + _AMPLITUDE_NS * (1 << qubits))) * 1e-6
    else:
        clean = (1 - rates.one_qubit * 3 / 4) ** gates_1q * (1 - rates.two_qubit * 15 / 16) ** gates_2q
        exact, sampled = density_ms(qubits, steps), trajectories_ms(qubits, steps, shots, clean)
        ms = _JOB_NS * 1e-6 + min(exact, sampled)
        size = noisy_bytes(qubits) + _SHOT_BYTES * shots
    return Estimate(ms, size + _BUFFER_BYTES + _OUTCOME_BYTES * (1 << min(qubits, 20)))


def available_bytes() -> int | None:
    """Memory this machine or container can give now, or None where the system does not tell."""
    lines = _read("/proc/meminfo").splitlines()
    free = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    limit, used = _read("/sys/fs/cgroup/memory.max").strip(), _read("/sys/fs/cgroup/memory.current").strip()
    if limit.isdecimal() and used.isdecimal():
        free.append(int(limit) - int(used))
    if not free and "SC_AVPHYS_PAGES" in os.sysconf_names:
        free.append(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(free, default=None)


def _read(path: str) -> str:
    try:
        return Path(path).read_text("ascii")
    except OSError:  # not Linux, or not in such a container
        return ""


def require(needed: int, qubits: int) -> None:
    """Refuse what does not fit into memory, before it is allocated.

    Raises:
        ExecutionError: ``SimulationError``, naming both sizes.
    """
    available = available_bytes()
    if available is not None and needed > available:
        raise ExecutionError(
            "SimulationError",
            f"simulating {qubits} qubits needs {needed / 2**20:,.0f} MiB of memory; "
            f"this machine has {available / 2**20:,.0f} MiB available",
        )

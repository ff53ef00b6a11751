"""Time: how long a shot and a job take on the device.

The ions of one chain are worked on one gate at a time: entangling gates share the chain's modes of
motion. The vendor publishes the four durations (``timing`` of a characterization: 1q, 2q, readout,
reset), so with n1 and n2 gates of one and two qubits

    t_shot = t_reset + n1 t_1q + n2 t_2q + t_readout        t_job = shots t_shot

Virtual Z rotations are changes of the laser's phase and take no time (D. C. McKay et al.,
Phys. Rev. A 96, 022330 (2017)); compiled circuits do not contain them. A ``nop`` waits for the time
of a one-qubit gate. Everything is counted in whole nanoseconds, so sums are exact.
"""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.circuits.ir import Circuit
from orchestrator_trapped_ion.calibration import TWO_QUBIT

_NS_PER_MS = 1_000_000


def gate_ns(name: str, timing: Mapping[str, float]) -> int:
    """Duration of one native gate; `timing` in seconds, as in a characterization."""
    return round(timing["2q" if name in TWO_QUBIT else "1q"] * 1e9)


def shot_ns(native: Circuit, timing: Mapping[str, float]) -> int:
    """Duration of one shot, reset and readout included."""
    gates = sum(gate_ns(gate.name, timing) for gate in native.gates)
    return round(timing["reset"] * 1e9) + gates + round(timing["readout"] * 1e9)


def execution_ms(native: Circuit, timing: Mapping[str, float], shots: int) -> int:
    """Duration of a job, milliseconds, rounded up: 0 stands for jobs that did not run."""
    return -(-shots * shot_ns(native, timing) // _NS_PER_MS)


def wall_ms(execution: int, time_scale: float, limit_s: float) -> int:
    """Milliseconds a simulated device lets people wait for a job of `execution` milliseconds."""
    return round(min(execution * time_scale, limit_s * 1000))

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

from collections.abc import Iterator, Mapping

from orchestrator.circuits.ir import Circuit, Gate
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


def schedule(native: Circuit, timing: Mapping[str, float]) -> Iterator[tuple[Gate, list[tuple[int, int]]]]:
    """The gates that do something, in order, each with its wires that have waited since their last one.

    A wait is (wire, nanoseconds) and longer than 0; before a wire's first gate there is none. A ``nop``
    lets time pass, for its own wire too.
    """
    now_ns = 0
    worked_until: dict[int, int] = {}
    for gate in native.gates:
        until = now_ns + gate_ns(gate.name, timing)
        if gate.name != "nop":
            waits = [(wire, now_ns - worked_until.get(wire, now_ns)) for wire in gate.targets]
            yield gate, [(wire, waited_ns) for wire, waited_ns in waits if waited_ns]
            worked_until.update(dict.fromkeys(gate.targets, until))
        now_ns = until


def wall_ms(execution: int, time_scale: float, limit_s: float) -> int:
    """Milliseconds a simulated device lets people wait for a job of `execution` milliseconds."""
    return round(min(execution * time_scale, limit_s * 1000))

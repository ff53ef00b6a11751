"""Time on the device, from its published durations."""

from __future__ import annotations

from orchestrator.circuits.ir import Circuit, Gate
from orchestrator_trapped_ion.timing import execution_ms, shot_ns, wall_ms

TIMING = {"1q": 135e-6, "2q": 600e-6, "readout": 250e-6, "reset": 20e-6, "t1": 100.0, "t2": 1.0}

CIRCUIT = Circuit(
    qubits=25,
    gateset="native",
    gates=(
        Gate("gpi2", (0,), params=(0.25,)),
        Gate("gpi", (3,), params=(0.0,)),
        Gate("ms", (0, 3), params=(0.0, 0.0, 0.25)),
        Gate("nop", (3,)),
        Gate("ms", (3, 0), params=(0.0, 0.5, 0.1)),
    ),
)


def test_shot_time_is_the_sum_of_its_parts() -> None:
    """Reset, gates one after the other (nop waits for a one-qubit gate), readout; whole nanoseconds."""
    assert shot_ns(CIRCUIT, TIMING) == 20_000 + 3 * 135_000 + 2 * 600_000 + 250_000
    assert shot_ns(Circuit(qubits=5, gateset="native"), TIMING) == 270_000


def test_execution_time_rounds_up() -> None:
    """A job takes shots x shot time, rounded up to milliseconds without floating-point error."""
    assert execution_ms(CIRCUIT, TIMING, 1) == 2  # 1.875 ms
    assert execution_ms(CIRCUIT, TIMING, 8) == 15  # exactly 15 ms
    assert execution_ms(CIRCUIT, TIMING, 1_000_000) == 1_875_000


def test_wall_time_is_scaled_and_limited() -> None:
    """People wait for the scaled time, never longer than the limit, and not at all with scale 0."""
    assert wall_ms(1_000, 0.25, 5.0) == 250
    assert wall_ms(1_000_000, 0.25, 5.0) == 5_000
    assert wall_ms(1_000_000, 0.0, 5.0) == 0

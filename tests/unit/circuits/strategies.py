"""Random circuits for property tests."""

from __future__ import annotations

from hypothesis import strategies as st

from orchestrator.circuits.gates import GATES, GateType
from orchestrator.circuits.ir import Circuit, Gate, GateSet

# Multiples of an eighth turn hit the special cases (no pulse, one pulse), the rest the general one.
ANGLES = st.one_of(st.integers(-16, 16).map(lambda k: k * 0.7853981633974483), st.floats(-10, 10))


@st.composite
def gates(draw: st.DrawFn, row: GateType, qubits: int, max_controls: int) -> Gate:
    """A gate of one row of the table on some of `qubits` wires."""
    wires = draw(st.permutations(range(qubits)))
    targets = tuple(wires[: row.targets or draw(st.integers(1, min(3, qubits)))])
    room = min(max_controls, qubits - len(targets)) if row.controls else 0
    controls = tuple(wires[len(targets) : len(targets) + draw(st.integers(0, room))])
    if row.name == "pauliexp":
        terms = draw(st.lists(st.text("IXYZ", min_size=len(targets), max_size=len(targets)), min_size=1, max_size=3))
        params = (draw(st.floats(0, 3)), *(draw(st.floats(-2, 2)) for _ in terms))
        return Gate(row.name, targets, controls, params, tuple(terms))
    if row.gateset == "native":
        params = tuple(draw(st.floats(max(param.low, -2), min(param.high, 2))) for param in row.params)
    else:
        params = tuple(draw(ANGLES) for _ in row.params)
    return Gate(row.name, targets, controls, params)


@st.composite
def circuits(
    draw: st.DrawFn, gateset: GateSet = "qis", max_qubits: int = 6, max_gates: int = 12, max_controls: int = 3
) -> Circuit:
    """A valid circuit of any gates of one set."""
    qubits = draw(st.integers(1, max_qubits))
    rows = [row for row in GATES[gateset].values() if row.targets <= qubits]
    row_gates = st.sampled_from(rows).flatmap(lambda row: gates(row, qubits, max_controls))
    return Circuit(qubits=qubits, gates=tuple(draw(st.lists(row_gates, max_size=max_gates))), gateset=gateset)

"""Limits and checks before acceptance: everything about a circuit that the vendor contract answers with 400.

What a backend can do (its width, its gates) is not checked here but by its capabilities, later. All
refusals are `InvalidRequest` whose field names the offending member, such as
``input.circuits[2].circuit[7].rotation``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from orchestrator.circuits.gates import GATES, GateType
from orchestrator.circuits.ir import Circuit, Gate, GateSet
from orchestrator.errors import InvalidRequest

#: Limits of one job (reference, section 6.2).
MAX_CIRCUITS: Final = 5_000
MAX_GATES: Final = 150_000
#: Widest circuit that may be declared; far above any backend, far below what would hurt.
MAX_QUBITS: Final = 1024

_PAULIS: Final = frozenset("IXYZ")


def fault(member: str, message: str, code: str = "invalid_request") -> InvalidRequest:
    """A refusal of one member, named relative to what is being read; `located` completes the name."""
    return InvalidRequest(message, code=code, fields=(member,))


def located(error: InvalidRequest, place: str) -> InvalidRequest:
    """The same refusal with its fields named from `place` on, such as ``input.circuit[3]``."""
    fields = tuple(f"{place}.{field}" if field and field[0] != "[" else place + field for field in error.fields)
    return InvalidRequest(str(error), code=error.code, fields=fields, source=error.source)


def unknown_gate(name: str, gateset: GateSet) -> InvalidRequest:
    """The refusal of a name that the gate set does not have."""
    other: GateSet = "native" if gateset == "qis" else "qis"
    if name in GATES[other]:
        return fault("gate", f"this gate belongs to the {other} gate set, the circuit is {gateset}", "wrong_gateset")
    known = " ".join(row for row in GATES[gateset] if row != "p")  # a name of the IR only
    return fault("gate", f"unknown gate; {gateset} gates are {known}", "unknown_gate")


def check_gate(gate: Gate, row: GateType, qubits: int) -> None:
    """Check one gate's wires and parameters against its row of the table.

    Raises:
        InvalidRequest: With the member's name relative to the gate.
    """
    targets = gate.targets
    if len(targets) != row.targets and (row.targets or not targets):
        code = "invalid_request" if targets else "missing_field"
        raise fault("targets", f"{row.name} takes {_count(row.targets)}, got {len(targets)}", code)
    if gate.controls and not row.controls:
        raise fault("controls", f"the native gate {row.name} takes no controls")
    check_wires(targets, gate.controls, qubits)
    if row.matrix is None:
        _check_pauliexp(gate, row)
    elif len(gate.params) != len(row.params):
        raise fault("gate", f"{row.name} takes {len(row.params)} parameters, got {len(gate.params)}")
    else:
        for value, (member, low, high) in zip(gate.params, row.params, strict=True):
            if not low <= value <= high:  # also false for NaN
                raise fault(member, _range(low, high), "angle_out_of_range")


def check_wires(targets: tuple[int, ...], controls: tuple[int, ...], qubits: int) -> None:
    """Check that wires exist and differ.

    Raises:
        InvalidRequest: They do not; names ``targets`` or ``controls``.
    """
    for wire in targets:
        if not 0 <= wire < qubits:
            raise _out_of_range("targets", qubits)
    if not controls and len(targets) < 2:
        return
    for wire in controls:
        if not 0 <= wire < qubits:
            raise _out_of_range("controls", qubits)
    if len({*targets, *controls}) != len(targets) + len(controls):
        member = "targets" if len(set(targets)) != len(targets) else "controls"
        raise fault(member, "the wires of a gate must all differ", "duplicate_index")


def _out_of_range(member: str, qubits: int) -> InvalidRequest:
    return fault(member, f"index out of range; the circuit has {qubits} qubits", "index_out_of_range")


def _check_pauliexp(gate: Gate, row: GateType) -> None:
    time, coefficients = gate.params[:1], gate.params[1:]
    if not time or not gate.terms:
        raise fault("terms" if time else "time", "pauliexp needs a time and at least one term", "missing_field")
    if len(coefficients) != len(gate.terms):
        raise fault("coefficients", f"pauliexp has {len(gate.terms)} terms and {len(coefficients)} coefficients")
    width = len(gate.targets)
    for index, term in enumerate(gate.terms):
        if len(term) != width or not _PAULIS.issuperset(term):
            raise fault(f"terms[{index}]", f"a term is {width} letters of I X Y Z, one for each target")
    first, rest = row.params
    if not first.low <= time[0] <= first.high:
        raise fault(first.member, "the time must be finite and not negative", "angle_out_of_range")
    for index, value in enumerate(coefficients):
        # The rotation is by twice the product: finite factors may still overflow it.
        if not rest.low <= 2 * value * max(time[0], 1.0) <= rest.high:
            raise fault(f"{rest.member}[{index}]", "the coefficient must be finite", "angle_out_of_range")


def _count(targets: int) -> str:
    return {0: "at least one target", 1: "one target"}.get(targets, f"{targets} targets")


def _range(low: float, high: float) -> str:
    return f"must be between {low:g} and {high:g} turns" if high < 2 else "must be a finite number"


def cost(gates: Sequence[Gate]) -> int:
    """How many gates these count as: a ``pauliexp`` counts as its terms, of which each becomes several gates."""
    return len(gates) + sum([len(gate.terms) - 1 for gate in gates if gate.terms])


def check_size(circuits: int, gates: int) -> None:
    """Refuse more circuits or gates than one job may hold.

    Raises:
        InvalidRequest: With no field; the caller knows what the list is called.
    """
    if not circuits:
        raise fault("", "there must be at least one circuit", "circuits_out_of_range")
    if circuits > MAX_CIRCUITS:
        raise fault("", f"a job holds at most {MAX_CIRCUITS:,} circuits", "circuits_out_of_range")
    if gates > MAX_GATES:
        raise fault("", f"a job holds at most {MAX_GATES:,} gates in all", "gates_out_of_range")


def check_qubits(qubits: int) -> None:
    """Refuse an absurd number of declared qubits.

    Raises:
        InvalidRequest: Not 1 to 1,024.
    """
    if not 1 <= qubits <= MAX_QUBITS:
        raise fault("qubits", f"must be between 1 and {MAX_QUBITS:,}", "qubits_out_of_range")


def check_registers(circuit: Circuit) -> None:
    """Refuse registers that name qubits the circuit does not have.

    Raises:
        InvalidRequest: With the register's name left out, which is the user's own text.
    """
    if circuit.registers is None:
        return
    for wires in circuit.registers.values():
        if any(wire is not None and not 0 <= wire < circuit.qubits for wire in wires):
            raise _out_of_range("registers", circuit.qubits)


def validate(circuits: Sequence[Circuit], *, multi: bool, root: str = "input") -> None:
    """Check circuits that were made in this process; the readers of formats check as they read.

    Raises:
        InvalidRequest: The first thing that is wrong.
    """
    place = f"{root}.circuits" if multi else root
    try:
        check_size(len(circuits), sum([cost(circuit.gates) for circuit in circuits]))
    except InvalidRequest as error:
        raise located(error, place if multi else f"{root}.circuit") from None
    for number, circuit in enumerate(circuits):
        try:
            _check_circuit(circuit)
        except InvalidRequest as error:
            raise located(error, f"{place}[{number}]" if multi else place) from None


def _check_circuit(circuit: Circuit) -> None:
    check_qubits(circuit.qubits)
    check_registers(circuit)
    rows, qubits = GATES[circuit.gateset], circuit.qubits
    for number, gate in enumerate(circuit.gates):
        try:
            row = rows.get(gate.name)
            if row is None:
                raise unknown_gate(gate.name, circuit.gateset)
            check_gate(gate, row, qubits)
        except InvalidRequest as error:
            raise located(error, f"circuit[{number}]") from None


def stats(circuit: Circuit) -> tuple[int, int, int]:
    """Wires touched (without gates: all declared ones), gates on one wire, gates on two or more; ``nop`` is none."""
    touched: set[int] = set()
    single = wider = 0
    for gate in circuit.gates:
        targets, controls = gate.targets, gate.controls
        touched.update(targets)
        if controls:
            touched.update(controls)
            wider += 1
        elif len(targets) > 1:
            wider += 1
        elif gate.name != "nop":
            single += 1
    return len(touched) if circuit.gates else circuit.qubits, single, wider


def statevector_bytes(qubits: int) -> int:
    """Memory of one complex128 statevector."""
    return 16 << qubits

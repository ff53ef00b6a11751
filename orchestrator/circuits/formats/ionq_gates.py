"""Gate objects of the IonQ wire form (reference, section 7.1), in and out.

Each gate is decoded by itself into a `WireGate`, which checks its types, and turned into gates of the IR at once: a
large circuit is then never in memory twice, and no call holds the interpreter lock for longer than a gate. Indexes
are integers or integral floats; unknown members are ignored, and so are known members that the gate has no use for.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, TypeAlias, TypeVar

import msgspec

from orchestrator.circuits.gates import ALIASES, CONTROLLED_ALIASES, GATES, IDENTITY, GateType
from orchestrator.circuits.ir import Gate, GateSet
from orchestrator.circuits.validation import (
    MAX_GATES,
    MAX_QUBITS,
    check_gate,
    check_wires,
    fault,
    located,
    unknown_gate,
)
from orchestrator.errors import InvalidRequest

_T = TypeVar("_T")
Index: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=MAX_QUBITS)] | float


class WireGate(msgspec.Struct, gc=False):
    """A gate object as it came. Empty `terms` and `coefficients` are absent ones."""

    gate: str
    target: Index | None = None
    targets: list[Index] | None = None
    control: Index | None = None
    controls: list[Index] | None = None
    rotation: float | None = None
    phase: float | None = None
    phases: tuple[float, float] | None = None
    angle: float | None = None
    time: float | None = None
    # Kept as text until their length is known to be bearable: a list of short terms takes ten times its text.
    terms: msgspec.Raw = msgspec.Raw()
    coefficients: msgspec.Raw = msgspec.Raw()


_gate_decoder: Final = msgspec.json.Decoder(WireGate)
_terms_decoder: Final = msgspec.json.Decoder(list[str])
_coefficients_decoder: Final = msgspec.json.Decoder(list[float])

_MS_ANGLE: Final = 0.25
_P: Final = GATES["qis"]["p"]
#: ``id`` is checked like a gate and then left out.
_ID: Final = GateType(name=IDENTITY, gateset="qis", matrix=GATES["native"]["nop"].matrix)
_SPELLINGS: Final[dict[GateSet, dict[str, GateType]]] = {
    # ``p`` is a name of the IR only: on the wire it is ``z`` with a rotation.
    "qis": {name: row for name, row in GATES["qis"].items() if row is not _P}
    | {alias: GATES["qis"][name] for alias, name in ALIASES.items()}
    | {IDENTITY: _ID},
    "native": dict(GATES["native"]),
}
#: One tuple a wire, shared by all gates on it.
_WIRES: Final = tuple((wire,) for wire in range(MAX_QUBITS))


def read_gates(wire: list[msgspec.Raw], gateset: GateSet, declared: int | None) -> tuple[tuple[Gate, ...], int]:
    """Turn a circuit's gate objects into gates of the IR.

    `wire` is emptied on the way, so that a large circuit is in memory about once at any time.

    Returns:
        The gates, and the number of qubits: `declared`, else one more than the highest index (at least 1).

    Raises:
        InvalidRequest: With the member's name from the circuit on, such as ``circuit[3].target``.
    """
    gates: list[Gate] = []
    qubits = MAX_QUBITS if declared is None else declared
    highest = 0
    spellings = _SPELLINGS[gateset]
    number = len(wire)
    wire.reverse()
    while wire:
        try:
            item = _gate_decoder.decode(wire.pop())
        except msgspec.ValidationError as error:
            raise located(translated(error), f"circuit[{number - len(wire) - 1}]") from None
        try:
            row = spellings.get(item.gate)
            if row is None:
                raise unknown_gate(item.gate, gateset)
            targets = _wires("target", item.target, item.targets)
            controls = _wires("control", item.control, item.controls)
            if not controls and item.gate in CONTROLLED_ALIASES:
                raise fault("controls", f"{item.gate} needs a control", "missing_field")
            terms: tuple[str, ...] = ()
            params: tuple[float, ...] = ()
            if row.params:
                params, terms = _params(row, item)
            elif item.rotation is not None and item.gate == "z":
                row, params = _P, (item.rotation,)
            if len(targets) > 1 and row.targets == 1:
                check_wires(targets, controls, qubits)
                split = [Gate(row.name, _WIRES[target], controls, params) for target in targets]
            else:
                split = [Gate(row.name, targets, controls, params, terms)]
            check_gate(split[0], row, qubits)
        except InvalidRequest as error:
            raise located(_as_spelled(error, item), f"circuit[{number - len(wire) - 1}]") from None
        if declared is None:
            highest = max(highest, *targets, *controls)
        if row is not _ID:
            gates += split
    return tuple(gates), highest + 1 if declared is None else declared


def _wires(member: str, one: float | None, many: list[int | float] | None) -> tuple[int, ...]:
    if many is not None:
        if one is not None:
            raise fault(member, f"give {member} or {member}s, not both")
        if len(many) > MAX_QUBITS:  # refused here so that it is not copied first
            raise fault(f"{member}s", "the wires of a gate must all differ", "duplicate_index")
        if len(many) != 1:
            return tuple([wire if type(wire) is int else whole(wire, f"{member}s") for wire in many]) if many else ()
        one, member = many[0], f"{member}s"
    if one is None:
        return ()
    return _WIRES[one if type(one) is int else whole(one, member)]


def whole(value: float, member: str) -> int:
    """An index that was written as a float.

    Raises:
        InvalidRequest: It has a fraction, or no circuit can have it.
    """
    if not (value.is_integer() and 0 <= value < MAX_QUBITS):
        raise fault(member, f"must be a whole number below {MAX_QUBITS:,}", "wrong_type")
    return int(value)


def _as_spelled(error: InvalidRequest, item: WireGate) -> InvalidRequest:
    """The refusal with its member in the singular unless the request used the plural."""
    member = error.fields[0]
    if member == "targets" and item.targets is None:
        member = "target"
    elif member == "controls" and item.controls is None:
        member = "control"
    return fault(member, str(error), error.code)


def _params(row: GateType, item: WireGate) -> tuple[tuple[float, ...], tuple[str, ...]]:
    if row.gateset == "qis":
        if row.targets:
            return (_given(item.rotation, row, "rotation"),), ()
        return _pauliexp(item, row)
    if row.name == "ms":
        angle = _MS_ANGLE if item.angle is None else item.angle
        return (*_given(item.phases, row, "phases"), angle), ()
    if row.name != "zz":
        return (_given(item.phase, row, "phase"),), ()
    if item.angle is not None and item.phase is not None:
        raise fault("phase", "give angle or phase, not both")
    return (_given(item.phase if item.angle is None else item.angle, row, "angle"),), ()


def _pauliexp(item: WireGate, row: GateType) -> tuple[tuple[float, ...], tuple[str, ...]]:
    time = _given(item.time, row, "time")
    terms = _decoded(_terms_decoder, item.terms, row, "terms")
    return (time, *_decoded(_coefficients_decoder, item.coefficients, row, "coefficients")), tuple(terms)


def _given(value: _T | None, row: GateType, member: str) -> _T:
    if value is None:
        raise fault(member, f"{row.name} needs {member}", "missing_field")
    return value


def _decoded(decoder: msgspec.json.Decoder[list[_T]], raw: msgspec.Raw, row: GateType, member: str) -> list[_T]:
    text = bytes(raw)
    if not text:
        raise fault(member, f"{row.name} needs {member}", "missing_field")
    if text.count(b",") >= MAX_GATES:
        raise fault(member, f"at most {MAX_GATES:,} are allowed", "gates_out_of_range")
    try:
        return decoder.decode(text)
    except msgspec.ValidationError as error:
        raise located(translated(error), member) from None


def translated(error: msgspec.ValidationError) -> InvalidRequest:
    """What msgspec found wrong, as a refusal that names the member and repeats nothing of the request."""
    text, _, path = str(error).partition(" - at `$")
    member = path.rstrip("`").lstrip(".")
    if missing := re.fullmatch(r"Object missing required field `(\w+)`", text):
        return fault(f"{member}.{missing[1]}".lstrip("."), f"{missing[1]} is required", "missing_field")
    if text.startswith("Invalid enum value"):
        return fault(member, "unknown value")
    if "out of range" in text:
        return fault(member, "the number is out of range", "non_finite_number")
    if bound := re.fullmatch(r"Expected `int` (.+)", text):
        return fault(member, f"must be {bound[1]}", "index_out_of_range")
    return fault(
        member, text.replace(" | null", "").replace("int | float", "number").replace("`", "").lower(), "wrong_type"
    )


def write_gate(gate: Gate, gateset: GateSet) -> dict[str, Any]:
    """The gate object of one gate, in the spelling of v0.4."""
    name = gate.name
    if gate.name == "p":
        name = "z"
    elif gate.name == "x" and gate.controls:
        name = "cnot"
    wire: dict[str, Any] = {"gate": name}
    for member, wires in ("control", gate.controls), ("target", gate.targets):
        if len(wires) == 1:
            wire[member] = wires[0]
        elif wires:
            wire[f"{member}s"] = wires
    row = GATES[gateset][gate.name]
    if name == "pauliexp":
        wire |= {"terms": gate.terms, "coefficients": gate.params[1:], "time": gate.params[0]}
    elif name == "ms":
        wire |= {"phases": gate.params[:2], "angle": gate.params[2]}
    else:
        wire |= {param.member: value for param, value in zip(row.params, gate.params, strict=True)}
    return wire

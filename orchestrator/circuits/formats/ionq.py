"""The inputs ``ionq.circuit.v0`` and ``v1``, single and multi (reference, section 6), in and out.

An input is one of

* an object with ``circuit``: one circuit;
* an object with ``circuits``: several, for which ``gateset`` and ``qubits`` beside it are the defaults;
* a list of complete one-circuit objects: the multi-circuit form of the original v0.3 documentation.

Gate objects are the business of `ionq_gates`. Unknown members are ignored.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from orchestrator.circuits.formats.ionq_gates import Index, read_gates, translated, whole, write_gate
from orchestrator.circuits.ir import Circuit, GateSet
from orchestrator.circuits.validation import (
    check_qubits,
    check_registers,
    check_size,
    cost,
    fault,
    located,
)
from orchestrator.errors import InvalidRequest

FORMATS: Final = ("ionq.circuit.v0", "ionq.circuit.v1", "ionq.multi-circuit.v1")


class _Header(msgspec.Struct, kw_only=True):
    format: str | None = None
    gateset: GateSet | None = None
    qubits: int | float | None = None
    name: str | None = None
    registers: dict[str, list[Index | None]] | None = None


class _OneCircuit(_Header, kw_only=True):
    circuit: list[msgspec.Raw]


class _Input(_Header, kw_only=True):
    circuit: list[msgspec.Raw] | None = None
    circuits: list[_OneCircuit] | None = None


_decoder: Final = msgspec.json.Decoder(_Input | list[_OneCircuit])
#: A body shorter than this cannot hold enough to be worth counting before it is decoded.
_SMALL: Final = 1 << 20


def read_input(
    raw: bytes | msgspec.Raw, *, multi: bool | None = None, root: str = "input"
) -> tuple[list[Circuit], bool]:
    """Read and check the circuits of a job.

    Args:
        raw: JSON text of the input; its encoding has been checked.
        multi: Whether the job's type asks for several circuits or for one; None where the form decides (v0.3).
        root: What the input is called in the names of refused members (``body`` in v0.3's older form).

    Returns:
        The circuits in order, and whether the form is that of several.

    Raises:
        InvalidRequest: Anything section 2 of the reference answers with 400; names the member.
    """
    try:
        _refuse_flood(raw)
        document = _decoder.decode(raw)
        if isinstance(document, _Input):
            return _read_object(document, multi)
        if multi is not None:
            raise fault("", "expected an object", "wrong_type")
        return _read_many(document, "", _Header()), True
    except msgspec.ValidationError as error:
        raise located(translated(error), root) from None
    except msgspec.DecodeError:
        raise fault(root, "malformed JSON", "invalid_json") from None
    except InvalidRequest as error:
        raise located(error, root) from None


def _refuse_flood(raw: bytes | msgspec.Raw) -> None:
    """Refuse far too many gates or circuits without building them; the exact count follows the decoding."""
    if memoryview(raw).nbytes > _SMALL:
        text = bytes(raw)
        check_size(text.count(b'"circuit"') // 2 or 1, text.count(b'"gate"') // 2)


def _read_object(document: _Input, multi: bool | None) -> tuple[list[Circuit], bool]:
    _check_format(document)
    one, many = document.circuit, document.circuits
    if one is not None and many is not None:
        raise fault("circuit", "give circuit or circuits, not both")
    if many is not None and multi is not False:
        return _read_many(many, "circuits", document), True
    if one is None or multi:
        member = "circuits" if multi else "circuit"
        raise fault(member, f"{member} is required", "missing_field")
    _check_size("circuit", 1, len(one))
    circuit = _read_one(document, one, document)
    _check_size("circuit", 1, cost(circuit.gates))
    return [circuit], False


def _read_many(documents: list[_OneCircuit], member: str, defaults: _Header) -> list[Circuit]:
    _check_size(member, len(documents), sum(len(document.circuit) for document in documents))
    if defaults.qubits is not None:
        _qubits(defaults.qubits)
    circuits = []
    for number, document in enumerate(documents):
        try:
            _check_format(document)
            circuits.append(_read_one(document, document.circuit, defaults))
        except InvalidRequest as error:
            raise located(error, f"{member}[{number}]") from None
    _check_size(member, len(circuits), sum(cost(circuit.gates) for circuit in circuits))
    return circuits


def _read_one(document: _Header, wire: list[msgspec.Raw], defaults: _Header) -> Circuit:
    gateset = document.gateset or defaults.gateset or "qis"
    declared = defaults.qubits if document.qubits is None else document.qubits
    gates, qubits = read_gates(wire, gateset, None if declared is None else _qubits(declared))
    circuit = Circuit(
        qubits=qubits,
        gates=gates,
        gateset=gateset,
        name=document.name,
        registers=_registers(document.registers) if document.registers else None,
    )
    check_registers(circuit)
    return circuit


def _qubits(declared: float) -> int:
    if isinstance(declared, float) and not declared.is_integer():
        raise fault("qubits", "must be a whole number", "wrong_type")
    qubits = int(declared)
    check_qubits(qubits)
    return qubits


def _registers(wire: dict[str, list[int | float | None]]) -> dict[str, list[int | None]]:
    return {
        name: [bit if bit is None or isinstance(bit, int) else whole(bit, "registers") for bit in bits]
        for name, bits in wire.items()
    }


def _check_format(document: _Header) -> None:
    if document.format is not None and document.format not in FORMATS:
        raise fault("format", f"this format is not run here; known: {', '.join(FORMATS)}", "unknown_format")


def _check_size(member: str, circuits: int, gates: int) -> None:
    try:
        check_size(circuits, gates)
    except InvalidRequest as error:
        raise located(error, member) from None


def write_circuit(circuit: Circuit) -> dict[str, Any]:
    """The circuit as the input of an ``ionq.circuit.v1`` job, ready for any JSON encoder."""
    document: dict[str, Any] = {"gateset": circuit.gateset, "qubits": circuit.qubits}
    if circuit.name is not None:
        document["name"] = circuit.name
    if circuit.registers is not None:
        document["registers"] = circuit.registers
    document["circuit"] = [write_gate(gate, circuit.gateset) for gate in circuit.gates]
    return document


def write_native(circuit: Circuit) -> dict[str, Any]:
    """A compiled circuit as an ``ionq.native.v1`` artifact (reference, section 8)."""
    return {"qubits": circuit.qubits, "circuit": [write_gate(gate, "native") for gate in circuit.gates]}

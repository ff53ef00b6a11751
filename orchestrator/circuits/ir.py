"""The circuit IR: what every format is read into and every engine runs.

Conventions (reference, sections 7 and 8)
-----------------------------------------
* Qubit k is bit k of an outcome; qubit 0 is the least significant.
* In a circuit of gate set ``qis`` angles are in **radians**, in ``native`` they are in **turns**.
* Names are canonical: ``x y z h s si t ti v vi rx ry rz p swap xx yy zz pauliexp`` (qis) and
  ``gpi gpi2 ms zz nop`` (native). ``not``, ``cnot`` and ``cx`` are ``x`` (with controls); ``z`` with
  a rotation is ``p`` = diag(1, e^{i lambda}). Aliases are resolved where a format is read.
* A one-qubit gate with several targets has been split into one gate per target.

Encoded by `dumps` the IR is compact JSON (gates as arrays); that is also how inputs are stored.
"""

from __future__ import annotations

from typing import Literal

import msgspec

GateSet = Literal["qis", "native"]


class Gate(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One gate.

    Attributes:
        name: Canonical name: one of `orchestrator.circuits.gates.GATES`, no alias.
        targets: Wires acted on, in the gate's own order (``targets[0]`` is the more significant
            letter of the two-qubit matrices, and the rightmost letter of a Pauli string).
        controls: Wires that must all be 1 (qis only).
        params: ``rx ry rz p xx yy zz``: (angle,); ``gpi gpi2``: (phase,); ``ms``: (phase0, phase1, angle);
            native ``zz``: (angle,); ``pauliexp``: (time, coefficient of each term...).
        terms: Pauli strings of ``pauliexp``.
    """

    name: str
    targets: tuple[int, ...]
    controls: tuple[int, ...] = ()
    params: tuple[float, ...] = ()
    terms: tuple[str, ...] = ()

    @property
    def wires(self) -> tuple[int, ...]:
        """Every wire the gate touches: controls, then targets."""
        return self.controls + self.targets


class Circuit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One circuit. All wires are measured at its end.

    Attributes:
        qubits: Declared number of wires; idle ones read 0.
        gates: In the order they are applied.
        gateset: ``qis`` (angles in radians) or ``native`` (in turns).
        name: What the submitter called it.
        registers: Named classical registers: name -> qubit per bit, None for an unused bit.
    """

    qubits: int
    gates: tuple[Gate, ...] = ()
    gateset: GateSet = "qis"
    name: str | None = None
    registers: dict[str, list[int | None]] | None = None

    @property
    def active(self) -> tuple[int, ...]:
        """The wires that gates touch, ascending."""
        touched: set[int] = set()
        for gate in self.gates:
            touched.update(gate.targets)
            touched.update(gate.controls)
        return tuple(sorted(touched))

    @property
    def width(self) -> int:
        """Wires that gates touch, or the declared number if there are no gates."""
        return len(self.active) if self.gates else self.qubits


def compact(circuit: Circuit) -> tuple[Circuit, tuple[int, ...]]:
    """The circuit on its active wires only, and which wire each of them was.

    Wire i of the answer was ``wires[i]``; order is kept, so bit i of its outcomes is bit
    ``wires[i]`` of the original's. A circuit without gates keeps no wires.
    """
    wires = circuit.active
    if wires == tuple(range(circuit.qubits)):
        return circuit, wires
    place = {wire: index for index, wire in enumerate(wires)}
    gates = tuple(
        msgspec.structs.replace(
            gate,
            targets=tuple(place[wire] for wire in gate.targets),
            controls=tuple(place[wire] for wire in gate.controls),
        )
        for gate in circuit.gates
    )
    return msgspec.structs.replace(circuit, qubits=len(wires), gates=gates), wires


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Circuit)


def dumps(circuit: Circuit) -> bytes:
    """The circuit as compact JSON."""
    return _encoder.encode(circuit)


def loads(body: bytes) -> Circuit:
    """The circuit that `dumps` wrote.

    Raises:
        msgspec.DecodeError: The body is not such a circuit.
    """
    return _decoder.decode(body)

"""Compilation of QIS circuits to native gates: GPi, GPi2, virtual Z, and MS (Aria class) or ZZ (Forte class).

Theory of operation
-------------------
Each wire carries a *pending* 2x2 matrix: what has been asked of it and not been done by a pulse. One-qubit gates are
multiplied into it and cost nothing. Before an entangling gate the pending matrix M is split as M = Rz(a) K, where
the pulses K (at most two GPi2, or one GPi) are emitted and the rotation Rz(a) stays pending: it commutes with ZZ, and
MS takes it into its phases. So a Z rotation is never a pulse, only a change of later phases (D. McKay et al.,
"Efficient Z gates for quantum computing", Phys. Rev. A 96, 022330 (2017), from whose equation 3 the two-pulse form
comes). What is pending at the end is the *frame*; measurement does not see it.

Every two-qubit gate is brought to interactions exp(-i theta P Q / 2) of Paulis P, Q on the pair between one-qubit
gates: one for a controlled gate, three for ``swap``. An interaction of |theta| > pi/2 differs from one within by the
Paulis themselves, so that every entangling gate stays within a quarter turn.

Global phases are dropped. Phases of native gates are in turns.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterator
from typing import Final, Literal, TypeAlias

import msgspec

from orchestrator.circuits.decompose import H_TILT, PHASES, ROTATIONS, to_two_qubit
from orchestrator.circuits.gates import matrix
from orchestrator.circuits.ir import Circuit, Gate

Entangler: TypeAlias = Literal["ms", "zz"]

_Matrix: TypeAlias = tuple[complex, complex, complex, complex]
_Interaction: TypeAlias = tuple[str, str, float]

_TURN: Final = 2 * math.pi
#: Rotations by less (radians) are rounding noise of exact cancellations.
_NOTHING: Final = 1e-12
_IDENTITY: Final[_Matrix] = (1 + 0j, 0j, 0j, 1 + 0j)


def _flat(name: str, *params: float) -> _Matrix:
    (a, b), (c, d) = matrix(Gate(name, (0,), params=params), "qis")
    return a, b, c, d


_PAULI: Final = {letter: _flat(letter.lower()) for letter in "XYZ"}
#: Entangler -> Pauli -> (the phase it acts with, before, after): what turns the entangler's axis into that Pauli.
_MS_AXES: Final = {
    "X": (0.0, None, None),
    "Y": (0.25, None, None),
    "Z": (0.0, _flat("ry", math.pi / 2), _flat("ry", -math.pi / 2)),
}
_ZZ_AXES: Final = {
    "X": (0.0, _flat("ry", -math.pi / 2), _flat("ry", math.pi / 2)),
    "Y": (0.0, _flat("rx", math.pi / 2), _flat("rx", -math.pi / 2)),
    "Z": (0.0, None, None),
}


class Native(msgspec.Struct, frozen=True, kw_only=True):
    """A compiled circuit.

    Attributes:
        circuit: Of gate set ``native``, as wide as the original. It measures like the original.
        frame_turns: The rotation about Z each wire still owes: the original is Rz(2 pi frame) on each wire after
            `circuit`, up to a global phase.
    """

    circuit: Circuit
    frame_turns: tuple[float, ...]


def to_native(circuit: Circuit, entangler: Entangler, *, opt: int = 1) -> Native:
    """Compile to native gates; a native circuit passes unchanged, as it must run as written.

    Args:
        circuit: Any valid circuit.
        entangler: The two-qubit gate of the target.
        opt: 0 emits the pulses of each gate; from 1 on neighbouring one-qubit gates of a wire become one.
    """
    if circuit.gateset == "native":
        return Native(circuit=circuit, frame_turns=(0.0,) * circuit.qubits)
    compiler = _Compiler(entangler)
    for gate in to_two_qubit(circuit).gates:
        if gate.controls or len(gate.targets) == 2:
            compiler.pair(gate)
        else:
            compiler.turn(gate.targets[0], _flat(gate.name, *gate.params))
            if opt < 1:
                compiler.flush(gate.targets[0])
    frames = compiler.finish()
    compiled = msgspec.structs.replace(circuit, gates=tuple(compiler.gates), gateset="native")
    return Native(circuit=compiled, frame_turns=tuple(frames.get(wire, 0.0) for wire in range(circuit.qubits)))


class _Compiler:
    def __init__(self, entangler: Entangler) -> None:
        self.gates: list[Gate] = []
        self._entangler = entangler
        self._axes = _MS_AXES if entangler == "ms" else _ZZ_AXES
        self._pending: dict[int, _Matrix] = {}

    def turn(self, wire: int, by: _Matrix | None) -> None:
        """Multiply a one-qubit gate into what is pending."""
        if by is not None:
            a, b, c, d = self._pending.get(wire, _IDENTITY)
            e, f, g, h = by
            self._pending[wire] = (e * a + f * c, e * b + f * d, g * a + h * c, g * b + h * d)

    def flush(self, wire: int) -> float:
        """Emit the pulses of what is pending but for a Z rotation; its angle, radians."""
        pending = self._pending.get(wire)
        if pending is None:
            return 0.0
        pulses, angle = _pulses(pending)
        self.gates += (Gate(name, (wire,), params=(_phase(phase),)) for name, phase in pulses)
        self._pending[wire] = (cmath.rect(1, -angle / 2), 0j, 0j, cmath.rect(1, angle / 2))
        return angle

    def finish(self) -> dict[int, float]:
        """Flush every wire; the frame of each, turns."""
        return {wire: _phase(self.flush(wire) / _TURN) for wire in self._pending}

    def pair(self, gate: Gate) -> None:
        """Do a gate on two wires."""
        first, second = gate.wires
        tilt = gate.controls and gate.name == "h"
        if tilt:
            self.turn(second, _flat("ry", -H_TILT))
        for p, q, theta in self._interactions(gate):
            self._interact((first, p), (second, q), theta)
        if tilt:
            self.turn(second, _flat("ry", H_TILT))

    def _interactions(self, gate: Gate) -> Iterator[_Interaction]:
        """The gate as interactions; one-qubit parts, which commute with them, are done on the way."""
        name = gate.name
        if name == "swap":
            yield from (("X", "X", math.pi / 2), ("Y", "Y", math.pi / 2), ("Z", "Z", math.pi / 2))
        elif not gate.controls:
            yield ROTATIONS[name], ROTATIONS[name], gate.params[0]
        elif name in ROTATIONS:
            # exp(-i theta P/2) under a control is exp(-i theta P/4) exp(i theta ZP/4).
            theta = gate.params[0]
            self.turn(gate.targets[0], _flat(name, theta / 2))
            yield "Z", ROTATIONS[name], -theta / 2
        else:
            # exp(i lambda (1-Z)(1-P)/4) = phase exp(-i lambda Z/4) exp(-i lambda P/4) exp(i lambda ZP/4)
            letter, angle = ("Z", gate.params[0]) if name == "p" else PHASES["z" if name == "h" else name]
            self.turn(gate.controls[0], _flat("rz", angle / 2))
            self.turn(gate.targets[0], _flat(f"r{letter.lower()}", angle / 2))
            yield "Z", letter, -angle / 2

    def _interact(self, one: tuple[int, str], other: tuple[int, str], theta: float) -> None:
        """exp(-i theta P Q / 2)."""
        theta = 2 * math.atan2(math.sin(theta / 2), math.cos(theta / 2))  # exact for any size, unlike a remainder
        half_turns = round(theta / math.pi)
        if half_turns % 2:
            for wire, letter in one, other:
                self.turn(wire, _PAULI[letter])
        theta -= half_turns * math.pi
        if abs(theta) < _NOTHING:
            return
        phases = []
        for wire, letter in one, other:
            phase, before, _ = self._axes[letter]
            self.turn(wire, before)
            phases.append(phase - self.flush(wire) / _TURN)
        wires = (one[0], other[0])
        if self._entangler == "zz":
            self.gates.append(Gate("zz", wires, params=(theta / _TURN,)))
        else:
            # A gpi half a turn on is its negative, so it takes the sign of the angle.
            first = phases[0] + (0.5 if theta < 0 else 0.0)
            self.gates.append(
                Gate("ms", wires, params=(_phase(first), _phase(phases[1]), min(abs(theta) / _TURN, 0.25)))
            )
        for wire, letter in one, other:
            self.turn(wire, self._axes[letter][2])


def _pulses(pending: _Matrix) -> tuple[list[tuple[str, float]], float]:
    """Pulses (name, phase in turns) and the angle (radians) of the Z rotation after them that make up a unitary.

    With the unitary as Rz(alpha) Ry(theta) Rz(lambda), by how far it tips the Z axis: none, one or two GPi2 or one GPi.
    """
    a, b, c, d = pending
    root = cmath.sqrt(a * d - b * c)
    theta = 2 * math.atan2(abs(c), abs(d))
    half_sum = cmath.phase(d / root) if abs(d) > _NOTHING else 0.0
    half_difference = cmath.phase(c / root) if abs(c) > _NOTHING else 0.0
    alpha, lam = half_sum + half_difference, half_sum - half_difference
    if theta < _NOTHING:
        return [], alpha + lam
    if math.pi - theta < _NOTHING:
        return [("gpi", 0.25 + (alpha - lam) / (2 * _TURN))], 0.0
    if abs(theta - math.pi / 2) < _NOTHING:
        return [("gpi2", 0.25 - lam / _TURN)], alpha + lam
    first = -lam / _TURN
    return [("gpi2", first), ("gpi2", first - (theta + math.pi) / _TURN)], alpha + lam + theta + 2 * math.pi


def _phase(turns: float) -> float:
    """The same phase within half a turn; rounded so that people read 0.25, not 0.25000000000000006."""
    return round(math.remainder(turns, 1), 15) + 0.0

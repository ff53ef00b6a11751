"""Wide gates as gates on one and two wires, without extra wires.

What stays as it is: gates on one wire, one-qubit gates with one control, ``swap``, ``xx``, ``yy`` and ``zz``. The rest
is expanded by the constructions of A. Barenco et al., "Elementary gates for quantum computation",
Phys. Rev. A 52, 3457 (1995), cited as lemmas below, and Pauli exponentials by the usual ladder of ``cnot`` (Nielsen
and Chuang, section 4.7.3). The result is equal to the original up to a global phase.

A wire that a gate does not touch may be *borrowed*: it holds anything and is given back unchanged. Only wires that the
circuit uses anyway are borrowed, idle ones stay idle.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

import msgspec

from orchestrator.circuits.gates import pauli_factors
from orchestrator.circuits.ir import Circuit, Gate

#: Gate -> (letter, lambda): the gate is exp(i lambda (1 - P) / 2), the phase lambda on the -1 state of that Pauli.
PHASES: Final = {
    "x": ("X", math.pi),
    "y": ("Y", math.pi),
    "z": ("Z", math.pi),
    "s": ("Z", math.pi / 2),
    "si": ("Z", -math.pi / 2),
    "t": ("Z", math.pi / 4),
    "ti": ("Z", -math.pi / 4),
    "v": ("X", math.pi / 2),
    "vi": ("X", -math.pi / 2),
}
#: Gate -> letter: the gate is exp(-i theta P / 2) with P on each target.
ROTATIONS: Final = {"rx": "X", "ry": "Y", "rz": "Z", "xx": "X", "yy": "Y", "zz": "Z"}
#: Letter -> (before, after): gates between which a Z acts as that Pauli.
_BASES: Final = {"X": ("h", "h"), "Y": ("v", "vi")}
#: ``h`` is ``z`` between ry(-pi/4) and ry(pi/4).
H_TILT: Final = math.pi / 4

#: Numbers of controls up to which lemma 7.1 (exponential) takes fewer gates than what is used beyond.
_GRAY_PHASE: Final = 7
_GRAY_X: Final = 4


def to_two_qubit(circuit: Circuit) -> Circuit:
    """The circuit with every gate on at most two wires; native circuits have no others.

    Without borrowed wires a gate with n controls becomes O(n**2) gates, else O(n).
    """
    if circuit.gateset == "native":
        return circuit
    gates: list[Gate] = []
    active: tuple[int, ...] | None = None
    for gate in circuit.gates:
        if len(gate.targets) + len(gate.controls) <= 2 and gate.name != "pauliexp":
            gates.append(gate)
        else:
            active = circuit.active if active is None else active
            gates += _expand(gate, tuple(wire for wire in active if wire not in gate.wires))
    return msgspec.structs.replace(circuit, gates=tuple(gates))


def _expand(gate: Gate, spare: tuple[int, ...]) -> Iterator[Gate]:
    targets, controls = gate.targets, gate.controls
    if gate.name == "pauliexp":
        for angle, letters in pauli_factors(gate):
            yield from _pauli(2 * angle, letters, controls)
    elif gate.name == "swap":
        yield _cx(targets[1], targets[0])
        yield from _controlled_x((*controls, targets[0]), targets[1], spare)
        yield _cx(targets[1], targets[0])
    elif len(targets) == 2:
        letter = ROTATIONS[gate.name]
        yield from _pauli(gate.params[0], [(letter, wire) for wire in targets], controls)
    elif gate.name in ROTATIONS or gate.name == "p":
        yield from _controlled_turn(gate.name, gate.params[0], controls, targets[0])
    elif gate.name == "x":
        yield from _controlled_x(controls, targets[0], spare)
    elif gate.name == "h":
        yield Gate("ry", targets, params=(-H_TILT,))
        yield from _controlled_turn("p", math.pi, controls, targets[0])
        yield Gate("ry", targets, params=(H_TILT,))
    else:
        letter, angle = PHASES[gate.name]
        yield from _basis([(letter, targets[0])], 0)
        yield from _controlled_turn("p", angle, controls, targets[0])
        yield from _basis([(letter, targets[0])], 1)


def _pauli(theta: float, letters: Sequence[tuple[str, int]], controls: tuple[int, ...]) -> Iterator[Gate]:
    """exp(-i theta P / 2) for a string of Paulis on distinct wires, under controls."""
    if not letters:  # a phase: global without controls, else a phase of the controls
        if controls:
            yield from _controlled_turn("p", -theta / 2, controls[:-1], controls[-1])
        return
    if len(letters) == 1 and not controls:
        letter, wire = letters[0]
        yield Gate(f"r{letter.lower()}", (wire,), params=(theta,))
        return
    if len(letters) == 2 and not controls and letters[0][0] == letters[1][0]:
        (letter, first), (_, second) = letters
        yield Gate(2 * letter.lower(), (first, second), params=(theta,))
        return
    wires = [wire for _, wire in letters]
    # The parity is gathered on the last wire, or (uncontrolled) on the last but one, where a zz saves two cnots.
    ladder = list(pairwise(wires if controls else wires[:-1]))
    yield from _basis(letters, 0)
    yield from (_cx(control, target) for control, target in ladder)
    if controls:
        yield from _controlled_turn("rz", theta, controls, wires[-1])
    else:
        yield Gate("zz", (wires[-2], wires[-1]), params=(theta,))
    yield from (_cx(control, target) for control, target in reversed(ladder))
    yield from _basis(letters, 1)


def _controlled_turn(name: str, angle: float, controls: tuple[int, ...], target: int) -> Iterator[Gate]:
    """``p``, ``rx``, ``ry`` or ``rz`` under any number of controls: the gates whose roots are smaller angles."""
    number = len(controls)
    if number <= 1:
        yield Gate(name, (target,), controls, (angle,))
        return
    if number <= _GRAY_PHASE:
        yield from _gray(name, angle / 2 ** (number - 1), controls, target)
        return
    # Lemma 7.5, with the square root; the target is borrowed for the controlled x.
    rest, last = controls[:-1], controls[-1]
    yield Gate(name, (target,), (last,), (angle / 2,))
    yield from _controlled_x(rest, last, (target,))
    yield Gate(name, (target,), (last,), (-angle / 2,))
    yield from _controlled_x(rest, last, (target,))
    yield from _controlled_turn(name, angle / 2, rest, target)


def _gray(name: str, angle: float, controls: tuple[int, ...], target: int) -> Iterator[Gate]:
    """Lemma 7.1: each parity of controls in Gray code order, added for odd subsets and subtracted for even ones.

    The product of bits is the alternating sum of their parities over 2**(n-1). The subsets whose last
    member is control ``place`` have their parity built on its own wire.
    """
    for place, holder in enumerate(controls):
        yield Gate(name, (target,), (holder,), (angle,))
        for count in range(1, 2**place):
            flipped = (count & -count).bit_length() - 1
            yield _cx(controls[flipped], holder)
            # One more member than the bits of the count's Gray code, of which count tells the parity.
            yield Gate(name, (target,), (holder,), (-angle if count & 1 else angle,))
        if place:
            yield _cx(controls[place - 1], holder)


def _controlled_x(controls: tuple[int, ...], target: int, spare: tuple[int, ...]) -> Iterator[Gate]:
    """``x`` under any number of controls; `spare` wires may be borrowed."""
    number = len(controls)
    if number == 1:
        yield _cx(controls[0], target)
    elif number <= _GRAY_X or not spare:
        yield Gate("h", (target,))
        yield from _controlled_turn("p", math.pi, controls, target)
        yield Gate("h", (target,))
    elif len(spare) >= number - 2 and number > _GRAY_X + 1:
        yield from _toffoli_chain(controls, target, spare[: number - 2])
    else:
        # Lemma 7.3: one borrowed wire; each half borrows from the other.
        half = (number + 1) // 2
        borrowed = spare[0]
        first, second = controls[:half], (*controls[half:], borrowed)
        for _ in range(2):
            yield from _controlled_x(first, borrowed, (*controls[half:], target))
            yield from _controlled_x(second, target, first)


def _toffoli_chain(controls: tuple[int, ...], target: int, borrowed: tuple[int, ...]) -> Iterator[Gate]:
    """Lemma 7.2: n controls, n - 2 borrowed wires, 4 (n - 2) Toffoli gates."""
    links = list(zip(controls[:1:-1], borrowed[::-1], (target, *borrowed[:0:-1]), strict=True))
    links.append((controls[0], controls[1], borrowed[0]))
    for down in links, links[1:]:
        for one, other, wire in [*down, *down[-2::-1]]:
            yield from _controlled_x((one, other), wire, ())


def _basis(letters: Sequence[tuple[str, int]], side: int) -> Iterator[Gate]:
    return (Gate(_BASES[letter][side], (wire,)) for letter, wire in letters if letter != "Z")


def _cx(control: int, target: int) -> Gate:
    return Gate("x", (target,), (control,))

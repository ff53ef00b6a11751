"""One exact simulator, and the mistakes in its table of gates that people make: `WRONG` names them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import msgspec

from orchestrator.backends.abc import Attempt
from orchestrator.circuits import ir
from orchestrator.circuits.gates import GATES
from orchestrator.circuits.ir import Gate
from orchestrator.errors import UserFault
from tests.conformance.adapters.sound import Sound

Mistake = Callable[[Gate], tuple[Gate, ...]]

_ROTATIONS: Final = ("rx", "ry", "rz", "p", "xx", "yy", "zz")


def _named(gate: Gate, **others: str) -> tuple[Gate, ...]:
    return (msgspec.structs.replace(gate, name=others.get(gate.name, gate.name)),)


def _as(**others: str) -> Mistake:
    """These qis gates are run as those."""
    return lambda gate: _named(gate, **others)


def _times(factor: float, *names: str) -> Mistake:
    """The angles of these gates are off by a factor."""

    def change(gate: Gate) -> tuple[Gate, ...]:
        if gate.name not in names:
            return (gate,)
        return (msgspec.structs.replace(gate, params=tuple(factor * each for each in gate.params)),)

    return change


def _without(*names: str) -> Mistake:
    """These gates are passed over, where they had to be run or refused."""
    return lambda gate: () if gate.name in names else (gate,)


def _uncontrolled(gate: Gate) -> tuple[Gate, ...]:
    """Controls but of x are passed over."""
    return (gate if gate.name == "x" else msgspec.structs.replace(gate, controls=()),)


def _reversed(gate: Gate) -> tuple[Gate, ...]:
    """Letters of Pauli strings are read from the left."""
    return (msgspec.structs.replace(gate, terms=tuple(each[::-1] for each in gate.terms)),)


def _phase_for_rz(gate: Gate) -> tuple[Gate, ...]:
    """Equal but for a phase, which shows under controls."""
    return _named(gate, rz="p")


#: What is wrong -> how, and the gates of which one has to be named.
WRONG: Final[dict[str, tuple[Mistake, set[str]]]] = {
    "v and vi swapped": (_as(v="vi", vi="v"), {"v", "vi"}),
    "s and si swapped": (_as(s="si", si="s"), {"s", "si"}),
    "t is ti": (_as(t="ti"), {"t"}),
    "t is s": (_as(t="s"), {"t"}),
    "vi is v": (_as(vi="v"), {"vi"}),
    "yy is xx": (_as(yy="xx"), {"yy"}),
    "y is x": (_as(y="x"), {"y"}),
    "rz is p": (_phase_for_rz, {"rz"}),
    "the sign of rotations": (_times(-1.0, *_ROTATIONS), set(_ROTATIONS)),
    **{f"the sign of {name}": (_times(-1.0, name), {name}) for name in _ROTATIONS},
    **{f"{name} doubled": (_times(2.0, name), {name}) for name in ("xx", "yy", "zz", "rx")},
    "rx in degrees": (_times(math.pi / 180, "rx"), {"rx"}),
    **{f"no {name}": (_without(name), {name}) for name in ("z", "vi", "zz", "swap", "pauliexp", "p")},
    "no controls": (_uncontrolled, set(GATES["qis"]) - {"x"}),
    "pauliexp reversed": (_reversed, {"pauliexp"}),
    "pauliexp by half more": (_times(1.5, "pauliexp"), {"pauliexp"}),
}


def mistaken(mistake: Mistake, **declared: Any) -> type[Sound]:
    """A simulator that makes that mistake in qis circuits; right ones are its base's."""

    class Mistaken(Sound):
        def circuit(self, attempt: Attempt) -> ir.Circuit:
            circuit = attempt.circuit
            if circuit.gateset == "native":
                return circuit
            gates = tuple(each for gate in circuit.gates for each in mistake(gate))
            return msgspec.structs.replace(circuit, gates=gates)

    Mistaken.declared = declared
    return Mistaken


def refusing(*names: str, code: str = "UnsupportedGate", **declared: Any) -> type[Sound]:
    """A simulator that does not have these gates, and says so."""

    def refuse(gate: Gate) -> tuple[Gate, ...]:
        if gate.name in names:
            raise UserFault(f"no {gate.name}", code)
        return (gate,)

    return mistaken(refuse, **declared)

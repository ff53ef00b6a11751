"""Circuits whose outcomes everybody can work out, and how far a result may be from them.

Outcomes follow the conventions of `orchestrator.circuits.ir`: qubit k is bit k, angles of ``qis`` gates are in radians
and those of ``native`` gates in turns. Each circuit is one that a common mistake reads differently: bits reversed, idle
wires dropped, control and target swapped, degrees for radians, radians for turns.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from orchestrator.backends.abc import Capabilities
from orchestrator.circuits.ir import Circuit, Gate
from orchestrator.circuits.native import to_native
from orchestrator.histogram import label
from orchestrator.model import Result

#: Tolerance of exact probabilities.
EXACT: Final = 1e-6
#: Counts may be so far from their mean that chance goes beyond in one of so many cases; there are thousands in a run.
_CHANCE: Final = math.log(2e11)
#: What is less probable cannot happen.
_IMPOSSIBLE: Final = 1e-12
#: What is known has to be so far from all outcomes alike for noise to leave something of it.
_TELLING: Final = 0.4
#: Outcomes to name, the most probable ones.
_SHOWN: Final = 4
#: Circuits are of so many qubits at most.
_WIDEST: Final = 5
#: Names under which ``supported_gates`` may list a gate of the IR.
_LISTED: Final = {"x": {"x", "not", "cnot", "cx"}}


@dataclass(frozen=True)
class Known:
    """A circuit, what it does in words, and the probabilities of its outcomes."""

    what: str
    circuit: Circuit
    expected: Mapping[int, float]


def x(wire: int, *controls: int) -> Gate:
    """X on a wire, under controls."""
    return Gate("x", (wire,), controls)


def bit_order(backend: Capabilities) -> Iterator[Known]:
    """One qubit of several is 1, every one in turn, with idle ones below and above."""
    width = min(backend.qubits, _WIDEST)
    for gateset in [each for each in ("qis", "native") if each in backend.gatesets]:
        flip = "gpi" if gateset == "native" else "x"
        for wire in (*range(width), width, width + 2):
            qubits = max(width, wire + 1) + (wire >= width)
            gate = Gate("gpi", (wire,), params=(0.0,)) if gateset == "native" else x(wire)
            circuit = Circuit(qubits=qubits, gates=(gate,), gateset=gateset)
            if runs(backend, circuit):
                yield Known(f"{flip} on qubit {wire} of {qubits}", circuit, {1 << wire: 1.0})


def gates(backend: Capabilities) -> Iterator[Known]:
    """Gates whose wires have roles, and angles in their units."""
    turn, half, third = (0.5,), math.pi, math.pi / 3
    known = [
        Known("rx by pi", _qis(1, Gate("rx", (0,), params=(half,))), {1: 1.0}),
        Known("ry by pi/3", _qis(1, Gate("ry", (0,), params=(third,))), {0: 0.75, 1: 0.25}),
        Known("h, then s, s, h", _qis(1, *(Gate(name, (0,)) for name in "hssh")), {1: 1.0}),
        Known("cnot, its control 1", _qis(2, x(0), x(1, 0)), {3: 1.0}),
        Known("cnot, its control 0", _qis(2, x(1), x(1, 0)), {2: 1.0}),
        Known("cnot upwards", _qis(2, x(1), x(0, 1)), {3: 1.0}),
        Known("cnot over an idle wire", _qis(3, x(2), x(0, 2)), {5: 1.0}),
        Known("swap", _qis(2, x(0), Gate("swap", (0, 1))), {2: 1.0}),
        Known("x under two controls", _qis(3, x(0), x(2), x(1, 0, 2)), {7: 1.0}),
        Known("x under two controls, one of them 0", _qis(3, x(0), x(1, 0, 2)), {1: 1.0}),
        Known("gpi2 twice", _native(1, _gpi2(0.0), _gpi2(0.0)), {1: 1.0}),
        Known("gpi2, then gpi2 half a turn on", _native(1, _gpi2(0.0), _gpi2(0.5)), {0: 1.0}),
        Known("gpi2, then gpi2 a quarter turn on", _native(1, _gpi2(0.0), _gpi2(0.25)), {0: 0.5, 1: 0.5}),
        Known("ms twice", _native(2, *[Gate("ms", (0, 1), params=(0.0, 0.0, 0.25))] * 2), {3: 1.0}),
        Known(
            "gpi2, zz by half a turn, gpi2",
            _native(2, _gpi2(0.0), Gate("zz", (0, 1), params=turn), _gpi2(0.0)),
            {0: 1.0},
        ),
    ]
    return (each for each in known if runs(backend, each.circuit))


def entangled(backend: Capabilities) -> Iterator[Known]:
    """A Bell pair and a GHZ state in every gate set: all qubits agree."""
    for qubits in {min(2, backend.qubits), min(3, backend.qubits)} - {1}:
        name = "a Bell pair" if qubits == 2 else f"a GHZ state of {qubits} qubits"
        circuit = _qis(qubits, Gate("h", (0,)), *(x(wire, wire - 1) for wire in range(1, qubits)))
        for each in (circuit, *(to_native(circuit, entangler).circuit for entangler in ("ms", "zz"))):
            if runs(backend, each):
                kind = each.gateset if each is circuit else f"native with {_entangler(each)}"
                yield Known(f"{name} ({kind})", each, {0: 0.5, (1 << qubits) - 1: 0.5})


def spread(backend: Capabilities) -> Circuit:
    """A circuit that measures at random."""
    qubits = min(backend.qubits, 3)
    if "qis" in backend.gatesets:
        return _qis(qubits, *(Gate("h", (wire,)) for wire in range(qubits)))
    return _native(qubits, *(Gate("gpi2", (wire,), params=(0.0,)) for wire in range(qubits)))


def runs(backend: Capabilities, circuit: Circuit) -> bool:
    """Whether a backend declares all that a circuit needs."""
    if circuit.gateset not in backend.gatesets or circuit.width > backend.qubits:
        return False
    names = {gate.name for gate in circuit.gates}
    if circuit.gateset == "native":
        return names <= set(backend.native_gates)
    listed = set(backend.gates)
    return not listed or all(_LISTED.get(name, {name}) & listed for name in names)


def _qis(qubits: int, *gates: Gate) -> Circuit:
    return Circuit(qubits=qubits, gates=gates)


def _native(qubits: int, *gates: Gate) -> Circuit:
    return Circuit(qubits=qubits, gates=gates, gateset="native")


def _gpi2(phase_turns: float) -> Gate:
    return Gate("gpi2", (0,), params=(phase_turns,))


def _entangler(circuit: Circuit) -> str:
    return next(gate.name for gate in circuit.gates if len(gate.targets) == 2)


# -- comparing ------------------------------------------------------------------------------


def departs(known: Known, result: Result, *, exact: bool) -> str:
    """How a result differs from what is known, in plain words; empty if it does not.

    Args:
        exact: To rounding; else each expected outcome has to be more frequent than any other, and they more than half.
    """
    told = result.probabilities
    if exact:
        wrong = any(abs(told.get(outcome, 0.0) - p) > EXACT for outcome, p in known.expected.items())
        wrong = wrong or sum(told.values()) - sum(told.get(outcome, 0.0) for outcome in known.expected) > EXACT
    else:
        others = max((p for outcome, p in told.items() if outcome not in known.expected), default=0.0)
        shares = [told.get(outcome, 0.0) for outcome in known.expected]
        wrong = min(shares) <= others or sum(shares) <= 0.5
    if wrong:
        return f"{known.what}: {_compared(known, result)}" + _hint(known, told, result.qubits)
    return _miscounted(known, result) if exact and result.counts is not None else ""


def drowns(known: Known, result: Result) -> str:
    """Whether noise cannot explain a result, in plain words; empty if it can, or if all outcomes are much alike.

    Noise brings outcomes nearer to each other. A result that is nearer to that than to what is known is taken as wrong.
    """
    flat = dict.fromkeys(range(1 << result.qubits), 1 / (1 << result.qubits))
    if _distance(known.expected, flat) < _TELLING or (
        _distance(result.probabilities, known.expected) < _distance(result.probabilities, flat)
    ):
        return ""
    return f"{known.what}: {_compared(known, result)}"


def _distance(one: Mapping[int, float], two: Mapping[int, float]) -> float:
    """The total variation distance."""
    return sum(abs(one.get(outcome, 0.0) - two.get(outcome, 0.0)) for outcome in {*one, *two}) / 2


def _miscounted(known: Known, result: Result) -> str:
    counts = result.counts or {}
    shots = sum(counts.values())
    for outcome in {*counts, *known.expected}:
        p = known.expected.get(outcome, 0.0)
        count = counts.get(outcome, 0)
        if abs(count - shots * p) > _stray(shots, p) + EXACT * shots:
            shown = label(outcome, result.qubits)
            return f"{known.what}: {count} of {shots} shots read {shown}, which has probability {p:g}"
    return ""


def _stray(shots: int, p: float) -> float:
    """How far counts may be from ``shots * p``: Bernstein's inequality, which holds for rare outcomes as well."""
    if not _IMPOSSIBLE < p < 1.0 - _IMPOSSIBLE:
        return 0.0
    return _CHANCE / 3 + math.sqrt(_CHANCE**2 / 9 + 2 * _CHANCE * shots * p * (1 - p))


def _compared(known: Known, result: Result) -> str:
    expected, got = (
        dict(sorted(each.items(), key=lambda item: -item[1])[:_SHOWN])
        for each in (known.expected, result.probabilities)
    )
    return f"expected {_shown(expected, result.qubits)}, got {_shown(got, result.qubits)}"


def _shown(probabilities: Mapping[int, float], qubits: int) -> str:
    return ", ".join(f"{label(outcome, qubits)} with {p:.3g}" for outcome, p in sorted(probabilities.items()))


def _hint(known: Known, told: Mapping[int, float], qubits: int) -> str:
    """What the mistake may be; of gates on several wires it may be anything."""
    if any(len(gate.wires) > 1 for gate in known.circuit.gates):
        return ""
    for outcome, p in known.expected.items():
        mirrored = int(f"{outcome:0{qubits}b}"[::-1], 2)
        if mirrored not in known.expected and told.get(mirrored, 0.0) > p / 2:
            return "; the bits are reversed: qubit 0 is the lowest bit (written rightmost)"
    wires = known.circuit.active
    if wires != tuple(range(len(wires))):
        close = {sum((outcome >> wire & 1) << place for place, wire in enumerate(wires)) for outcome in known.expected}
        if sum(told.get(outcome, 0.0) for outcome in close) > 0.5:
            return "; idle qubits were dropped: they keep their bits"
    return ""

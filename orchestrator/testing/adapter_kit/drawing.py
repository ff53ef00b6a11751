"""Circuits drawn at random over the gates a backend runs, each with what the gate table makes of it.

Every gate is drawn in each of its *forms*, without controls and with one or two; a form is first tried alone, since a
backend may refuse gates, and those that it runs are then mixed: between other gates a phase that is wrong by a sign
shows in what is measured, which it does not alone. The seed is fixed: every run of the kit tries the same circuits.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence
from typing import Final, NamedTuple

from orchestrator.backends.abc import Capabilities
from orchestrator.circuits.gates import ALIASES, GATES
from orchestrator.circuits.ir import Circuit, Gate, GateSet
from orchestrator.testing.adapter_kit.known import Known
from orchestrator.testing.adapter_kit.simulating import probabilities

_SEED: Final = 2718
_WIDEST: Final = 3
_MOST_CONTROLS: Final = 2
#: Circuits for each form, and one-qubit gates between others.
_CIRCUITS: Final = 3
_AROUND: Final = 3
#: Letters of a Pauli string.
_LETTERS: Final = 2


class Form(NamedTuple):
    """A gate with so many controls."""

    name: str
    gateset: GateSet
    controls: int

    def __str__(self) -> str:
        under = ("", " under a control", " under two controls")[self.controls]
        return f"{self.name}{under}"

    @property
    def wires(self) -> int:
        """How many wires it takes."""
        return (GATES[self.gateset][self.name].targets or _LETTERS) + self.controls


def forms(backend: Capabilities) -> list[Form]:
    """Every form of every gate that a backend may run, by its gate sets and its width."""
    width = min(backend.qubits, _WIDEST)
    every = [Form(row.name, "qis", controls) for row in GATES["qis"].values() for controls in range(_MOST_CONTROLS + 1)]
    native = [Form(name, "native", 0) for name in GATES["native"] if name in backend.native_gates and name != "nop"]
    return [each for each in (*every, *native) if each.gateset in backend.gatesets and each.wires <= width]


def declared(backend: Capabilities, form: Form) -> bool:
    """Whether a backend says that it has this gate, so that it may not refuse it."""
    if form.gateset == "native":
        return form.name in backend.native_gates
    return not form.controls and form.name in {ALIASES.get(name, name) for name in backend.gates}


def alone(backend: Capabilities, form: Form) -> Known:
    """A circuit of that gate and nothing else."""
    drawn = random.Random(f"{_SEED} {form}")
    width = min(backend.qubits, _WIDEST)
    return _known(width, form.gateset, [_gate(drawn, form, width)])


def mixed(backend: Capabilities, form: Form, among: Collection[Form], *, exact: bool) -> Iterator[Known]:
    """A few circuits in which that gate stands between others that run.

    Args:
        exact: Several of them in each; else one between one-qubit gates, of which noise leaves enough to see.
    """
    width = min(backend.qubits, _WIDEST)
    single = [each for each in among if each.gateset == form.gateset and each.wires == 1]
    others = [each for each in among if each.gateset == form.gateset]
    for number in range(_CIRCUITS):
        drawn = random.Random(f"{_SEED} {form} {number}")
        gates = _layer(drawn, single, width)
        for _ in range(2 if exact else 0):
            gates += [
                _gate(drawn, form, width),
                *_layer(drawn, single, width),
                _gate(drawn, drawn.choice(others), width),
            ]
        gates += [*_layer(drawn, single, width), _gate(drawn, form, width), *_layer(drawn, single, width)]
        yield _known(width, form.gateset, gates)


def _layer(drawn: random.Random, single: Sequence[Form], width: int) -> list[Gate]:
    """Some one-qubit gates, each wire's own."""
    if not single:
        return []
    return [
        _gate(drawn, drawn.choice(single), width, wire)
        for wire in range(width)
        for _ in range(max(1, _AROUND // width))
    ]


def _gate(drawn: random.Random, form: Form, width: int, wire: int | None = None) -> Gate:
    """That gate with random angles, on random wires or the given one."""
    row = GATES[form.gateset][form.name]
    wires = drawn.sample(range(width), form.wires) if wire is None else [wire]
    controls, targets = tuple(wires[: form.controls]), tuple(wires[form.controls :])
    if form.name == "pauliexp":
        terms = tuple("".join(drawn.choices("XYZ", k=len(targets))) for _ in range(2))
        params = tuple(drawn.uniform(0.2, 1.2) for _ in range(3))
        return Gate(form.name, targets, controls, params, terms)
    params = tuple(drawn.uniform(max(each.low, -1.4) or 0.05, min(each.high, 1.4)) for each in row.params)
    return Gate(form.name, targets, controls, params)


def _known(width: int, gateset: GateSet, gates: Sequence[Gate]) -> Known:
    circuit = Circuit(qubits=width, gates=tuple(gates), gateset=gateset)
    return Known(f"{gateset} circuit: {'; '.join(map(_spelled, gates))}", circuit, probabilities(circuit))


def smaller(known: Known) -> Iterator[Known]:
    """The same circuit without one of its gates, each in turn."""
    circuit = known.circuit
    for place in range(len(circuit.gates)):
        yield _known(circuit.qubits, circuit.gateset, circuit.gates[:place] + circuit.gates[place + 1 :])


def _spelled(gate: Gate) -> str:
    angles = f"({', '.join(f'{each:.3g}' for each in gate.params)})" if gate.params else ""
    terms = f" of {' '.join(gate.terms)}" if gate.terms else ""
    under = f" under {' '.join(map(str, gate.controls))}" if gate.controls else ""
    return f"{gate.name}{angles}{terms} on {' '.join(map(str, gate.targets))}{under}"

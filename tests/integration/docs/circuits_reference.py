"""Writes docs/circuits.md from the core's gate table, the records and the functions of `orchestrator.circuits`.

python -m tests.integration.docs.circuits_reference
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from orchestrator import circuits
from orchestrator.authoring.documented import summary
from orchestrator.circuits import gates, ir
from orchestrator.circuits.gates import ALIASES, CONTROLLED_ALIASES, GATES, GateType, Param
from tests.integration.docs.adapter_reference import prose, struct_table

PAGE: Final = Path(__file__).parents[3] / "docs" / "circuits.md"

_HEAD: Final = """\
# Circuits and gates

What a circuit is once it has been read, whatever door it came through: what an adapter gets as `attempt.circuit`, and
what you submit where the orchestrator is embedded. `python -m tests.integration.docs.circuits_reference` makes this
page from the code, and a test compares it, and every unitary below, with what the core computes.

* **Qubit k is bit k of an outcome**, qubit 0 the least significant: flipping qubit 1 alone gives outcome 2.
* **Angles** are in radians in circuits of gate set `qis`, in turns (1 turn = 2 pi) in `native` ones. A circuit has
  gates of one set.
* **Two-qubit matrices** are in the basis 00, 01, 10, 11, whose left, more significant letter is `targets[0]` and whose
  right one is `targets[1]`. That is the order of the gate's own wires and has nothing to do with their numbers.
* **Controls** are not in the matrix: a gate acts where all of them are 1. `cnot` is `x` with a control.
* **Names are canonical**: aliases are resolved, and a one-qubit gate on several targets is split, where a circuit is
  read.

All of it in a simulator that fits a page:

```python
from itertools import product

from orchestrator import Circuit, Gate
from orchestrator.circuits import to_two_qubit
from orchestrator.circuits.gates import matrix


def probabilities(circuit: Circuit) -> dict[int, float]:
    amplitudes = [1 + 0j] + [0j] * (2**circuit.qubits - 1)
    for gate in to_two_qubit(circuit).gates:  # pauliexp becomes gates that have a matrix
        unitary = matrix(gate, circuit.gateset)
        before, amplitudes = amplitudes, list(amplitudes)
        for index in range(len(before)):
            if all(index >> wire & 1 for wire in gate.controls):
                row = int("".join(str(index >> wire & 1) for wire in gate.targets), 2)  # targets[0] leftmost
                amplitudes[index] = 0j
                for column, bits in enumerate(product((0, 1), repeat=len(gate.targets))):
                    source = index
                    for wire, bit in zip(gate.targets, bits, strict=True):
                        source = source & ~(1 << wire) | bit << wire
                    amplitudes[index] += unitary[row][column] * before[source]
    found = {index: abs(value) ** 2 for index, value in enumerate(amplitudes)}
    return {index: probability for index, probability in found.items() if probability > 1e-12}


bell = Circuit(qubits=2, gates=(Gate("h", (0,)), Gate("x", (1,), controls=(0,))))
print(probabilities(bell))  # one half each of 0 and 3
```
"""

_UNITS: Final = """\
Short for the unitaries: `i` the imaginary unit, `r` = 1/sqrt(2), `e(x)` = exp(i x), `a` the `rotation` of a `qis` gate,
`c` = cos(a/2) and `s` = sin(a/2). Of a `native` gate `a` is 2 pi times the `angle`, `p` 2 pi times the `phase`, `p0`
and `p1` 2 pi times the `phases`. The column `params` has the members of gate objects on the wire, in the order of
`Gate.params`.
"""

_ANTI: Final = "[[c, 0, 0, {0}], [0, c, {1}, 0], [0, {2}, c, 0], [{3}, 0, 0, c]]"
_ZZ: Final = "[[e(-a/2), 0, 0, 0], [0, e(a/2), 0, 0], [0, 0, e(a/2), 0], [0, 0, 0, e(-a/2)]]"
#: Every unitary as people read it; Python can, too, which is how the test compares them with the core's.
UNITARIES: Final = {
    "qis": {
        "x": "[[0, 1], [1, 0]]",
        "y": "[[0, -i], [i, 0]]",
        "z": "[[1, 0], [0, -1]]",
        "h": "[[r, r], [r, -r]]",
        "s": "[[1, 0], [0, i]]",
        "si": "[[1, 0], [0, -i]]",
        "t": "[[1, 0], [0, e(pi/4)]]",
        "ti": "[[1, 0], [0, e(-pi/4)]]",
        "v": "[[(1+i)/2, (1-i)/2], [(1-i)/2, (1+i)/2]]",
        "vi": "[[(1-i)/2, (1+i)/2], [(1+i)/2, (1-i)/2]]",
        "rx": "[[c, -i*s], [-i*s, c]]",
        "ry": "[[c, -s], [s, c]]",
        "rz": "[[e(-a/2), 0], [0, e(a/2)]]",
        "p": "[[1, 0], [0, e(a)]]",
        "swap": "[[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]]",
        "xx": _ANTI.format("-i*s", "-i*s", "-i*s", "-i*s"),
        "yy": _ANTI.format("i*s", "-i*s", "-i*s", "i*s"),
        "zz": _ZZ,
    },
    "native": {
        "gpi": "[[0, e(-p)], [e(p), 0]]",
        "gpi2": "[[r, -i*r*e(-p)], [-i*r*e(p), r]]",
        "ms": _ANTI.format("-i*s*e(-p0-p1)", "-i*s*e(p1-p0)", "-i*s*e(p0-p1)", "-i*s*e(p0+p1)"),
        "zz": _ZZ,
        "nop": "[[1, 0], [0, 1]]",
    },
}

_PAULIEXP: Final = """\
`pauliexp` is the product of exp(-i time coefficient P) over its `terms` P, the first one first; it has a term and a
coefficient each, and the **rightmost** letter of a term acts on `targets[0]`. `pauli_factors` takes it apart,
`to_two_qubit` makes other gates of it. On the wire `id` is a gate too, which does nothing and is left out; `p` is
written as `z` with a `rotation`, and the angle of `ms` is 0.25 unless given.
"""

#: What follows the table of a gate set.
_ENDS: Final = {
    "qis": ("Any of them may have controls.", "", _PAULIEXP),
    "native": ("None has controls.", ""),
}

#: Functions beside those that the package itself names.
_FUNCTIONS: Final = ((ir, "compact"), (ir, "dumps"), (ir, "loads"), (gates, "matrix"), (gates, "pauli_factors"))


def page() -> str:
    """The whole page."""
    return _HEAD + "\n" + "\n".join(_lines()).rstrip() + "\n"


def _lines() -> Iterator[str]:
    yield from ("## The records", "")
    for kind in (ir.Circuit, ir.Gate):
        yield from (f"### {kind.__name__}", "", f"`from orchestrator import {kind.__name__}`", "")
        yield from (prose(summary(kind)), "")
        yield from struct_table(kind)
        for name, subject in vars(kind).items():
            if isinstance(subject, property):
                yield from (f"`.{name}`: {prose(inspect.getdoc(subject) or '')}", "")
    yield from ("## The gates", "", _UNITS)
    for gateset, rows in GATES.items():
        yield from (f"### {gateset}", "", "| gate | also | targets | `params` | unitary |", "|---|---|---|---|---|")
        for row in rows.values():
            yield _row(row)
        yield ""
        yield from _ENDS[gateset]
    yield from ("## Functions", "", "| import | what |", "|---|---|")
    for name in circuits.__all__:
        if inspect.isfunction(subject := getattr(circuits, name)):
            yield f"| `from orchestrator.circuits import {name}` | {prose(summary(subject))} |".replace("\n\n", " ")
    for module, name in _FUNCTIONS:
        subject = getattr(module, name)
        yield f"| `from {module.__name__} import {name}` | {prose(summary(subject))} |".replace("\n\n", " ")


def _row(row: GateType) -> str:
    also = [f"`{alias}`" for alias, name in ALIASES.items() if row.gateset == "qis" and name == row.name]
    also = [f"{each} (controlled)" if each.strip("`") in CONTROLLED_ALIASES else each for each in also]
    if row.gateset == "qis" and row.name == "p":
        also.append("`z` with `rotation`")
    targets = str(row.targets or "any number")
    params = ", ".join(map(_param, row.params))
    unitary = UNITARIES[row.gateset].get(row.name)
    cells = (f"`{row.name}`", ", ".join(also), targets, params, "see below" if unitary is None else f"`{unitary}`")
    return "| " + " | ".join(cell or "-" for cell in cells) + " |"


def _param(param: Param) -> str:
    if param.high < 2:
        return f"`{param.member}` ({param.low:g} to {param.high:g})"
    return f"`{param.member}` (not negative)" if param.low == 0 else f"`{param.member}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

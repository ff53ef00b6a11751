"""The kit's check of every gate: one wrong gate is found and named, what is refused is not held against anybody."""

from __future__ import annotations

import re

import pytest

from orchestrator.circuits.gates import GATES
from orchestrator.circuits.ir import Circuit, Gate
from orchestrator.model import Result
from orchestrator.testing.adapter_kit import Bench, Verdict, found
from orchestrator.testing.adapter_kit.checks.physics import check_every_gate
from orchestrator.testing.adapter_kit.known import Known, departs
from orchestrator.testing.adapter_kit.simulating import probabilities
from tests.conformance.adapters.sound import Sound
from tests.conformance.adapters.wrong_gates import WRONG, mistaken, refusing


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_gate_is_found_and_named(what: str) -> None:
    """A simulator with one wrong gate is not exact: the finding is a small circuit with that gate."""
    mistake, names = WRONG[what]
    finding = found(check_every_gate, Bench(mistaken(mistake)))
    assert finding.verdict is Verdict.BROKEN
    smallest = finding.why.partition("circuit: ")[2].partition(": expected")[0].split("; ")
    assert names & {re.split(r"\W", gate)[0] for gate in smallest}, finding.why
    assert len(smallest) <= 6, finding.why


@pytest.mark.parametrize("gates", [("pauliexp",), tuple(set(GATES["qis"]) - {"x", "h", "s"}), ("rx", "ry", "rz", "p")])
def test_what_is_refused_is_no_fault(gates: tuple[str, ...]) -> None:
    """A backend may lack gates: refused with a code for that, they are left out of the random circuits."""
    assert found(check_every_gate, Bench(refusing(*gates))).verdict is Verdict.KEPT


def test_a_declared_gate_is_not_refused() -> None:
    """What stands in `Capabilities.gates` is run."""
    finding = found(check_every_gate, Bench(refusing("zz", gates=("x", "zz"))))
    assert finding.verdict is Verdict.BROKEN
    assert "a circuit with zz on sound, which it declares, failed: no zz" in finding.why


def test_a_noisy_backend_is_held_to_the_gates_as_well() -> None:
    """Where noise is declared, what is nearer to chance than to the circuit is a fault, and nothing else."""
    assert found(check_every_gate, Bench(mistaken(WRONG["no vi"][0], physics="noisy"))).verdict is Verdict.BROKEN
    assert found(check_every_gate, Bench(mistaken(lambda gate: (gate,), physics="noisy"))).verdict is Verdict.KEPT


@pytest.mark.parametrize("qubits", [1, 2])
def test_narrow_backends(qubits: int) -> None:
    """Gates that do not fit are left out."""
    adapter = type("Narrow", (Sound,), {"declared": {"qubits": qubits}})
    assert found(check_every_gate, Bench(adapter)).verdict is Verdict.KEPT


@pytest.mark.parametrize(
    ("gate", "expected"),
    [
        (Gate("pauliexp", (0, 1), (), (0.5, 1.5707963267948966), ("XI",)), {0: 0.5, 2: 0.5}),
        (Gate("pauliexp", (1, 0), (), (1.0, 1.5707963267948966), ("YI",)), {1: 1.0}),
        (Gate("pauliexp", (0,), (1,), (1.0, 1.5707963267948966), ("X",)), {0: 1.0}),
        (Gate("xx", (0, 1), (), (1.5707963267948966,)), {0: 0.5, 3: 0.5}),
    ],
)
def test_what_it_is_compared_with(gate: Gate, expected: dict[int, float]) -> None:
    """Outcomes worked out by hand: the rightmost letter of a Pauli string acts on the first target."""
    assert probabilities(Circuit(qubits=2, gates=(gate,))) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("p", "count", "fine"), [(1e-5, 1, True), (1e-5, 40, False), (0.0, 1, False), (0.5, 900, False)]
)
def test_counts_are_held_to_their_chances(p: float, count: int, fine: bool) -> None:
    """Something rare may happen once; what is impossible may not, nor what is far from its probability."""
    expected = {0: 1 - p, 1: p} if p else {0: 1.0}
    result = Result(qubits=1, probabilities=expected, counts={0: 1000 - count, 1: count})
    case = Known("a circuit", Circuit(qubits=1), expected)
    assert (departs(case, result, exact=True) == "") is fine


def test_no_hint_where_gates_have_roles() -> None:
    """A swap that does nothing is not taken for reversed bits."""
    case = Known("swap", Circuit(qubits=2, gates=(Gate("x", (0,)), Gate("swap", (0, 1)))), {2: 1.0})
    assert "reversed" not in departs(case, Result(qubits=2, probabilities={1: 1.0}), exact=True)

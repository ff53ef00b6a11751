"""Capabilities are data: what a job may ask of a backend, and what costs what."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from orchestrator.backends.abc import Capabilities, NoiseModel, Prices
from orchestrator.backends.check import check, check_family, mitigations
from orchestrator.circuits.ir import Circuit, Gate
from orchestrator.model import Cost, JobSpec, Noise, Stats, money, total
from orchestrator.submission import measure

CAN = Capabilities(
    backend="lab.trap",
    qubits=4,
    kind="qpu",
    native_gates=("gpi", "gpi2", "ms"),
    max_shots=1_000,
    max_circuits=3,
    noise_models={"calm": NoiseModel(qubits=2)},
    error_mitigations=("debiasing",),
)
MITIGATED = {"error_mitigation": {"debiasing": True}}


def spec(**members: Any) -> JobSpec:
    """What was asked for, sizes among it."""
    sizes = {name: members.pop(name) for name in Stats.__struct_fields__ if name in members}
    return JobSpec(backend="lab.trap", stats=Stats(**sizes), **members)


@pytest.mark.parametrize(
    "members",
    [
        {"qubits": 4, "shots": 1_000},
        {"gateset": "native", "native": ("gpi", "ms")},
        {"noise": Noise(model="calm"), "qubits": 2},
        {"settings": MITIGATED, "shots": 500},
        {"settings": {"error_mitigation": {"debiasing": False, "symmetry_verification": None}}, "shots": 1},
    ],
    ids=str,
)
def test_what_a_backend_can_do_is_no_failure(members: dict[str, Any]) -> None:
    """The limits themselves are within the limits."""
    assert check(spec(**members), CAN) is None


@pytest.mark.parametrize(
    ("members", "code", "words"),
    [
        ({"qubits": 5}, "NotEnoughQubits", "5 qubits, lab.trap has 4"),
        ({"shots": 1_001}, "TooManyShots", "at most 1000 shots, not 1001"),
        ({"gateset": "native", "native": ("gpi", "zz")}, "UnsupportedGate", "has no zz; its native gates are gpi,"),
        ({"noise": Noise(model="calm"), "qubits": 3}, "NotEnoughQubits", "noise model calm has 2"),
        ({"noise": Noise(model="wild")}, "InvalidInput", "no noise model wild"),
        ({"settings": MITIGATED, "shots": 499}, "DebiasingError", "at least 500 shots, this job has 499"),
        ({"settings": {"error_mitigation": {"symmetry_verification": True}}}, "DebiasingError", "does not offer symm"),
    ],
    ids=str,
)
def test_what_it_cannot_do_is_a_failure_that_says_why(members: dict[str, Any], code: str, words: str) -> None:
    """A code of the contract, and a message with what was asked and what there is."""
    failure = check(spec(**members), CAN)
    assert failure is not None
    assert failure.code == code
    assert words in failure.message


def test_a_gate_set_that_is_not_run() -> None:
    """A machine of native gates alone runs no others."""
    failure = check(spec(), msgspec.structs.replace(CAN, gatesets=("native",)))
    assert failure is not None
    assert failure.code == "UnsupportedGate"


def test_too_many_circuits() -> None:
    """As many as the backend takes, and one more."""
    assert check_family(3, CAN) is None
    failure = check_family(4, CAN)
    assert failure is not None
    assert (failure.code, "4 circuits" in failure.message) == ("PreflightError", True)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"debiasing": True}, ["debiasing"]),
        ({"debias": True}, ["debiasing"]),
        ({"debiasing": {"phi_chi_twirling": {}}}, ["debiasing"]),
        ({"debiasing": True, "symmetry_verification": True}, ["debiasing", "symmetry_verification"]),
        ({}, []),
        (None, []),
        ({"debiasing": False}, []),
        ({"debiasing": None, "of_tomorrow": True}, []),
        ("on", []),
    ],
    ids=str,
)
def test_mitigations_asked_for(asked: object, found: list[str]) -> None:
    """Both spellings, objects too; what is off, empty or unknown asks for nothing."""
    assert mitigations({"error_mitigation": asked}) == found


def test_names_of_native_gates_are_measured_at_the_submit() -> None:
    """Each once; none of idle gates, which every backend can do, and none of other gate sets."""
    gates = (Gate("ms", (0, 1), (), (0.0, 0.0, 0.25)), Gate("gpi", (0,), (), (0.0,)), Gate("nop", (1,)))
    native = Circuit(qubits=2, gateset="native", gates=gates * 2)
    [found] = measure([native], multi=False)
    assert found.stats.native == ("gpi", "ms")
    [found] = measure([Circuit(qubits=1, gates=(Gate("h", (0,)),))], multi=False)
    assert found.stats.native == ()


def test_prices() -> None:
    """Gates by width times shots, at least the minimum, exact where floats are not."""
    prices = Prices(gate_1q=0.1, gate_2q=0.2, job_minimum=0.05)
    assert prices.of(Stats(gates_1q=1, gates_2q=1), 1) == Cost(value=0.3)
    assert prices.of(Stats(), 1_000_000) == Cost(value=0.05)
    assert Prices(unit="credit").of(Stats(gates_2q=3), 100) == Cost(value=0.0, unit="credit")


@pytest.mark.parametrize(
    "table", [{"gate_1q": -1}, {"gate_2q": float("nan")}, {"gate_1q": 1e7}, {"unit": "U.S. $"}, {"gate": 1}], ids=str
)
def test_price_lists_are_checked(table: dict[str, Any]) -> None:
    """A price list of the settings has no negative, endless, misspelt or unknown members."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(table, Prices)


def test_sums_of_money() -> None:
    """Exact to a millionth; what is unknown adds nothing, two currencies no sum."""
    assert total([Cost(value=0.1), None, Cost(value=0.2)]) == Cost(value=0.3)
    assert total([None]) is None
    assert total([]) is None
    assert total([Cost(value=1.0), Cost(value=1.0, unit="eur")]) is None
    assert money(Decimal("0.0000005")) == 1e-6

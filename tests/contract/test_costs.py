"""What jobs cost, in both versions: prices of a backend, what it told itself, and nothing at all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from orchestrator.backends.abc import Attempt, Prices
from orchestrator.errors import ExecutionError
from orchestrator.model import Cost, Result
from orchestrator.testing.adapters import ScriptedAdapter, zeros
from tests.contract.harness import BELL, MULTI, Client, Service, launched

PRICES = Prices(gate_1q=0.0001, gate_2q=0.0007, job_minimum=0.01)
#: 100 shots of one gate of each kind.
BELL_COST = 0.08


def answered(attempt: Attempt) -> Result | Exception:
    """Jobs named ``told`` come with a cost of their own, children named ``b`` and jobs named ``bad`` fail."""
    name = attempt.job.spec.name
    if name == "bad":
        return ExecutionError("QuantumComputerError", "no ions")
    cost = Cost(value=1.1, unit="usd") if name == "told" else None
    return msgspec.structs.replace(zeros(attempt), cost=cost)


@pytest.fixture
async def priced() -> AsyncIterator[Service]:
    """A server whose backends ``priced`` and ``credited`` have prices; ``priced`` compiles first."""
    adapters = [
        ScriptedAdapter("priced", answer=answered, prices=PRICES, instant_prepare=False, concurrency=1),
        ScriptedAdapter("credited", answer=answered, prices=Prices(unit="credit", gate_1q=1.0)),
    ]
    async with launched(beside=adapters) as service:
        yield service


async def costs(service: Service, client: Client, body: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What both versions say of a job that has ended: the body of v0.4, and the members of v0.3 about money."""
    job_id = await client.submit(body)
    await service.orchestrator.wait(job_id, timeout_s=10)
    _, new = await client.ask("GET", f"/v0.4/jobs/{job_id}/cost")
    _, job = await client.ask("GET", f"/v0.3/jobs/{job_id}")
    return new, {name: value for name, value in job.items() if "cost" in name}


def usd(value: float) -> dict[str, Any]:
    return {"value": value, "unit": "usd"}


async def test_a_priced_job(priced: Service) -> None:
    """Estimated from its submission on; what it cost by the prices once it is done, without noise of floats."""
    client = await priced.client()
    new, old = await costs(priced, client, {**BELL, "backend": "priced"})
    assert new == {"dry_run": False, "estimated_cost": usd(BELL_COST), "cost": usd(BELL_COST)}
    assert old == {"estimated_cost_usd": BELL_COST, "cost_usd": BELL_COST}


async def test_what_the_backend_told_goes_before_its_prices(priced: Service) -> None:
    """A cost in the result is what the job cost."""
    new, _ = await costs(priced, await priced.client(), {**BELL, "backend": "priced", "name": "told"})
    assert (new["estimated_cost"], new["cost"]) == (usd(BELL_COST), usd(1.1))


async def test_a_dry_run_costs_nothing_and_is_estimated(priced: Service) -> None:
    """It never runs: there is an estimate and no cost."""
    new, old = await costs(priced, await priced.client(), {**BELL, "backend": "priced", "dry_run": True})
    assert new == {"dry_run": True, "estimated_cost": usd(BELL_COST)}
    assert old == {"estimated_cost_usd": BELL_COST}


async def test_a_failed_job_costs_nothing(priced: Service) -> None:
    """What did not come to a result is not charged."""
    new, _ = await costs(priced, await priced.client(), {**BELL, "backend": "priced", "name": "bad"})
    assert new["cost"] == usd(0)


async def test_a_parent_costs_what_its_children_cost(priced: Service) -> None:
    """The sum: each child at its price, here the least there is for two; also of a family that came to no end."""
    client = await priced.client()
    body = {**MULTI, "backend": "priced"}
    new, old = await costs(priced, client, body)
    assert new == {"dry_run": False, "estimated_cost": usd(0.03), "cost": usd(0.03)}
    assert old == {"estimated_cost_usd": 0.03, "cost_usd": 0.03}
    circuits: list[dict[str, Any]] = [{"name": name, "circuit": []} for name in ("told", "told", "bad", "told")]
    new, _ = await costs(priced, client, {**body, "input": {"gateset": "qis", "qubits": 1, "circuits": circuits}})
    assert new["cost"] == usd(2.2)


async def test_credits_have_their_own_names_in_v03(priced: Service) -> None:
    """Where prices are in credits, both versions say credits, also of a job that cost none."""
    client = await priced.client()
    new, old = await costs(priced, client, {**BELL, "backend": "credited"})
    assert new["cost"] == {"value": 100, "unit": "credit"}
    assert old == {"estimated_cost_credit": 100, "cost_credit": 100}
    new, _ = await costs(priced, client, {**BELL, "backend": "credited", "name": "bad"})
    assert new["cost"] == {"value": 0, "unit": "credit"}


async def test_what_is_not_priced_costs_nothing(priced: Service) -> None:
    """No estimate is ever sent for it, yet a job that is done has a cost: 0."""
    client = await priced.client()
    new, old = await costs(priced, client, BELL)
    assert new == {"dry_run": False, "cost": usd(0)}
    assert old == {"cost_usd": 0}
    held = await client.submit({**BELL, "name": "hold"})
    assert await client.ask("GET", f"/v0.4/jobs/{held}/cost") == (200, {"dry_run": False})


async def test_an_estimate_of_a_priced_backend(priced: Service) -> None:
    """Prices and the sum, in the names of both generations."""
    client = await priced.client()
    path = "/v0.4/jobs/estimate?backend=priced&shots=1000&1q_gates=3&2q_gates=1"
    _, found = await client.ask("GET", path)
    card = {"cost_1q_gate": 0.0001, "cost_2q_gate": 0.0007, "job_cost_minimum": 0.01}
    assert found["rate_card"] == {"id": "priced", "rates": [{"sku": "priced", "unit": "gates", **card}]}
    assert found["rate_information"] == {"organization": None, **card}
    assert found["estimated_total_cost"] == found["estimated_cost"] == 1.0
    assert found["estimated_unit"] == found["cost_unit"] == "usd"
    most = "/v0.4/jobs/estimate?backend=priced&shots=1000000&1q_gates=1000000000&2q_gates=1000000000"
    assert (await client.ask("GET", most))[1]["estimated_cost"] == 8e11
    _, free = await client.ask("GET", "/v0.4/jobs/estimate?backend=simulator&1q_gates=5")
    assert free["rate_card"] == {"id": "free", "rates": []}
    assert free["estimated_total_cost"] == free["estimated_cost"] == free["rate_information"]["cost_1q_gate"] == 0


@pytest.mark.parametrize("cost", [Cost(value=-1.0), Cost(value=float("nan")), Cost(value=1.0, unit="€" * 9)], ids=str)
async def test_a_cost_that_is_none_fails_the_job(cost: Cost) -> None:
    """A backend is not trusted with its bill: what is no amount of a currency is an invalid result."""
    odd = ScriptedAdapter("odd", answer=lambda attempt: msgspec.structs.replace(zeros(attempt), cost=cost))
    async with launched(beside=[odd]) as service:
        job = await service.orchestrator.wait(await (await service.client()).submit({**BELL, "backend": "odd"}))
        assert job.outcome.failure is not None
        assert job.outcome.failure.code == "InternalError"

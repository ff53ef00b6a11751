"""What the bench measures with: the filled store, the raw limit, the load generator, a whole run in little."""

import os
from pathlib import Path

import pytest

from orchestrator.bench import http, plan, raw
from orchestrator.bench.fill import fill
from orchestrator.bench.report import SECTIONS
from orchestrator.bench.workload import REQUEST, NoopAdapter
from orchestrator.lifecycle import JobStatus
from orchestrator.service import Orchestrator


async def test_filled_store_is_a_store_like_any_other(tmp_path: Path) -> None:
    """All copies are finished jobs with events, inputs and results of their own, and the log proves the tables."""
    await fill(tmp_path / "data", 50)
    async with Orchestrator.open(tmp_path / "data", adapters=[NoopAdapter()]) as orchestrator:
        found = await orchestrator.verify()
        assert (found.jobs, found.events, found.problems) == (50, 200, ())
        page = await orchestrator.list_jobs(limit=100)
        assert {job.status for job in page.jobs} == {JobStatus.COMPLETED}
        for job in (page.jobs[0], page.jobs[-1]):
            assert (await orchestrator.circuit(job.id)).qubits == 2
            assert (await orchestrator.fetch_result(job.id)).probabilities == {0: 0.5, 3: 0.5}


def test_raw_limit_writes_what_it_counts(tmp_path: Path) -> None:
    """The rate is positive, and does without the product around it."""
    assert raw.rows_per_second(tmp_path / "raw.db", 0.01) > 0


async def test_load_counts_accepted_requests() -> None:
    """The generator's count of answers is the server's count of jobs."""
    async with Orchestrator.open(adapters=[NoopAdapter()]) as orchestrator, http.served(orchestrator) as (base, key):
        sent = await http.load(base, http.body(), 0.05, key=key)
        page = await orchestrator.list_jobs(limit=sent.answers + 1)
    assert sent.answers == len(page.jobs) >= http.CONNECTIONS
    assert sent.refused == 0


async def test_refused_requests_are_no_figure() -> None:
    """A rate of refusals is never reported as a rate of submits."""
    async with Orchestrator.open(adapters=[NoopAdapter()]) as orchestrator, http.served(orchestrator) as (base, _):
        with pytest.raises(http.LoadError, match="refused"):
            await http.load(base, http.body(), 0.01, key="wrong")


async def test_held_backend_runs_nothing() -> None:
    """Submits measured alone are not run meanwhile."""
    async with Orchestrator.open(adapters=[NoopAdapter(held=True)]) as orchestrator:
        job = await orchestrator.submit(REQUEST)
        with pytest.raises(TimeoutError):
            await orchestrator.wait(job.id, timeout_s=0.05)


async def test_a_run_yields_every_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything the report knows is measured, but for a simulator that is not installed; folders are tidied up."""

    async def nothing(names: object) -> tuple[list[object], list[object]]:
        return [], []

    monkeypatch.setattr(plan, "discover", nothing)
    told: list[str] = []
    (values,) = await plan.Bench(tmp_path, plan.Sizes(1, 0.02, 3, 20), told.append).run()
    assert set(values) == {row.name for _, rows in SECTIONS for row in rows} - {"simulator_http_cycles"}
    assert all(value > 0 for value in values.values())
    assert os.listdir(tmp_path) == ["filled"]
    assert told[0] == "filling a store with 20 finished jobs"

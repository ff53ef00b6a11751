"""One orchestrator in front of another, over real sockets."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import ClientSession
from prometheus_client.parser import text_string_to_metric_families

from orchestrator import Circuit, Gate, JobStatus, Noise, Orchestrator
from orchestrator.api.server import serve
from orchestrator.backends.abc import Adapter, Attempt, Capabilities, NoiseModel, Prices
from orchestrator.backends.discovery import discover
from orchestrator.client import Client
from orchestrator.errors import ExecutionError
from orchestrator.model import Cost, JobRequest, Result
from orchestrator.service import CancelAnswer
from orchestrator.settings import DispatchSettings, Settings
from orchestrator.subscription import Delivered
from orchestrator_remote_cloud import catalog
from orchestrator_remote_cloud.adapter import RemoteCloudAdapter

BELL = Circuit(qubits=2, gates=(Gate("h", (0,)), Gate("x", (1,), (0,))))
NATIVE = Circuit(qubits=1, gates=(Gate("gpi", (0,), (), (0.25,)),), gateset="native")
PRICES = Prices(unit="eur", job_minimum=1.5)
LIMIT_S = 30


class Priced(Adapter):
    """Flips a seeded coin for each shot and charges for it; jobs named ``fail`` and ``hold`` do so."""

    name = "priced"

    def __init__(self) -> None:
        super().__init__()
        self.held = anyio.Event()

    def capabilities(self) -> Sequence[Capabilities]:
        models = {"ideal": NoiseModel(qubits=4), "coin": NoiseModel(qubits=4)}
        return [
            Capabilities(backend="lab.coin", qubits=4, noise_models=models, concurrency=64),
            Capabilities(backend="lab.meter", qubits=4, prices=PRICES, cost_model="2QGE_operations"),
        ]

    async def run(self, attempt: Attempt) -> Result:
        spec = attempt.job.spec
        if spec.name == "fail":
            raise ExecutionError("TooManyGates", "as it was told")
        if spec.name == "hold":
            await self.held.wait()
        rng = random.Random(spec.seed)
        counts = Counter(rng.randrange(2) for _ in range(spec.shots))
        shares = {outcome: count / spec.shots for outcome, count in counts.items()}
        cost = Cost(value=0.25) if attempt.job.backend == "lab.coin" else None
        return Result(qubits=1, probabilities=shares, counts=dict(counts), cost=cost, warnings=("warm",))


class Pair:
    """Two orchestrators; `near` serves the backends of `far` under ``far.``."""

    def __init__(self, near: Orchestrator, far: Orchestrator, adapter: Priced, url: str) -> None:
        self.near, self.far, self.adapter, self.url = near, far, adapter, url

    async def requests(self) -> Counter[str]:
        """What `far` has answered so far, by method and route, as its metrics say."""
        async with ClientSession() as session, session.get(f"{self.url}/metrics") as response:
            text = await response.text()
        found: Counter[str] = Counter()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "orchestrator_http_requests_total" and sample.labels["route"] != "/metrics":
                    found[f"{sample.labels['method']} {sample.labels['route']}"] += int(sample.value)
        return found

    async def both(self, circuit: Circuit, backend: str, **options: Any) -> tuple[Result, Result]:
        """The results of the same job through `near`, and of `far` itself."""
        here = await self.near.submit(circuit, backend=f"far.{backend}", **options)
        there = await self.far.submit(circuit, backend=backend, **options)
        return await self.near.result(here.id, timeout_s=LIMIT_S), await self.far.result(there.id, timeout_s=LIMIT_S)


@asynccontextmanager
async def pair(monkeypatch: pytest.MonkeyPatch, *, data: Path | None = None, **remote: Any) -> AsyncIterator[Pair]:
    """See `Pair`; `remote` are further settings of the remote."""
    adapter = Priced()
    simulators, problems = await discover(("noise_model", "trapped_ion"))
    assert problems == []
    settings = Settings(plugins={"trapped_ion": {"time_scale": 0}}, dispatch=DispatchSettings(drain_s=0.0))
    async with AsyncExitStack() as stack:
        far = await stack.enter_async_context(Orchestrator.open(adapters=[adapter, *simulators], settings=settings))
        _, key = await far.accounts.add_key(far.project.id)
        bound = await stack.enter_async_context(serve(far, "127.0.0.1", 0))
        monkeypatch.setenv("FAR_KEY", key)
        table = {"url": f"{bound.url}/v0.4", "key_env": "FAR_KEY", "prefix": "far.", **remote}
        near = await stack.enter_async_context(
            Orchestrator.open(
                data,
                adapters=[RemoteCloudAdapter()],
                settings=Settings(
                    plugins={"remote_cloud": {"remotes": {"far": table}}}, dispatch=DispatchSettings(drain_s=0.0)
                ),
            )
        )
        yield Pair(near, far, adapter, bound.url)


@pytest.fixture
async def two(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    """Two orchestrators."""
    async with pair(monkeypatch) as opened:
        yield opened


async def seen(service: Orchestrator, kind: str, number: int = 1) -> None:
    """Wait until so many events of a kind are in the log."""
    with anyio.fail_after(LIMIT_S):
        async with aclosing(service.events("earliest", kinds=[kind])) as events:
            while number > 0:
                number -= isinstance(await anext(events), Delivered)


async def test_the_same_seed_gives_the_same_counts_through_both(two: Pair) -> None:
    """Noisy, exact and native: what comes through is bit for bit what the remote measures."""
    noise = Noise(model="aria-1", seed=7)
    here, there = await two.both(BELL, "simulator", noise=noise, shots=300)
    assert here.counts == there.counts
    assert here.shots == there.shots
    assert here.probabilities == there.probabilities
    measured, same = await two.both(BELL, "qpu.aria-1", noise=Noise(model="ideal", seed=7), shots=300)
    assert (measured.counts, measured.shots) == (same.counts, same.shots)
    exact, same = await two.both(BELL, "simulator")
    assert exact.probabilities == same.probabilities == {0: 0.5, 3: 0.5}
    native, same = await two.both(NATIVE, "simulator")
    assert native.probabilities == same.probabilities == {1: 1.0}


async def test_a_seed_that_was_drawn_here_is_the_remotes_too(two: Pair) -> None:
    """A noisy job without a seed can be repeated at the remote with the seed it got here."""
    job = await two.near.submit(BELL, backend="far.simulator", noise=Noise(model="aria-1"), shots=200)
    result = await two.near.result(job.id, timeout_s=LIMIT_S)
    again = await two.far.submit(BELL, backend="simulator", noise=Noise(model="aria-1", seed=job.spec.seed), shots=200)
    assert result.counts == (await two.far.result(again.id, timeout_s=LIMIT_S)).counts


async def test_a_family_is_one_job_with_the_same_results(two: Pair) -> None:
    """Several circuits, one remote job, name and metadata unchanged, and the results of that job."""
    circuits = [Circuit(qubits=2, gates=(Gate("x", (0,)),)), BELL, NATIVE]
    options: dict[str, Any] = {
        "noise": Noise(model="aria-1", seed=3),
        "shots": 50,
        "name": "all",
        "metadata": {"a": "b"},
    }
    here = await two.near.submit(circuits, backend="far.simulator", **options)
    there = await two.far.submit(circuits, backend="simulator", **options)
    for service, job in ((two.near, here), (two.far, there)):
        assert (await service.wait(job.id, timeout_s=LIMIT_S)).status is JobStatus.COMPLETED
    mine, theirs = await two.near.child_results(here.id), await two.far.child_results(there.id)
    assert [result.counts for _, result in mine] == [result.counts for _, result in theirs]
    remote = [job for job in (await two.far.list_jobs()).jobs if job.id != there.id]
    assert [(job.spec.name, job.children) for job in remote] == [("all", 3)]
    assert {"a": "b"}.items() <= (remote[0].spec.metadata or {}).items()


@pytest.mark.parametrize("backend", ["simulator", "qpu.aria-1"])
async def test_seeds_that_were_drawn_for_a_family_are_the_remotes_too(two: Pair, backend: str) -> None:
    """Each circuit can be repeated at the remote, alone, with the seed it got here; equal ones differ."""
    noise = Noise(model="aria-1") if backend == "simulator" else None
    family = await two.near.submit([BELL] * 2, backend=f"far.{backend}", noise=noise, shots=200)
    await two.near.wait(family.id, timeout_s=LIMIT_S)
    results = await two.near.child_results(family.id)
    for child, result in results:
        seeded = Noise(model="ideal" if noise is None else "aria-1", seed=child.spec.seed)
        again = await two.far.submit(BELL, backend=backend, noise=seeded, shots=200)
        assert result.counts == (await two.far.result(again.id, timeout_s=LIMIT_S)).counts
    assert results[0][1].counts != results[1][1].counts


async def test_prices_come_through(two: Pair) -> None:
    """The remote's rates, its estimate and its cost model, over the HTTP API of both."""
    _, key = await two.near.accounts.add_key(two.near.project.id)
    headers = {"Authorization": f"apiKey {key}"}
    job = await two.near.submit(BELL, backend="far.lab.meter")
    assert (await two.near.wait(job.id, timeout_s=LIMIT_S)).outcome.estimated_cost == Cost(value=1.5, unit="eur")
    async with serve(two.near, "127.0.0.1", 0) as bound, ClientSession(bound.url, headers=headers) as session:
        params = {"backend": "far.lab.meter", "shots": "10", "2q_gates": "3"}
        async with session.get("/v0.4/jobs/estimate", params=params) as response:
            told = await response.json()
        assert (told["estimated_total_cost"], told["estimated_unit"]) == (1.5, "eur")
        assert told["rate_card"]["rates"][0]["job_cost_minimum"] == 1.5
        async with session.get(f"/v0.4/jobs/{job.id}") as response:
            assert (await response.json())["cost_model"] == "2QGE_operations"


async def test_costs_warnings_failures_and_cancels_come_through(two: Pair) -> None:
    """What a run cost and warned of; the code and words of a failure; cancels, in both directions."""
    job = await two.near.submit(BELL, backend="far.lab.coin", noise=Noise(model="coin"))
    job = await two.near.wait(job.id, timeout_s=LIMIT_S)
    assert (job.outcome.cost, job.outcome.warnings) == (Cost(value=0.25), ("warm",))
    metered = await two.near.submit(BELL, backend="far.lab.meter")
    assert (await two.near.wait(metered.id, timeout_s=LIMIT_S)).outcome.cost == Cost(value=1.5, unit="eur")
    failed = await two.near.submit(BELL, backend="far.lab.coin", name="fail")
    failed = await two.near.wait(failed.id, timeout_s=LIMIT_S)
    assert failed.outcome.failure is not None
    assert (failed.outcome.failure.code, failed.outcome.failure.message) == ("TooManyGates", "as it was told")
    held = [await two.near.submit(BELL, backend="far.lab.coin", name="hold") for _ in range(2)]
    await seen(two.near, "job.started", 5)
    remote = (await two.far.list_jobs(statuses=[JobStatus.STARTED])).jobs
    by_token = {next(iter((job.spec.metadata or {}).values())): job.id for job in remote}
    assert await two.near.cancel([held[0].id]) == [CancelAnswer.MOVED]
    assert (await two.far.wait(by_token[held[0].id], timeout_s=LIMIT_S)).status is JobStatus.CANCELED
    await two.far.cancel([by_token[held[1].id]])
    assert (await two.near.wait(held[1].id, timeout_s=LIMIT_S)).status is JobStatus.CANCELED


async def test_a_qpu_comes_with_its_calibration(two: Pair) -> None:
    """Calibrations of the remote are recorded here under an id of the local backend's, and jobs name theirs."""
    await seen(two.near, "backend.calibrated", 4)
    known = two.near.backends.state("far.qpu.aria-1").characterization_id
    there = two.far.backends.state("qpu.aria-1").characterization_id
    assert known == catalog.local_id("far.qpu.aria-1", there or "")
    job = await two.near.submit(BELL, backend="far.qpu.aria-1", shots=10)
    job = await two.near.wait(job.id, timeout_s=LIMIT_S)
    assert job.outcome.characterization_id == known
    assert job.outcome.execution_ms
    assert job.outcome.predicted_execution_ms
    [recorded], _ = await two.near.backends.characterizations("far.qpu.aria-1")
    assert (recorded.id, recorded.qubits) == (known, 25)


async def test_a_thousand_jobs_cost_a_thousand_requests(two: Pair) -> None:
    """One submission a job, and a few requests a second for all the rest."""
    first = await two.near.submit(BELL, backend="far.lab.coin")
    await two.near.result(first.id, timeout_s=LIMIT_S)
    before = await two.requests()
    begun = anyio.current_time()
    request = JobRequest(backend="far.lab.coin", circuits=(BELL,))
    jobs = [job for _ in range(10) for job in await two.near.submit_many([request] * 100)]
    for job in jobs:
        assert (await two.near.wait(job.id, timeout_s=120)).status is JobStatus.COMPLETED
    took_s = anyio.current_time() - begun
    made = await two.requests() - before
    assert made["POST /v0.4/jobs"] == len(jobs) == 1000
    assert made.total() <= len(jobs) + 4 * (took_s + 1), made


async def test_sdks_of_the_contract_talk_to_the_near_one(two: Pair) -> None:
    """A client of the near server's HTTP API gets the far one's results."""
    _, key = await two.near.accounts.add_key(two.near.project.id)
    async with serve(two.near, "127.0.0.1", 0) as bound, Client(bound.url, key) as client:
        job_id = await client.submit(BELL, backend="far.simulator", noise={"model": "aria-1", "seed": 5}, shots=64)
        result = await client.result(job_id, timeout_s=LIMIT_S)
        there = await two.far.submit(BELL, backend="simulator", noise=Noise(model="aria-1", seed=5), shots=64)
        assert result.counts == (await two.far.result(there.id, timeout_s=LIMIT_S)).counts


async def test_a_cloud_without_our_routes_is_polled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same server, spoken to as to any cloud: v0.4 routes alone, one listing for all jobs."""
    async with pair(monkeypatch, kind="cloud", poll_least_s=0.05, poll_most_s=0.2) as two:
        here, there = await two.both(BELL, "simulator", noise=Noise(model="aria-1", seed=9), shots=40)
        assert here.counts == there.counts
        family = await two.near.submit([BELL] * 2, backend="far.lab.coin", noise=Noise(model="coin"), shots=8)
        await two.near.wait(family.id, timeout_s=LIMIT_S)
        results = await two.near.child_results(family.id)
        assert [sum((result.counts or {}).values()) for _, result in results] == [8, 8]
        assert not any(route.startswith(("GET /events", "GET /results")) for route in await two.requests())


async def test_an_empty_configuration_serves_nothing(tmp_path: Path) -> None:
    """Installed and not configured: no backends, no files, no problem."""
    async with Orchestrator.open(tmp_path, adapters=[RemoteCloudAdapter()]) as service:
        assert service.backends.names() == []
        assert service.backends.problems == []
        assert not (tmp_path / "plugins").exists()


def test_an_empty_configuration_costs_next_to_nothing() -> None:
    """Nothing of an HTTP client is loaded where no remote is configured."""
    program = "import orchestrator_remote_cloud.adapter, sys; print('aiohttp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"


async def test_a_real_remote_that_is_not_there(unused_tcp_port: int, tmp_path: Path) -> None:
    """Nobody listens: the plugin serves nothing of it, and the service runs."""
    table = {"url": f"http://127.0.0.1:{unused_tcp_port}", "prefix": "far."}
    settings = Settings(plugins={"remote_cloud": {"remotes": {"far": table}}})
    async with Orchestrator.open(tmp_path, adapters=[RemoteCloudAdapter()], settings=settings) as service:
        assert service.backends.names() == []


async def test_a_remote_that_never_answers_does_not_hold_the_start_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listener that says nothing: the service starts without its backends."""
    monkeypatch.setattr(catalog, "OPEN_LIMIT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        table = {"url": f"http://127.0.0.1:{silent.getsockname()[1]}", "prefix": "far."}
        settings = Settings(plugins={"remote_cloud": {"remotes": {"far": table}}})
        with anyio.fail_after(10):
            async with Orchestrator.open(tmp_path, adapters=[RemoteCloudAdapter()], settings=settings) as service:
                assert service.backends.names() == []


@pytest.fixture
def unused_tcp_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

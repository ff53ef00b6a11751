"""A job is bought once, whatever happens to requests, answers and the process."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from orchestrator.backends.abc import AdapterContext
from orchestrator.lifecycle import JobStatus
from orchestrator.model import JobSpec, Noise, Stats
from orchestrator.testing.adapters import FLIP
from orchestrator.testing.clock import ManualClock
from orchestrator_remote_cloud.intents import Intents
from orchestrator_remote_cloud.submitting import question
from tests.unit.remote_cloud.scripted import (
    BACKEND,
    LOST_AFTER,
    LOST_BEFORE,
    NOT_SENT,
    Cloud,
    Fronting,
    ended,
    image,
    in_front,
    submitted,
    until,
)


@pytest.mark.parametrize("honours_keys", [True, False], ids=["keys", "no keys"])
@pytest.mark.parametrize(
    "faults",
    [
        [LOST_BEFORE],
        [LOST_AFTER],
        [LOST_AFTER, LOST_BEFORE],
        [NOT_SENT, NOT_SENT],
        [500],
        [502, LOST_AFTER],
        [503],
        [(503, {"Retry-After": "7"})],
        [429, (429, {"Retry-After": "Thu, 01 Jan 2026 00:10:00 GMT"})],
        [401],
        [403],
        [LOST_BEFORE, LOST_BEFORE, LOST_BEFORE, LOST_BEFORE],
    ],
    ids=str,
)
async def test_whatever_happens_to_requests_a_job_is_bought_once(faults: list[Any], honours_keys: bool) -> None:
    """Requests that are lost, refused for now or cut off: one remote job in the end, and its result here."""
    clock = ManualClock()
    cloud = Cloud(clock, honours_keys=honours_keys)
    kind = "orchestrator" if honours_keys else "cloud"
    async with in_front(cloud, clock, kind=kind, grace_s=30.0) as service:
        for fault in faults:
            cloud.fault(fault)
        job = await submitted(service)
        await until(lambda: bool(cloud.jobs), clock)
        cloud.end()
        job = await ended(service, job, clock)
        assert job.status is JobStatus.COMPLETED
        assert len(cloud.bodies) == 1
        assert (await service.result(job.id)).counts == {1: 100}


async def test_a_cloud_without_keys_is_given_time_to_show_a_lost_request() -> None:
    """A lost request that never arrived is repeated after the grace period, not before; looked for all the while."""
    clock = ManualClock()
    cloud = Cloud(clock)
    async with in_front(cloud, clock, grace_s=60.0) as service:
        cloud.fault(LOST_BEFORE)
        job = await submitted(service)
        await until(lambda: cloud.count("POST", "/v0.4/jobs") == 1)
        await until(lambda: clock.monotonic() > 55, clock)
        assert cloud.count("POST", "/v0.4/jobs") == 1
        assert 5 < cloud.count("GET", "/v0.4/jobs") < 60
        await until(lambda: bool(cloud.jobs), clock)
        assert clock.monotonic() >= 60
        cloud.end()
        assert (await ended(service, job, clock)).status is JobStatus.COMPLETED


async def test_an_orchestrator_is_asked_again_at_once_under_the_same_key() -> None:
    """Where keys are honoured a lost answer costs no grace period; key and bytes are the same."""
    clock = ManualClock()
    cloud = Cloud(clock, honours_keys=True)
    async with in_front(cloud, clock, kind="orchestrator", grace_s=600.0) as service:
        cloud.fault(LOST_BEFORE)
        cloud.fault(LOST_BEFORE)
        job = await submitted(service)
        await until(lambda: bool(cloud.jobs), clock)
        assert clock.monotonic() < 600
        assert cloud.tokens == [job.id]


async def test_a_lost_job_is_found_beyond_the_first_page() -> None:
    """The newest-first listing is paged back to the time of the intent."""
    clock = ManualClock()
    cloud = Cloud(clock)
    cloud.page = 5
    async with in_front(cloud, clock) as service:
        cloud.fault(LOST_AFTER)
        job = await submitted(service)
        await until(lambda: bool(cloud.jobs))
        for number in range(23):
            cloud.jobs[f"other-{number}"] = {**cloud.jobs["remote-0"], "id": f"other-{number}", "metadata": None}
        await until(lambda: cloud.count("GET", "/v0.4/jobs") >= 5, clock)
        cloud.end()
        assert (await ended(service, job, clock)).status is JobStatus.COMPLETED
        assert len(cloud.bodies) == 1


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_what_the_remote_refuses_fails_with_its_words(status: int) -> None:
    """A 400 is the job's fault; nothing is left behind."""
    clock = ManualClock()
    cloud = Cloud(clock)
    async with in_front(cloud, clock) as service:
        cloud.fault(status)
        job = await ended(service, await submitted(service), clock)
        assert job.outcome.failure is not None
        assert job.outcome.failure.code == "InvalidInput"
        assert f"as told: {status}" in job.outcome.failure.message
        assert (await ended_soon(service, cloud, clock)).status is JobStatus.COMPLETED


async def ended_soon(service: Any, cloud: Cloud, clock: ManualClock) -> Any:
    """Another job, to its end."""
    job = await submitted(service)
    await until(lambda: any(one["status"] == "ready" for one in cloud.jobs.values()), clock)
    cloud.end()
    return await ended(service, job, clock)


def hang(name: str) -> Callable[[pytest.MonkeyPatch], asyncio.Event]:
    """A step of the intents that is never reached the end of; answers when it was begun."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
        begun = asyncio.Event()

        async def hung(*_: object) -> None:
            begun.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(Intents, name, hung)
        return begun

    return patch


@pytest.mark.parametrize(
    "moment", ["intended", "sent", "made", "answered", "accepted", "started", "ended", "collected"]
)
async def test_a_crash_between_any_two_steps_buys_nothing_twice(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed there and opened again on what is on disk: one remote job, one end, the right result."""
    clock = ManualClock()
    cloud = Cloud(clock)
    data = tmp_path / "data"
    async with in_front(cloud, clock, data, grace_s=30.0) as service:
        with monkeypatch.context() as patched:
            begun = None
            if moment == "intended":
                begun = hang("add")(patched)
            elif moment == "sent":
                cloud.hold = "before"
            elif moment == "made":
                cloud.hold = "after"
            elif moment == "answered":
                begun = hang("accepted")(patched)
            elif moment == "collected":
                begun = hang("remove")(patched)
            job = await submitted(service, metadata={"team": "a"})
            if moment in {"sent", "made"}:
                await until(lambda: cloud.held == 1)
            elif moment in {"accepted", "started", "ended", "collected"}:
                await until(lambda: bool(cloud.jobs))
                await until(lambda: cloud.count("GET", "/v0.4/jobs") >= 1, clock)
                if moment != "accepted":
                    cloud.start()
                    await status_is(service, job, JobStatus.STARTED, clock)
                if moment == "ended":
                    cloud.end()
                if moment == "collected":
                    cloud.end()
            if begun is not None:
                await until(begun.is_set, clock if moment == "collected" else None)
            copy = await image(service, data, tmp_path / "copy")
    cloud.hold = None
    async with in_front(cloud, clock, copy, grace_s=30.0) as service:
        if moment != "collected":
            await until(lambda: bool(cloud.jobs), clock)
        cloud.end()
        done = await ended(service, job, clock)
        assert done.status is JobStatus.COMPLETED
        assert len(cloud.bodies) == 1
        assert (await service.result(job.id)).counts == {1: 100}
        assert {"team": "a"}.items() <= cloud.bodies["remote-0"]["metadata"].items()
        assert (await service.verify()).problems == ()


async def status_is(service: Any, job: Any, status: JobStatus, clock: ManualClock) -> None:
    """Wait for a status that is not the end."""
    async with asyncio.timeout(20):
        while (await service.get(job.id)).status is not status:
            await until(lambda: True)
            await clock.advanced(0.5)


async def test_a_stop_leaves_remote_jobs_running_and_a_start_adopts_them(tmp_path: Path) -> None:
    """No attempt is put back by a stop: the job is the same attempt before and after, and is bought once."""
    clock = ManualClock()
    cloud = Cloud(clock)
    async with in_front(cloud, clock, tmp_path) as service:
        job = await submitted(service)
        await until(lambda: bool(cloud.jobs))
        cloud.start()
        await status_is(service, job, JobStatus.STARTED, clock)
    async with in_front(cloud, clock, tmp_path) as service:
        assert (await service.get(job.id)).status is JobStatus.STARTED
        cloud.end()
        done = await ended(service, job, clock)
        assert (done.status, done.attempt) == (JobStatus.COMPLETED, 1)
        kinds = [event.kind for event in await service.store.events(0, limit=100, jobs=[job.id])]
        assert "job.requeued" not in kinds
        assert len(cloud.bodies) == 1


async def test_a_submission_says_all_that_was_asked_for() -> None:
    """Name, metadata, shots, settings, noise with the job's own seed; the token beside them."""
    clock = ManualClock()
    cloud = Cloud(clock)
    async with in_front(cloud, clock) as service:
        options: dict[str, Any] = {"name": "bell", "metadata": {"a": "b"}, "shots": 7}
        options["settings"] = {"error_mitigation": {"debiasing": False}}
        job = await submitted(service, "cloud.simulator", noise=Noise(model="aria-1"), **options)
        await until(lambda: bool(cloud.jobs))
        body = cloud.bodies["remote-0"]
        assert {name: body[name] for name in ("name", "shots", "settings")} == {
            "name": "bell",
            "shots": 7,
            "settings": options["settings"],
        }
        assert (body["backend"], body["type"]) == ("simulator", "ionq.circuit.v1")
        assert body["noise"] == {"model": "aria-1", "seed": job.spec.seed}
        assert body["metadata"].pop("a") == "b"
        [(name, token)] = body["metadata"].items()
        assert (token, name.startswith("token-"), len(name) <= 40) == (job.id, True, True)
        assert body["input"]["circuit"] == [{"gate": "x", "target": 0}]


async def test_metadata_that_leaves_no_room_for_the_token() -> None:
    """Ten entries of one's own: a cloud that knows no keys cannot have the job; an orchestrator can."""
    full = {str(number): "x" for number in range(10)}
    clock = ManualClock()
    cloud = Cloud(clock)
    async with in_front(cloud, clock) as service:
        job = await ended(service, await submitted(service, metadata=full), clock)
        assert job.outcome.failure is not None
        assert "9 are left" in job.outcome.failure.message
        assert cloud.bodies == {}
    cloud = Cloud(clock, honours_keys=True)
    async with in_front(cloud, clock, kind="orchestrator") as service:
        cloud.fault(LOST_AFTER)
        await submitted(service, metadata=full)
        await until(lambda: len(cloud.tokens) == 2, clock)
        assert [body["metadata"] for body in cloud.bodies.values()] == [full]


@pytest.mark.parametrize(
    ("estimate", "message"),
    [
        ({"estimated_total_cost": 5.5, "estimated_unit": "usd"}, "estimated to cost 5.5 usd, the limit for a job is 5"),
        ({"estimated_cost": 6, "cost_unit": "credit"}, "estimated to cost 6 credit"),
        ({}, "does not say what the job would cost"),
    ],
)
async def test_what_costs_too_much_is_never_sent(estimate: dict[str, Any], message: str) -> None:
    """The estimate comes first; above the limit, or without one, the job fails and nothing is bought."""
    clock = ManualClock()
    cloud = Cloud(clock)
    cloud.estimate = estimate
    async with in_front(cloud, clock, limit_per_job=5.0) as service:
        job = await ended(service, await submitted(service), clock)
        assert job.outcome.failure is not None
        assert job.outcome.failure.code == "QuotaExhaustedError"
        assert message in job.outcome.failure.message
        assert cloud.count("POST", "/v0.4/jobs") == 0
        cloud.estimate = {"estimated_total_cost": 4}
        assert (await ended_soon(service, cloud, clock)).status is JobStatus.COMPLETED


@pytest.mark.parametrize(
    ("settings", "asked"),
    [
        ({}, "false"),
        ({"error_mitigation": {"debiasing": False}}, "false"),
        ({"error_mitigation": {"debiasing": True}}, "true"),
    ],
)
def test_an_estimate_is_asked_for_what_the_job_is(settings: dict[str, Any], asked: str) -> None:
    """A mitigation that is switched off is none."""
    spec = JobSpec(backend="cloud.qpu", shots=700, settings=settings, stats=Stats(qubits=2, gates_1q=3, gates_2q=4))
    told = dict(question("qpu.far-1", [spec]))
    assert told["error_mitigation"] == asked
    assert (told["qubits"], told["shots"], told["1q_gates"], told["2q_gates"]) == ("2", "700", "3", "4")


async def test_a_rate_limit_is_kept() -> None:
    """A burst, then so many a second."""
    clock = ManualClock()
    cloud = Cloud(clock)
    async with in_front(cloud, clock, rate_per_s=2.0, burst=4, poll_least_s=1000.0, poll_most_s=1000.0) as service:
        for _ in range(20):
            await service.submit(FLIP, backend="cloud.qpu")
        began, before = clock.monotonic(), len(cloud.asked)
        await until(lambda: len(cloud.bodies) == 20, clock)
        assert len(cloud.asked) - before <= 4 + 2 * (clock.monotonic() - began) + 1
        assert clock.monotonic() - began >= 7


async def test_what_is_canceled_while_the_remote_is_down_is_never_bought() -> None:
    """A job that waits for the remote to come back, and is canceled meanwhile, does not reach it."""
    clock = ManualClock()
    cloud = Cloud(clock)
    async with in_front(cloud, clock) as service:
        cloud.fault(503, times=3)
        cloud.fault(503, "GET", times=20)
        job = await submitted(service)
        family = await service.submit([FLIP] * 3, backend=BACKEND)
        await until(lambda: service.backends.state(BACKEND).status == "unavailable", clock)
        children = await service.children(family.id)
        await service.cancel([job.id, children[1].id])
        await until(lambda: bool(cloud.jobs), clock, 2.0)
        await clock.advanced(300.0)
        [body] = cloud.bodies.values()
        assert len(body["input"]["circuits"]) == 2
        cloud.end()
        await ended(service, family, clock)


async def test_many_lost_ones_share_a_search() -> None:
    """A hundred submissions without an answer are looked for together, at a growing distance."""
    clock = ManualClock()
    cloud = Cloud(clock)
    async with in_front(cloud, clock, grace_s=120.0, breaker_failures=1000) as service:
        cloud.fault(LOST_BEFORE, times=100)
        for _ in range(100):
            await submitted(service)
        await until(lambda: cloud.count("POST", "/v0.4/jobs") == 100, clock, 0.05)
        await until(lambda: clock.monotonic() > 100, clock)
        assert cloud.count("POST", "/v0.4/jobs") == 100
        assert cloud.count("GET", "/v0.4/jobs") < 40
        await until(lambda: len(cloud.bodies) == 100, clock)


async def test_a_plugin_that_is_replaced_buys_nothing_twice(tmp_path: Path) -> None:
    """The new one is opened while the old one still buys: it learns what was bought when it takes over."""
    clock = ManualClock()
    cloud = Cloud(clock)

    class Late(Fronting):
        async def open(self, context: AdapterContext) -> None:
            await super().open(context)
            self.bought = await submitted(service)
            await until(lambda: len(cloud.jobs) == 2)

    async with in_front(cloud, clock, tmp_path) as service:
        first = await submitted(service)
        await until(lambda: len(cloud.jobs) == 1)
        cloud.start()
        await status_is(service, first, JobStatus.STARTED, clock)
        new = Late(cloud)
        replacing = asyncio.ensure_future(service.fleet.replace("remote_cloud", new))
        await until(replacing.done, clock)
        await replacing
        await clock.advanced(5.0)
        cloud.end()
        for job in (first, new.bought):
            assert (await ended(service, job, clock)).status is JobStatus.COMPLETED
        assert len(cloud.bodies) == 2


async def test_what_waited_too_long_for_the_remote_is_never_bought() -> None:
    """A job that the queue limit has failed does not reach the remote when that is back."""
    clock = ManualClock()
    cloud = Cloud(clock)
    async with in_front(cloud, clock, queue_limit_s=60.0) as service:
        cloud.backends = [{**backend, "status": "unavailable"} for backend in cloud.backends]
        await until(lambda: not service._dispatcher.lines[BACKEND].open, clock, 5.0)
        job = await ended(service, await submitted(service), clock, 5.0)
        assert job.status is JobStatus.FAILED
        cloud.backends = [{**backend, "status": "available"} for backend in cloud.backends]
        await until(lambda: service.backends.state(BACKEND).status == "available", clock, 5.0)
        await clock.advanced(100.0)
        assert cloud.bodies == {}


async def test_an_intent_is_written_while_the_store_writes_the_job(tmp_path: Path) -> None:
    """Of a job that is announced to an orchestrator's backend; one that never comes leaves nothing for long."""
    clock = ManualClock()
    cloud = Cloud(clock, honours_keys=True)
    adapter = Fronting(cloud)

    def tokens() -> list[str]:
        with closing(sqlite3.connect(tmp_path / "plugins" / "remote_cloud" / "intents.db")) as reading:
            return [token for (token,) in reading.execute("SELECT token FROM intents ORDER BY rowid")]

    async with in_front(cloud, clock, tmp_path, adapter=adapter, kind="orchestrator") as service:
        job = await submitted(service)
        await until(lambda: bool(cloud.jobs))
        assert cloud.tokens == [job.id]
        lost, next_one = (msgspec.structs.replace(job, id=name) for name in ("lost", "next"))
        adapter.announced(lost)
        await until(lambda: "lost" in tokens())
        await clock.advanced(6.0)
        adapter.announced(next_one)
        await until(lambda: "next" in tokens())
        await clock.advanced(1.0)
        await until(lambda: tokens() == [job.id, "next"], clock)

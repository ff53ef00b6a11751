"""Submit, look, wait, cancel, delete: what the front door promises."""

import asyncio
import itertools
import logging
import os
import random
import signal
from pathlib import Path
from typing import Any

import anyio
import pytest
import structlog

from orchestrator.backends.abc import NoiseModel
from orchestrator.circuits.ir import Circuit, Gate
from orchestrator.errors import (
    BackendNotFound,
    IdempotencyMismatch,
    InvalidRequest,
    JobCanceled,
    JobFailed,
    JobNotFound,
    OrchestratorError,
    ResultNotReady,
    Unavailable,
    WorkerLost,
)
from orchestrator.lifecycle import JobStatus
from orchestrator.model import JobRequest, Noise
from orchestrator.service import CancelAnswer, Orchestrator
from orchestrator.storage.abc import Idempotency
from orchestrator.testing.adapters import FLIP, ScriptedAdapter, serving, zeros
from orchestrator.testing.clock import ManualClock
from orchestrator.testing.uncertain import UncertainStore, turns

REQUEST = JobRequest(backend="scripted", circuits=(FLIP,))


async def test_a_single_job() -> None:
    """Submitted, run, and its result read back, with the input as it was given."""
    async with serving(ScriptedAdapter()) as service:
        job = await service.submit(FLIP, backend="scripted", shots=7, name="flip", metadata={"a": "b"})
        assert (await service.result(job.id)).counts == {0: 7}
        job = await service.get(job.id)
        assert (job.spec.name, job.spec.metadata, job.spec.stats.gates_1q) == ("flip", {"a": "b"}, 1)
        assert await service.circuit(job.id) == FLIP
        assert await service.compiled(job.id) is None
        assert await service.children(job.id) == []


async def test_a_job_of_several_circuits() -> None:
    """A parent follows its children; results come in the order of the circuits, samples are independent."""
    async with serving(ScriptedAdapter()) as service:
        circuits = [Circuit(qubits=1, gates=(Gate("h", (0,)),), name=f"c{index}") for index in range(5)]
        parent = await service.submit(circuits, backend="scripted")
        assert parent.children == 5
        assert (await service.wait(parent.id)).status is JobStatus.COMPLETED
        results = await service.child_results(parent.id)
        assert [child.spec.name for child, _ in results] == ["c0", "c1", "c2", "c3", "c4"]
        assert len({child.spec.seed for child, _ in results}) == 5
        with pytest.raises(ResultNotReady):
            await service.result(parent.id)
        with pytest.raises(JobNotFound):
            await service.circuit(parent.id)


@pytest.mark.parametrize("noise", [Noise(model="ideal", seed=5), {"model": "ideal", "seed": 5}])
async def test_a_seed_given_is_the_seed_of_every_child(noise: Any) -> None:
    """Where the submitter chose the seed, equal circuits are equal samples; noise is taken as a mapping, too."""
    adapter = ScriptedAdapter(noise_models={"ideal": NoiseModel(qubits=8)})
    async with serving(adapter) as service:
        parent = await service.submit([FLIP, FLIP], backend="scripted", noise=noise)
        assert parent.spec.noise == Noise(model="ideal", seed=5)
        assert {child.spec.seed for child in await service.children(parent.id)} == {5}


@pytest.mark.parametrize(
    "options",
    [
        {"shots": 0},
        {"shots": 1_000_001},
        {"shots": "100"},
        {"shots": True},
        {"shots": 100.0},
        {"noise": Noise(model="unheard of")},
        {"noise": {"model": "ideal", "sead": 5}},
        {"noise": {"model": 5}},
        {"noise": "ideal"},
        {"noise": Noise(seed=0)},
        {"noise": Noise(seed=2**31)},
        {"noise": Noise(seed=1.5)},  # type: ignore[arg-type]
        {"session_id": "s"},
        {"metadata": {"n": 5}},
        {"name": 5},
        {"name": "\ud800"},
        {"settings": {"x": object()}},
        {"dry_run": "no"},
    ],
    ids=itertools.count(),
)
async def test_what_could_not_be_read_back_is_refused(options: dict[str, Any]) -> None:
    """Wrong types and values out of range are refused before anything is stored."""
    adapter = ScriptedAdapter(noise_models={"ideal": NoiseModel(qubits=8)})
    async with serving(adapter) as service:
        before = service.last_cursor()
        with pytest.raises(InvalidRequest):
            await service.submit(FLIP, **{"backend": "scripted", **options})
        assert service.last_cursor() == before
        with pytest.raises(BackendNotFound, match="scripted"):
            await service.submit(FLIP, backend="other")
        with pytest.raises(InvalidRequest):
            await service.submit(JobRequest(backend="scripted", circuits=()))
        with pytest.raises(InvalidRequest):
            await service.submit(JobRequest(backend="scripted", circuits=(FLIP, FLIP)))


async def test_an_idempotency_key_is_one_job() -> None:
    """The same key and body answer the first job, another body is refused, another project has its own."""
    async with serving(ScriptedAdapter()) as service:
        first = await service.submit(REQUEST, idempotency=Idempotency("k", "body"))
        again = await service.submit(REQUEST, idempotency=Idempotency("k", "body"))
        assert again.id == first.id
        with pytest.raises(IdempotencyMismatch):
            await service.submit(REQUEST, idempotency=Idempotency("k", "other body"))
        project = (await service.accounts.add_project("other")).id
        other = await service.submit(REQUEST, project=project, idempotency=Idempotency("k", "other body"))
        assert other.id != first.id
        answers = []

        async def submit() -> None:
            answers.append(await service.submit(REQUEST, idempotency=Idempotency("race", "body")))

        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(submit)
        assert len({job.id for job in answers}) == 1
        assert service._dispatcher._inputs == {}


async def test_projects_do_not_see_each_others_jobs() -> None:
    """Of another project is the same as unknown, in every call."""
    async with serving(ScriptedAdapter()) as service:
        other = (await service.accounts.add_project("other")).id
        mine = await service.submit([FLIP], backend="scripted")
        await service.wait(mine.id)
        for job_id in (mine.id, "unknown"):
            for call in (
                service.get(job_id, project=other),
                service.children(job_id, project=other),
                service.cancel([job_id], project=other),
                service.delete([job_id], project=other),
                service.wait(job_id, project=other),
                service.result(job_id, project=other),
                service.child_results(job_id, project=other),
                service.circuit(job_id, project=other),
                service.compiled(job_id, project=other),
            ):
                with pytest.raises(JobNotFound, match=r"^job not found$"):
                    await call
        assert (await service.list_jobs(project=other, ids=[mine.id])).jobs == []
        assert (await service.list_jobs(project=other, parent_id=mine.id)).jobs == []
        assert not (await service.get(mine.id)).deleted_at


async def test_submit_many_is_all_or_nothing() -> None:
    """One bad request, and none is stored; an empty list is no work."""
    async with serving(ScriptedAdapter()) as service:
        before = service.last_cursor()
        with pytest.raises(InvalidRequest):
            await service.submit_many([REQUEST, JobRequest(backend="scripted", circuits=(FLIP,), shots=0)])
        assert await service.submit_many([]) == []
        assert service.last_cursor() == before
        jobs = await service.submit_many([REQUEST] * 20)
        assert {(await service.wait(job.id)).status for job in jobs} == {JobStatus.COMPLETED}


async def test_lists_page_from_the_newest() -> None:
    """Pages follow each other without overlap or hole; a page needs room for one."""
    async with serving(ScriptedAdapter()) as service:
        jobs = [(await service.submit(FLIP, backend="scripted")).id for _ in range(7)]
        listed, before = [], None
        while True:
            page = await service.list_jobs(limit=3, before=before)
            listed += [job.id for job in page.jobs]
            if (before := page.next) is None:
                break
        assert listed == jobs[::-1]
        with pytest.raises(InvalidRequest):
            await service.list_jobs(limit=0)


async def test_cancel_and_delete_answer_what_they_found() -> None:
    """Moved, already canceled, ended otherwise; unknown ids change nothing; deleted jobs are gone for everyone."""
    adapter = ScriptedAdapter(held=True, concurrency=1)
    async with serving(adapter) as service:
        running, waiting, family = (
            await service.submit(FLIP, backend="scripted"),
            await service.submit(FLIP, backend="scripted"),
            await service.submit([FLIP, FLIP], backend="scripted"),
        )
        with pytest.raises(JobNotFound):
            await service.cancel([waiting.id, "unknown"])
        assert (await service.get(waiting.id)).status is JobStatus.READY
        assert await service.cancel([waiting.id, family.id]) == [CancelAnswer.MOVED] * 2
        assert {child.status for child in await service.children(family.id)} == {JobStatus.CANCELED}
        with pytest.raises(JobCanceled):
            await service.result(waiting.id)
        adapter.release()
        await service.wait(running.id)
        answers = await service.cancel([running.id, waiting.id])
        assert answers == [CancelAnswer.TERMINAL, CancelAnswer.ALREADY]
        later = await service.submit([FLIP], backend="scripted")
        await service.delete([later.id, later.id, running.id])
        for job_id in (later.id, running.id):
            with pytest.raises(JobNotFound):
                await service.get(job_id)
        assert [job.id for job in (await service.list_jobs()).jobs] == [family.id, waiting.id]
        assert (await service.verify()).problems == ()


async def test_waiting_ends_in_time_and_with_the_orchestrator() -> None:
    """A wait ends with the job, its own limit, its cancellation or the orchestrator; nothing is left of it."""
    adapter = ScriptedAdapter(held=True)
    told: list[type[BaseException]] = []
    async with anyio.create_task_group() as tasks, serving(adapter) as service:
        job = await service.submit(FLIP, backend="scripted")
        with pytest.raises(TimeoutError):
            await service.wait(job.id, timeout_s=0.0)
        with pytest.raises(JobNotFound):
            await service.wait("unknown")
        with anyio.move_on_after(0):
            await service.wait(job.id)
        await turns(3)
        assert service._recent._waiters == {}

        async def told_of(call: Any) -> None:
            try:
                await call
            except OrchestratorError as error:
                told.append(type(error))

        tasks.start_soon(told_of, service.wait(job.id))
        tasks.start_soon(told_of, anext(service.events(kinds=["job.deleted"])))
        tasks.start_soon(told_of, _drained(service))
        await turns(10)
    assert told == [Unavailable] * 2
    with pytest.raises(OrchestratorError):
        await service.submit(FLIP, backend="scripted")
    with pytest.raises(Unavailable):
        await service.wait(job.id)


async def _drained(service: Orchestrator) -> None:
    async for _ in service.events("earliest", kinds=["job.deleted"]):
        pass


async def test_a_failure_is_raised_with_its_code() -> None:
    """The result of a failed job is its failure."""
    async with serving(ScriptedAdapter(answer=lambda _: RuntimeError("secret"))) as service:
        job = await service.submit(FLIP, backend="scripted")
        with pytest.raises(JobFailed) as raised:
            await service.result(job.id)
        assert raised.value.failure_code == "InternalError"
        assert "secret" not in str(raised.value)


@pytest.mark.parametrize("seed", range(15))
async def test_cancelled_anywhere_nothing_is_left(seed: int) -> None:
    """Each call, cancelled after any number of turns over a slow store, leaves no waiter, lease, input or task (D6)."""
    rng = random.Random(seed)
    clock = ManualClock()
    service = serving(ScriptedAdapter(), store=UncertainStore(clock, rng), clock=clock, seed=seed)
    async with service:
        jobs = [(await service.submit(FLIP, backend="scripted")).id]
        resting = len(asyncio.all_tasks())

        async def follow() -> None:
            async for _ in service.events("earliest"):
                await turns(1)

        for _ in range(60):
            some = rng.choice(jobs)
            calls = [
                service.submit(FLIP, backend="scripted"),
                service.submit([FLIP, FLIP], backend="scripted"),
                service.submit(REQUEST, idempotency=Idempotency(str(rng.randrange(5)), "body")),
                service.submit_many([REQUEST, REQUEST]),
                service.cancel([some]),
                service.delete([some]),
                service.wait(some),
                service.result(some),
                follow(),
                service.verify(),
            ]
            chosen = rng.randrange(len(calls))
            for index, call in enumerate(calls):
                if index != chosen:
                    call.close()
            task = asyncio.ensure_future(calls[chosen])
            await turns(rng.randrange(12))
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled() or task.exception() is None or isinstance(task.exception(), OrchestratorError)
            jobs.append((await service.submit(FLIP, backend="scripted")).id)
        await clock.advanced(20.0)
        last = await service.submit(FLIP, backend="scripted")
        await service.result(last.id)
        await clock.advanced(20.0)
        assert (await service.list_jobs(statuses=["submitted", "ready", "started"])).jobs == []  # type: ignore[list-item]
        assert service._recent._waiters == {}
        assert service._dispatcher._inputs == {}
        assert service.event_log._waiters == set()
        assert [len(line.leases) for line in service._dispatcher.lines.values()] == [0]
        assert len(asyncio.all_tasks()) <= resting
        assert (await service.verify()).problems == ()


async def test_the_owners_error_arrives_as_it_is(tmp_path: Path) -> None:
    """What the body raises is raised, not a group of it; the folder is free again, and no task or thread is left."""
    before = asyncio.all_tasks()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await _broken(tmp_path)
    assert asyncio.all_tasks() == before


async def _broken(folder: Path) -> None:
    async with serving(ScriptedAdapter(held=True), data=folder) as service:
        await service.submit(FLIP, backend="scripted")
        raise ZeroDivisionError


async def test_embedding_changes_nothing_global(tmp_path: Path) -> None:
    """Signal handlers, root logger, loop policy, environment and the loop's factory stay as they were (M1)."""

    def world() -> dict[str, Any]:
        root = logging.getLogger()
        return {
            "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
            "logging": (root.level, list(root.handlers), list(root.filters)),
            "structlog": structlog.get_config(),
            "policy": asyncio.get_event_loop_policy(),
            "environment": dict(os.environ),
            "exceptions": asyncio.get_running_loop().get_exception_handler(),
            "directory": Path.cwd(),
        }

    before = world()
    async with serving(ScriptedAdapter(), data=tmp_path) as service, serving(ScriptedAdapter()) as other:
        for each in (service, other):
            await each.result((await each.submit(FLIP, backend="scripted")).id)
        assert world() == before
    assert world() == before


async def test_the_same_seed_is_the_same_log() -> None:
    """With time and randomness injected, two runs record the same events, ids included (E4)."""

    async def run() -> list[Any]:
        clock = ManualClock()
        rng = random.Random(3)
        async with serving(
            ScriptedAdapter(
                answer=lambda attempt: WorkerLost("now and then") if attempt.number == 1 else zeros(attempt)
            ),
            store=UncertainStore(clock, rng),
            clock=clock,
            seed=4,
        ) as service:
            jobs = [await service.submit(circuits, backend="scripted") for circuits in (FLIP, [FLIP, FLIP], FLIP)]
            await clock.advanced(10.0)
            assert {(await service.wait(job.id)).status for job in jobs} == {JobStatus.COMPLETED}
            return list(await service.store.events(0, limit=1_000))

    assert await run() == await run()


async def test_a_body_that_exits_exits() -> None:
    """SystemExit of the body arrives as itself, after everything was closed."""
    with pytest.raises(SystemExit):
        await _exiting()


async def _exiting() -> None:
    async with serving(ScriptedAdapter()):
        raise SystemExit(3)

"""Backends that are paused, drained, said unavailable, or whose adapter crashes: what holds, what is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator.backends.abc import Capabilities, Emit, Ready
from orchestrator.clock import SystemClock
from orchestrator.errors import BackendNotFound, StorageError
from orchestrator.events import EventKind
from orchestrator.lifecycle import JobStatus
from orchestrator.model import Job, Standing
from orchestrator.service import Orchestrator
from orchestrator.storage.abc import Record
from orchestrator.storage.memory import MemoryStore
from orchestrator.testing.adapters import FLIP, ScriptedAdapter, serving
from orchestrator.testing.clock import ManualClock
from orchestrator.testing.uncertain import turns


async def submit(service: Orchestrator, backend: str = "scripted") -> Job:
    return await service.submit(FLIP, backend=backend)


async def told(service: Orchestrator) -> list[tuple[str, str]]:
    """Status and reason of each event about a backend, in order."""
    events = await service.store.events(0, limit=1_000, kinds=[EventKind.BACKEND_CHANGED])
    return [(event.data["status"], event.data["reason"]) for event in events if event.data]


class Speaking(ScriptedAdapter):
    """Lets the test say through it whether the backend is available."""

    async def serve(self, backend: Capabilities, ready: Ready, emit: Emit) -> None:
        self.emit = emit
        await super().serve(backend, ready, emit)


PAUSED = "paused by the operator: laser"


async def test_a_paused_backend_accepts_jobs_and_runs_none() -> None:
    """What runs goes on, what comes waits, in order; the reason is shown and told; a resume lets it all run."""
    adapter = ScriptedAdapter(held=True, concurrency=1)
    async with serving(adapter) as service:
        running = await submit(service)
        await adapter.until_seen(1)
        state = await service.fleet.pause("scripted", "laser")
        assert (state.status, state.reason, state.running) == ("unavailable", PAUSED, 1)
        waiting = [await submit(service) for _ in range(3)]
        adapter.release()
        await service.wait(running.id)
        await turns(50)
        assert len(adapter.seen) == 1
        assert {(await service.get(job.id)).status for job in waiting} == {JobStatus.READY}
        assert service.backends.state("scripted").queued == 3
        assert [place.wait_ms for place in service.forecast()] == [None, None, None]
        assert (await service.fleet.resume("scripted")).status == "available"
        await adapter.until_seen(4)
        assert [attempt.id for attempt in adapter.seen[1:]] == [job.id for job in waiting]
        for job in waiting:
            assert (await service.wait(job.id)).status is JobStatus.COMPLETED
        assert await told(service) == [("unavailable", PAUSED), ("available", "")]


async def test_a_pause_turns_no_order_around() -> None:
    """Jobs that come while lanes wait for some run after the resume as they came, before later ones."""
    adapter = ScriptedAdapter(concurrency=3)
    async with serving(adapter) as service:
        await turns(20)
        await service.fleet.pause("scripted")
        jobs = []
        for _ in range(6):
            jobs.append(await submit(service))
            await turns(20)
        await service.fleet.resume("scripted")
        await service.wait(jobs[-1].id)
        assert [attempt.id for attempt in adapter.seen] == [job.id for job in jobs]


async def test_pausing_twice_is_news_only_with_another_reason() -> None:
    """The same again changes nothing; a resume of what is not paused neither."""
    async with serving(ScriptedAdapter()) as service:
        await service.fleet.resume("scripted")
        for reason in ("laser", "laser", ""):
            await service.fleet.pause("scripted", reason)
        assert await told(service) == [("unavailable", PAUSED), ("unavailable", "paused by the operator")]
        with pytest.raises(BackendNotFound):
            await service.fleet.pause("nowhere")


async def test_nothing_is_prepared_while_paused() -> None:
    """The adapter is left alone: jobs that need its `prepare` wait as submitted."""
    adapter = ScriptedAdapter(instant_prepare=False)
    async with serving(adapter) as service:
        await service.fleet.pause("scripted")
        job = await submit(service)
        await turns(50)
        assert (await service.get(job.id)).status is JobStatus.SUBMITTED
        await service.fleet.resume("scripted")
        assert (await service.wait(job.id)).status is JobStatus.COMPLETED


async def test_a_waiting_job_can_be_canceled_while_paused() -> None:
    """Cancel works as ever, and the canceled job is never run."""
    adapter = ScriptedAdapter()
    async with serving(adapter) as service:
        await service.fleet.pause("scripted")
        gone, kept = await submit(service), await submit(service)
        await service.cancel([gone.id])
        await service.fleet.resume("scripted")
        await service.wait(kept.id)
        assert [attempt.id for attempt in adapter.seen] == [kept.id]


async def test_the_adapter_and_the_operator_hold_each_for_himself() -> None:
    """An adapter that is well again does not end a pause, a resume does not make it well; what is told is right."""
    adapter = Speaking()
    async with serving(adapter) as service:
        await turns(5)
        await adapter.emit.availability(False, "too warm")
        await adapter.emit.availability(False, "too warm")
        await service.fleet.pause("scripted", "laser")
        await adapter.emit.availability(True)
        job = await submit(service)
        await turns(50)
        assert adapter.seen == []
        await adapter.emit.availability(False)
        assert (await service.fleet.resume("scripted")).reason == "its adapter says so"
        await turns(50)
        assert adapter.seen == []
        await adapter.emit.availability(True, "not a reason")
        assert (await service.wait(job.id)).status is JobStatus.COMPLETED
        assert await told(service) == [
            ("unavailable", "too warm"),
            ("unavailable", PAUSED),
            ("unavailable", "its adapter says so"),
            ("available", ""),
        ]


async def test_words_of_an_adapter_about_itself_are_cut_to_what_can_be_stored() -> None:
    """Whatever it gives as reason can be stored and shown."""
    adapter = Speaking()
    async with serving(adapter) as service:
        await turns(5)
        words: Any = "\ud800\0" + "x" * 10**6
        await adapter.emit.availability(False, words)
        ((_, reason),) = await told(service)
        assert reason.startswith("? xxx")
        assert len(reason) == 2_000


async def test_a_feed_of_one_backend_tells_its_changes() -> None:
    """`events` filtered by backend gives its changes and no other's."""
    first, second = ScriptedAdapter("a"), ScriptedAdapter("b")
    async with serving(first, second) as service:
        begun = service.last_cursor()
        await service.fleet.pause("b", "laser")
        await service.fleet.pause("a")
        async for item in service.events(begun, backends=["a"], kinds=[EventKind.BACKEND_CHANGED]):
            assert item.event.backend == "a"  # type: ignore[union-attr]
            assert item.event.data == {"status": "unavailable", "reason": "paused by the operator"}  # type: ignore[union-attr]
            break


async def test_a_drain_waits_for_what_runs() -> None:
    """It answers true once nothing runs, false at its limit; the backend stays paused; more waits meanwhile."""
    clock, adapter = ManualClock(), ScriptedAdapter(held=True, concurrency=2)
    async with serving(adapter, clock=clock) as service:
        running = [await submit(service) for _ in range(3)]
        await adapter.until_seen(2)
        answers = []

        async def drain(timeout_s: float | None) -> None:
            answers.append(await service.fleet.drain("scripted", timeout_s))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(drain, 5.0)
            await clock.advanced(9.0)
        assert answers == [False]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(drain, None)
            await clock.advanced(6.0)
            await service.cancel([running[0].id])  # a cancel while draining empties, too
            adapter.release()
            await clock.advanced(1.0)
        assert answers == [False, True]
        assert [(await service.get(job.id)).status.value for job in running] == ["canceled", "completed", "ready"]
        assert service.backends.state("scripted").reason == "paused by the operator: drained"
        await service.fleet.resume("scripted")
        assert (await service.wait(running[2].id)).status is JobStatus.COMPLETED


async def test_a_canceled_drain_leaves_the_backend_paused() -> None:
    """Giving up the wait gives up nothing else."""
    adapter = ScriptedAdapter(held=True)
    async with serving(adapter) as service:
        await submit(service)
        await adapter.until_seen(1)
        await service.fleet.pause("scripted", "laser")
        with anyio.move_on_after(0):
            await service.fleet.drain("scripted")
        assert service.backends.state("scripted").reason == PAUSED
        adapter.release()


async def test_a_pause_outlives_the_server(tmp_path: Path) -> None:
    """Paused before a stop, paused after the start, told once; another backend is not; resumed, all jobs run."""
    adapters = ScriptedAdapter("a"), ScriptedAdapter("b")
    async with serving(*adapters, data=tmp_path, clock=SystemClock()) as service:
        await service.fleet.pause("a", "laser")
        job = await submit(service, "a")
    for _ in range(2):
        adapters = ScriptedAdapter("a"), ScriptedAdapter("b")
        async with serving(*adapters, data=tmp_path, clock=SystemClock()) as service:
            assert service.backends.state("a").reason == PAUSED
            assert service.backends.state("b").status == "available"
            await service.wait((await submit(service, "b")).id)
            assert (await service.get(job.id)).status is JobStatus.READY
            assert await told(service) == [("unavailable", PAUSED)]
    async with serving(ScriptedAdapter("a"), data=tmp_path, clock=SystemClock()) as service:
        await service.fleet.resume("a")
        assert (await service.wait(job.id)).status is JobStatus.COMPLETED


async def test_what_an_adapter_said_does_not_outlive_the_server(tmp_path: Path) -> None:
    """The next life begins available, and says so; who only looks into the folder changes nothing."""
    adapter = Speaking("a")
    async with serving(adapter, data=tmp_path, clock=SystemClock()) as service:
        await service.wait((await submit(service, "a")).id)
        await adapter.emit.availability(False, "too warm")
    async with serving(data=tmp_path, clock=SystemClock()) as service:
        await turns(50)
        assert await told(service) == [("unavailable", "too warm")]
    async with serving(Speaking("a"), data=tmp_path, clock=SystemClock()) as service:
        await service.wait((await submit(service, "a")).id)
        assert (await told(service))[1:] == [("available", "")]
    async with serving(ScriptedAdapter("b"), data=tmp_path, clock=SystemClock()) as service:
        await service.wait((await submit(service, "b")).id)
        assert (await told(service))[2:] == [("retired", "no adapter serves it")]


class Refusing(MemoryStore):
    """Cannot store what is recorded while it is full."""

    full = False

    async def record(self, operation: Record) -> None:
        await super().horizon()
        if self.full:
            raise StorageError("the disk is full")
        await super().record(operation)


async def test_a_pause_that_cannot_be_stored_is_none() -> None:
    """The operator is told; the backend is as it was. What an adapter says holds, and is told later."""
    clock, adapter = ManualClock(), Speaking()
    store = Refusing(clock)
    async with serving(adapter, store=store, clock=clock) as service:
        await turns(5)
        store.full = True
        with pytest.raises(StorageError):
            await service.fleet.pause("scripted")
        assert (await service.wait((await submit(service)).id)).status is JobStatus.COMPLETED
        await adapter.emit.availability(False, "too warm")
        job = await submit(service)
        await clock.advanced(5.0)
        assert (await service.get(job.id)).status is JobStatus.READY
        assert await told(service) == []
        store.full = False
        await clock.advanced(2.0)
        assert (await told(service))[-1] == ("unavailable", "too warm")
        assert await store.standings() == [Standing(backend="scripted", status="unavailable", reason="too warm")]


class Breaking(ScriptedAdapter):
    """Its `serve` crashes as often as the test wants."""

    crashes = 0

    async def serve(self, backend: Capabilities, ready: Ready, emit: Emit) -> None:
        if self.crashes:
            self.crashes -= 1
            await turns(2)
            raise RuntimeError("no beam")
        await super().serve(backend, ready, emit)


async def test_an_adapter_that_crashes_again_and_again_is_shown() -> None:
    """From the third crash in a row the backend is unavailable with the reason, until it has completed a job."""
    clock, adapter = ManualClock(), Breaking()
    adapter.crashes = 5
    async with serving(adapter, clock=clock, retry_base_s=1.0) as service:
        job = await submit(service)
        while adapter.crashes > 3:
            await clock.advanced(0.1)
        assert await told(service) == []
        await clock.advanced(60.0)
        assert (await service.wait(job.id)).status is JobStatus.COMPLETED
        await turns(20)
        crashing = "its adapter crashes again and again: RuntimeError: no beam"
        assert await told(service) == [("unavailable", crashing), ("available", "")]
        assert service.backends.state("scripted").status == "available"


async def test_an_adapter_that_serves_for_a_while_is_well_again() -> None:
    """Without any job, time tells."""
    clock, adapter = ManualClock(), Breaking()
    adapter.crashes = 3
    async with serving(adapter, clock=clock, retry_base_s=1.0, retry_cap_s=20.0) as service:
        while adapter.crashes:
            await clock.advanced(1.0)
        await clock.advanced(5.0)
        assert service.backends.state("scripted").status == "unavailable"
        await clock.advanced(40.0)
        assert service.backends.state("scripted").status == "available"


async def test_a_state_that_cannot_be_told_breaks_nobody_else() -> None:
    """An adapter that raises in `state` is shown as unavailable; the others are listed."""

    class Mute(ScriptedAdapter):
        def state(self, backend: str) -> Any:
            raise RuntimeError("no words")

    async with serving(Mute("mute"), ScriptedAdapter("well")) as service:
        states = {name: service.backends.state(name) for name in service.backends.names()}
        assert states["well"].status == "available"
        assert (states["mute"].status, states["mute"].reason) == ("unavailable", "its adapter raised RuntimeError")

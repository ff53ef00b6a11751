"""Adapters that are enabled, disabled and replaced while jobs wait and run: none is lost, none runs twice."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import anyio
import pytest
from structlog.testing import capture_logs

from orchestrator import opening
from orchestrator.backends import discovery, registry
from orchestrator.backends.abc import Adapter, AdapterContext, Attempt, Capabilities, Emit, Prepared, Ready
from orchestrator.clock import SystemClock
from orchestrator.errors import (
    AdapterNotFound,
    AdapterUnavailable,
    BackendRetired,
    SettingsError,
    StorageFull,
    Unavailable,
)
from orchestrator.events import EventKind
from orchestrator.lifecycle import JobStatus
from orchestrator.model import Characterization, Failure, Job
from orchestrator.service import Orchestrator
from orchestrator.settings import Settings
from orchestrator.storage.abc import Move
from orchestrator.testing.adapters import FLIP, ScriptedAdapter, serving, zeros
from orchestrator.testing.clock import ManualClock
from orchestrator.testing.uncertain import UncertainStore, turns

CALIBRATION = Characterization(
    id="c-1", backend="scripted", recorded_at=1, qubits=8, connectivity=[], fidelity={}, timing={}
)


class Counted(ScriptedAdapter):
    """Knows how often it was opened and closed, and what it was given."""

    broken = False
    opened = closed = 0
    context: AdapterContext

    async def open(self, context: AdapterContext) -> None:
        self.context = context
        self.opened += 1
        if self.broken:
            raise RuntimeError("no such device")

    async def aclose(self) -> None:
        self.closed += 1

    def initial_characterizations(self) -> Sequence[Characterization]:
        return [CALIBRATION]


class Other(Counted):
    """Of another name."""

    name = "other"


async def submit(service: Orchestrator, backend: str = "scripted") -> Job:
    return await service.submit(FLIP, backend=backend)


async def told(service: Orchestrator) -> list[tuple[str, str]]:
    """Status and reason of each event about a backend, in order."""
    events = await service.store.events(0, limit=1_000, kinds=[EventKind.BACKEND_CHANGED])
    return [(event.data["status"], event.data["reason"]) for event in events if event.data]


async def test_a_disabled_adapter_leaves_its_jobs_ready_until_one_comes() -> None:
    """What ran is put back uncounted, new submits are refused with a reason, looking and canceling go on as before."""
    old = Counted(held=True, concurrency=1)
    async with serving(old) as service:
        running, waiting, gone = [await submit(service) for _ in range(3)]
        await old.until_seen(1)
        assert await service.fleet.disable("scripted") == ["scripted"]
        assert old.closed == 1
        state = service.backends.state("scripted")
        assert (state.status, state.reason) == ("retired", "its adapter scripted is disabled")
        assert (state.queued, state.running) == (3, 0)
        with pytest.raises(BackendRetired, match="its adapter scripted is disabled"):
            await submit(service)
        await service.cancel([gone.id])
        assert [job.id for job in (await service.list_jobs(backends=["scripted"])).jobs] == [
            gone.id,
            waiting.id,
            running.id,
        ]
        job = await service.get(running.id)
        assert (job.status, job.attempt, job.failed_attempts) == (JobStatus.READY, 1, 0)
        assert [member.status for member in service.fleet.members()] == ["disabled"]
        new = Counted()
        assert await service.fleet.enable(new) == ["scripted"]
        for job, attempt in ((running, 2), (waiting, 1)):
            ended = await service.wait(job.id)
            assert (ended.status, ended.attempt, ended.failed_attempts) == (JobStatus.COMPLETED, attempt, 0)
        assert await told(service) == [
            ("unavailable", "its adapter scripted is being disabled"),
            ("retired", "its adapter scripted is disabled"),
            ("available", ""),
        ]
        assert (await service.verify()).problems == ()
    assert (old.closed, new.closed) == (1, 1)


async def test_a_replaced_adapter_ends_what_it_can() -> None:
    """Within the drain limit the old one finishes; what comes meanwhile waits for the new one, opened before."""
    clock, old, new = ManualClock(), Counted(held=True, concurrency=1), Counted()
    async with serving(old, clock=clock) as service:
        running = await submit(service)
        await old.until_seen(1)
        async with anyio.create_task_group() as tasks:

            async def replace() -> None:
                assert await service.fleet.replace("scripted", new, drain_s=60.0) == ["scripted"]

            tasks.start_soon(replace)
            await turns(30)
            assert service.backends.state("scripted").reason == "its adapter scripted is being replaced"
            waiting = await submit(service)
            assert old.closed == 0
            old.release()
            await clock.advanced(1.0)
        assert (await service.wait(running.id)).attempt == 1
        assert (await service.wait(waiting.id)).attempt == 1
        assert [[attempt.id for attempt in adapter.seen] for adapter in (old, new)] == [[running.id], [waiting.id]]
        assert (old.closed, new.closed) == (1, 0)
        assert new.context.characterizations == {"scripted": CALIBRATION}
        assert await service.store.calibrated() == ["scripted"]


class Late(Counted):
    """Its attempts are given to the test, which tells of them through `emit`, also when it should not."""

    async def serve(self, backend: Capabilities, ready: Ready, emit: Emit) -> None:
        self.ready, self.emit = ready, emit
        while True:
            self.begun(*await ready.take(1))


async def test_late_news_of_the_old_adapter_change_nothing() -> None:
    """Results, failures, progress and states told after it went are not heard; it is handed nothing."""
    old, new = Late(concurrency=1), Late()
    async with serving(old) as service:
        job = await submit(service)
        await old.until_seen(1)
        await service.fleet.replace("scripted", new)
        await new.until_seen(1)
        before = service.last_cursor()
        (first,), (second,) = old.seen, new.seen
        assert (first.number, second.number) == (1, 2)
        assert await old.emit.started([first]) == []
        await old.emit.finished([(first, zeros(first))])
        await old.emit.progress(first, 0.5)
        await old.emit.availability(False, "gone")
        with anyio.move_on_after(0):
            await old.ready.take(1)
        assert service.last_cursor() == before
        assert service.backends.state("scripted").status == "available"
        await new.emit.finished([(second, zeros(second))])
        ended = await service.wait(job.id)
        assert (ended.status, ended.attempt, ended.failed_attempts) == (JobStatus.COMPLETED, 2, 0)
        assert (await service.verify()).problems == ()


async def test_a_replacement_that_cannot_be_opened_changes_nothing() -> None:
    """The old one goes on; the new one is closed; the same for a name of a third, and for itself."""
    old, third, new = Counted(), Other("third"), Counted()
    new.broken = True
    async with serving(old, third) as service:
        with pytest.raises(AdapterUnavailable, match="no such device"):
            await service.fleet.replace("scripted", new)
        with pytest.raises(AdapterUnavailable, match="enabled already"):
            await service.fleet.replace("scripted", Other("third"))
        with pytest.raises(AdapterUnavailable, match="enabled already"):
            await service.fleet.replace("scripted", old)
        with pytest.raises(AdapterNotFound, match="scripted, other"):
            await service.fleet.replace("nobody", new)
        assert (old.closed, new.closed) == (0, 1)
        assert (await service.wait((await submit(service)).id)).status is JobStatus.COMPLETED
        assert await told(service) == []


async def test_a_new_adapter_may_serve_other_backends() -> None:
    """A backend it does not serve is retired, a new one is served; what another adapter serves stays that one's."""

    class Two(Other):
        def capabilities(self) -> Sequence[Capabilities]:
            return [Capabilities(backend=backend, qubits=8) for backend in ("b", "third")]

    async with serving(Counted("a"), ScriptedAdapter("third")) as service:
        with pytest.raises(AdapterNotFound, match="2 adapters are called scripted"):
            await service.fleet.disable("scripted")
    third = ScriptedAdapter("third")
    third.name = "third"  # type: ignore[misc]
    async with serving(Counted("a"), third) as service:
        assert await service.fleet.replace("scripted", Two()) == ["b"]
        assert (await service.wait((await submit(service, "b")).id)).status is JobStatus.COMPLETED
        await service.wait((await submit(service, "third")).id)
        assert len(third.seen) == 1
        with pytest.raises(BackendRetired):
            await submit(service, "a")
        states = {name: service.backends.state(name).status for name in service.backends.names()}
        assert states == {"a": "retired", "third": "available", "b": "available"}
        assert [problem.reason for problem in service.backends.problems] == ["backend third is already served"]


async def test_a_pause_holds_whoever_serves() -> None:
    """A backend paused before, or while, its adapter is replaced is paused after."""
    clock, old, new = ManualClock(), ScriptedAdapter(held=True), ScriptedAdapter()
    async with serving(old, clock=clock) as service:
        await submit(service)
        await old.until_seen(1)
        async with anyio.create_task_group() as tasks:

            async def replace() -> None:
                await service.fleet.replace("scripted", new, drain_s=60.0)

            tasks.start_soon(replace)
            await turns(30)
            await service.fleet.pause("scripted", "laser")
            job = await submit(service)
            old.release()
            await clock.advanced(1.0)
        await turns(50)
        assert new.seen == []
        assert service.backends.state("scripted").reason == "paused by the operator: laser"
        await service.fleet.resume("scripted")
        assert (await service.wait(job.id)).status is JobStatus.COMPLETED


@pytest.mark.parametrize("turn", range(0, 60, 2))
async def test_a_change_that_is_canceled_is_made_or_not(turn: int) -> None:
    """Whenever a replace is given up, one of both serves, the other is closed, and all jobs complete once."""
    old, new, clock = Counted(held=True, concurrency=1), Counted(), ManualClock()
    async with serving(old, store=UncertainStore(clock, random.Random(turn)), clock=clock) as service:
        jobs = [await submit(service) for _ in range(3)]
        await old.until_seen(1)
        scope = anyio.CancelScope()

        async def replace() -> None:
            with scope:
                await service.fleet.replace("scripted", new, drain_s=0.0)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(replace)
            await turns(turn)
            scope.cancel()
        served = service.backends.adapter("scripted")
        assert [adapter.opened - adapter.closed for adapter in (old, new)] == [served is old, served is new]
        assert service.backends.state("scripted").status == "available"
        old.release()
        for job in jobs:
            ended = await service.wait(job.id)
            assert (ended.status, ended.failed_attempts) == (JobStatus.COMPLETED, 0)
        assert (await service.verify()).problems == ()


async def test_a_canceled_disable_gives_the_backend_back() -> None:
    """Given up while it drains, all is as it was, and told so."""
    old = Counted(held=True)
    async with serving(old) as service:
        job = await submit(service)
        await old.until_seen(1)
        async with anyio.create_task_group() as tasks:

            async def disable() -> None:
                await service.fleet.disable("scripted", drain_s=1e6)

            tasks.start_soon(disable)
            await turns(30)
            assert service.backends.state("scripted").status == "unavailable"
            tasks.cancel_scope.cancel()
        old.release()
        assert (await service.wait(job.id)).attempt == 1
        assert [status for status, _ in await told(service)] == ["unavailable", "available"]
        assert old.closed == 0


async def test_closing_gives_a_change_up() -> None:
    """An orchestrator that closes waits for no drain: the change is refused, and so is every later one."""
    refused: list[Exception] = []
    old = Counted(held=True)
    clock = SystemClock()
    async with anyio.create_task_group() as tasks, serving(old, clock=clock) as service:
        await submit(service)
        await old.until_seen(1)

        async def disable() -> None:
            try:
                await service.fleet.disable("scripted", drain_s=1e6)
            except Unavailable as error:
                refused.append(error)

        tasks.start_soon(disable)
        await turns(30)
    assert len(refused) == 1
    assert old.closed == 1
    with pytest.raises(Unavailable):
        await service.fleet.disable("scripted")


class Deaf(Counted):
    """Does not stop when it is told to."""

    async def serve(self, backend: Capabilities, ready: Ready, emit: Emit) -> None:
        self.begun(*await ready.take(1))
        with anyio.CancelScope(shield=True):
            await self._gate.wait()


async def test_an_adapter_that_does_not_stop_or_close_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the limit its jobs are put back and the next one serves."""
    monkeypatch.setattr("orchestrator.dispatch.supervising.STOP_LIMIT_S", 0.01)
    monkeypatch.setattr(registry, "CLOSE_LIMIT_S", 0.01)

    class Stuck(Deaf):
        async def aclose(self) -> None:
            await anyio.sleep_forever()

    old, new = Stuck(held=True), Counted()
    async with serving(old) as service:
        job = await submit(service)
        await old.until_seen(1)
        await service.fleet.replace("scripted", new)
        ended = await service.wait(job.id)
        assert (ended.status, ended.attempt, ended.failed_attempts) == (JobStatus.COMPLETED, 2, 0)
        old.release()


async def test_an_adapter_that_does_not_open_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """At run time and at start: it is reported after the limit, closed, and takes nothing else down."""
    monkeypatch.setattr(registry, "OPEN_LIMIT_S", 0.01)

    class Slow(Other):
        async def open(self, context: AdapterContext) -> None:
            await anyio.sleep_forever()

    class Odd(Other):
        def capabilities(self) -> Any:
            return ["simulator"]

    slow = Slow()
    async with serving(slow, ScriptedAdapter("well")) as service:
        assert slow.closed == 1
        assert [member.status for member in service.fleet.members()] == ["unavailable", "enabled"]
        with pytest.raises(AdapterUnavailable, match="did not open within"):
            await service.fleet.enable(Slow())
        with pytest.raises(AdapterUnavailable, match="answers a str"):
            await service.fleet.enable(Odd())
        assert await service.fleet.enable(Other("other")) == ["other"]
        assert service.backends.problems == []
        with pytest.raises(AdapterUnavailable, match="enabled already"):
            await service.fleet.enable(Other("more"))


class Remote(Late):
    """Its jobs run elsewhere: they outlive it, and the next one takes them over."""

    def __init__(self, running: bool) -> None:
        super().__init__(recovers=True)
        self.running = running
        self.recovered: list[Attempt] = []

    async def recover(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        self.recovered += attempts
        return list(attempts) if self.running else []


@pytest.mark.parametrize("running", [True, False])
async def test_what_runs_elsewhere_is_adopted_by_the_next(running: bool) -> None:
    """It stays started over a change; the new adapter goes on with it, or it is run again."""
    old, new = Remote(True), Remote(running)
    async with serving(old) as service:
        job = await submit(service)
        await old.until_seen(1)
        await service.fleet.disable("scripted", drain_s=1e6)
        assert (await service.get(job.id)).status is JobStatus.STARTED
        await service.fleet.enable(new)
        assert [attempt.id for attempt in new.recovered] == [job.id]
        if not running:
            await new.until_seen(1)
        (attempt,) = new.recovered if running else new.seen
        assert attempt.number == (1 if running else 2)
        await old.emit.finished([(old.seen[0], zeros(old.seen[0]))])
        assert (await service.get(job.id)).status is JobStatus.STARTED
        await turns(5)  # it is served
        await new.emit.finished([(attempt, zeros(attempt))])
        ended = await service.wait(job.id)
        assert (ended.status, ended.attempt, ended.failed_attempts) == (JobStatus.COMPLETED, attempt.number, 0)


async def test_what_was_being_prepared_is_prepared_again() -> None:
    """A compilation under way when its adapter goes is done by the next one."""

    class Preparing(Counted):
        def __init__(self, *, stuck: bool) -> None:
            super().__init__(instant_prepare=False)
            self.stuck = stuck
            self.asked = anyio.Event()

        async def prepare(self, attempts: Sequence[Attempt]) -> list[Prepared | Failure]:
            self.asked.set()
            if self.stuck:
                await anyio.sleep_forever()
            return [Prepared(compiled=attempt.input) for attempt in attempts]

    old = Preparing(stuck=True)
    async with serving(old) as service:
        job = await submit(service)
        await old.asked.wait()
        await service.fleet.replace("scripted", Preparing(stuck=False))
        ended = await service.wait(job.id)
        assert (ended.status, ended.attempt) == (JobStatus.COMPLETED, 1)


async def test_a_store_that_fails_loses_no_job_of_a_disabled_adapter(monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be put back in time is found when the backend is served again."""
    monkeypatch.setattr("orchestrator.dispatch.dispatcher.PUT_BACK_LIMIT_S", 0.01)
    old = Late()
    async with serving(old) as service:
        job = await submit(service)
        await old.until_seen(1)

        async def full(moves: Sequence[Move]) -> list[bool]:
            raise StorageFull

        monkeypatch.setattr(service._dispatcher.lines["scripted"], "apply", full)
        await service.fleet.disable("scripted")
        assert (await service.get(job.id)).status is JobStatus.STARTED
        await service.fleet.enable(ScriptedAdapter())
        ended = await service.wait(job.id)
        assert (ended.status, ended.attempt, ended.failed_attempts) == (JobStatus.COMPLETED, 2, 0)


@pytest.mark.parametrize("patience_s", [30.0, 0.01])
async def test_a_job_that_begins_while_its_adapter_goes_is_ready_again(
    patience_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit that lets it begin is waited for; one that takes too long puts the job back when it is through."""
    monkeypatch.setattr("orchestrator.dispatch.dispatcher.PUT_BACK_LIMIT_S", patience_s)
    old, new = Counted(), Counted()
    async with serving(old, data=tmp_path) as service:
        await service.wait((await submit(service)).id)
        await turns(20)
        connection: Any = service.store._writer._connection  # type: ignore[attr-defined]
        run, reached, gate = connection.run, anyio.Event(), anyio.Event()

        async def held(*arguments: Any) -> Any:
            reached.set()
            await gate.wait()
            return await run(*arguments)

        monkeypatch.setattr(connection, "run", held)
        gone = anyio.Event()

        async def disable() -> None:
            await service.fleet.disable("scripted")
            gone.set()

        # Nothing is told of the change before the submit is through: that is another commit.
        monkeypatch.setattr(service.fleet._standings, "tell", untold)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(submit, service)
            await reached.wait()
            tasks.start_soon(disable)
            line = service._dispatcher.lines["scripted"]
            assert line.busy == 1
            if patience_s > 1:
                await turns(100)
                assert "scripted" in service._dispatcher.lines
            else:
                await gone.wait()
            gate.set()
        monkeypatch.undo()
        (job, _) = (await service.list_jobs()).jobs
        async for _ in service.events("earliest", jobs=[job.id], kinds=[EventKind.JOB_REQUEUED]):
            break
        await service.fleet.enable(new)
        ended = await service.wait(job.id)
        assert (ended.status, ended.attempt, ended.failed_attempts) == (JobStatus.COMPLETED, 2, 0)
        assert len(old.seen) == len(new.seen) == 1
        assert (await service.verify()).problems == ()


async def untold(*_backends: str) -> None:
    """Tells nobody."""


class Installed(Counted):
    """What the entry point below makes."""

    made: ClassVar[list[Installed]] = []

    def __init__(self) -> None:
        super().__init__()
        self.made.append(self)


def installing(monkeypatch: pytest.MonkeyPatch, **factories: Callable[[], Adapter]) -> None:
    """Let these be the installed adapters."""

    class Point:
        def __init__(self, name: str, factory: Callable[[], Adapter]) -> None:
            self.name = name
            self.load = lambda: factory
            self.value = "tests:factory"

    points: Any = {name: Point(name, factory) for name, factory in factories.items()}
    found: dict[str, EntryPoint] = points
    for module in discovery, opening:
        monkeypatch.setattr(module, "installed", lambda: found)


async def test_a_restarted_adapter_reads_its_settings_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By its name, from its entry point; without settings that can be read, or without a plugin, nothing changes."""
    installing(monkeypatch, scripted=Installed)
    monkeypatch.setattr(Installed, "made", [])
    reading: list[Any] = [Settings(plugins={"scripted": {"power": 2}}), SettingsError("settings.toml: no")]

    def reread() -> Settings:
        found = reading.pop(0)
        if isinstance(found, Exception):
            raise found
        settings: Settings = found
        return settings

    opened = Orchestrator.open(tmp_path, settings=Settings(plugins={"scripted": {"power": 1}}), reread=reread)
    async with opened as service:
        assert await service.fleet.restart("scripted") == ["scripted"]
        assert [adapter.context.settings for adapter in Installed.made] == [{"power": 1}, {"power": 2}]
        with pytest.raises(SettingsError):
            await service.fleet.restart("scripted")
        reading.append(Settings())
        installing(monkeypatch)
        with pytest.raises(AdapterUnavailable, match="not installed"):
            await service.fleet.restart("scripted")
        assert [adapter.closed for adapter in Installed.made] == [1, 0]
        assert (await service.wait((await submit(service)).id)).status is JobStatus.COMPLETED


def exiting() -> Adapter:
    raise SystemExit(1)


async def test_a_plugin_that_exits_takes_nothing_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at start, and not when it is enabled; the reason is told."""
    installing(monkeypatch, bad=exiting, scripted=Installed)
    async with Orchestrator.open() as service:
        assert [(member.name, member.status) for member in service.fleet.members()] == [
            ("bad", "unavailable"),
            ("scripted", "enabled"),
        ]
        with pytest.raises(AdapterUnavailable, match="SystemExit"):
            await service.fleet.enable("bad")


async def test_what_the_operator_does_is_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line a change, at info, with the backend or the adapter; a resume of what is not paused is none."""
    installing(monkeypatch, scripted=ScriptedAdapter)
    async with serving(ScriptedAdapter()) as service:
        fleet = service.fleet
        with capture_logs() as lines:
            await fleet.pause("scripted", "tea")
            await fleet.resume("scripted")
            await fleet.resume("scripted")
            await fleet.drain("scripted")
            await fleet.restart("scripted")
            await fleet.disable("scripted")
            await fleet.enable("scripted")
            await fleet.replace("scripted", ScriptedAdapter())
        told = [line for line in lines if line["log_level"] == "info"]
        assert [(line["event"], line.get("backend") or line["adapter"]) for line in told] == [
            ("backend paused", "scripted"),
            ("backend resumed", "scripted"),
            ("backend paused", "scripted"),
            ("backend drained", "scripted"),
            ("adapter restarted", "scripted"),
            ("adapter disabled", "scripted"),
            ("adapter enabled", "scripted"),
            ("adapter replaced", "scripted"),
        ]

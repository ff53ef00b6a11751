"""Hooks of a whole orchestrator, over both stores, with a channel that keeps what it is given."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from orchestrator import Circuit, Gate, JobRequest, JobStatus, Orchestrator
from orchestrator.backends.abc import Attempt
from orchestrator.errors import ChannelUnavailable, ExecutionError, HookNotFound, InvalidRequest
from orchestrator.events import Event, EventKind
from orchestrator.hooks import Hook
from orchestrator.model import Result
from orchestrator.notify.abc import Attempted, Verdict
from orchestrator.testing.adapters import ScriptedAdapter
from orchestrator.testing.channels import DELIVERED, RecordingChannel

BELL = Circuit(qubits=2, gates=(Gate("h", (0,)), Gate("x", (1,), (0,))))
TO = {"to": "someone"}

Open = Callable[..., Orchestrator]


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for something that is written behind the delivery."""
    with anyio.fail_after(10):
        while not await holds():
            pass


async def logged(orchestrator: Orchestrator, hook: Hook, number: int) -> bool:
    return len(await orchestrator.hooks.log(hook.id)) >= number


def failing() -> ScriptedAdapter:
    return ScriptedAdapter(answer=lambda attempt: ExecutionError("SimulationError", "it broke"))


@pytest.fixture(params=["memory", "sqlite"])
def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens orchestrators over the same store, as far as that store outlives its orchestrator."""
    data = tmp_path / "data" if request.param == "sqlite" else None

    def opened(channel: RecordingChannel, adapter: ScriptedAdapter | None = None) -> Orchestrator:
        return Orchestrator.open(data, adapters=[adapter or ScriptedAdapter()], channels=[channel])

    return opened


async def test_failure_reaches_the_channel(opening: Open) -> None:
    """By default a hook tells of failed jobs, once each, with the job, its project and the failure; the log says so."""
    channel = RecordingChannel()
    async with opening(channel, failing()) as orchestrator:
        hook = await orchestrator.hooks.add("recording", TO)
        job = await orchestrator.submit(BELL, backend="scripted")
        (told,) = await channel.received(1)
        assert told.event.kind is EventKind.JOB_FAILED
        assert told.event.data == {"failure": {"code": "SimulationError", "message": "it broke"}}
        assert told.job == await orchestrator.get(job.id)
        assert told.project == orchestrator.project
        assert channel.attempts[0][0] == {"to": "someone", "secret": "drawn by the channel"}
    assert hook.kinds == (EventKind.JOB_FAILED,)
    assert len(channel.attempts) == 1


async def test_delivery_log(opening: Open) -> None:
    """Every attempt stands in the hook's log, latest first; what was delivered waits no more."""
    channel = RecordingChannel()
    async with opening(channel) as orchestrator:
        hook = await orchestrator.hooks.add("recording", TO, kinds=["job.submitted", "job.completed"])
        job = await orchestrator.submit(BELL, backend="scripted")
        await channel.received(2)
        await until(lambda: logged(orchestrator, hook, 2))
        lines = await orchestrator.hooks.log(hook.id)
        assert [line.kind for line in lines] == ["job.completed", "job.submitted"]
        assert {(line.verdict, line.detail, line.number, line.job_id) for line in lines} == {
            ("delivered", "kept", 1, job.id)
        }
        assert await orchestrator.hooks.pending(hook.id) == []
        assert (await orchestrator.hooks.log(hook.id, before=lines[0].position)) == lines[1:]


async def test_projects_are_kept_apart(opening: Open) -> None:
    """A hook tells of its own project's jobs alone, and looks unknown from every other."""
    channel = RecordingChannel()
    async with opening(channel) as orchestrator:
        other = await orchestrator.accounts.add_project("other")
        ours = await orchestrator.hooks.add("recording", {"to": "ours"}, kinds="job.completed")
        theirs = await orchestrator.hooks.add("recording", {"to": "theirs"}, kinds="job.completed", project=other.id)
        mine = await orchestrator.submit(BELL, backend="scripted")
        foreign = await orchestrator.submit(BELL, backend="scripted", project=other.id)
        await channel.received(2)
        told = {target["to"]: [each.job for each in notifications] for target, notifications in channel.attempts}
        assert told == {
            "ours": [await orchestrator.get(mine.id)],
            "theirs": [await orchestrator.get(foreign.id, project=other.id)],
        }
        assert orchestrator.hooks.list() == [ours]
        assert orchestrator.hooks.list(project=other.id) == [theirs]
        for call in (
            orchestrator.hooks.test,
            orchestrator.hooks.log,
            orchestrator.hooks.dead,
            orchestrator.hooks.remove,
        ):
            with pytest.raises(HookNotFound):
                await call(theirs.id)
        with pytest.raises(HookNotFound):
            await orchestrator.hooks.redeliver(theirs.id)


async def test_multi_circuit_jobs_are_told_as_one(opening: Open) -> None:
    """A job of several circuits is told of once, its circuits only to a hook that asked for them."""
    channel = RecordingChannel()
    async with opening(channel) as orchestrator:
        await orchestrator.hooks.add("recording", {"to": "one"}, kinds="job.completed")
        await orchestrator.hooks.add("recording", {"to": "all"}, kinds="job.completed", children=True)
        job = await orchestrator.submit([BELL] * 3, backend="scripted")
        await channel.received(5)
        told = {"one": [], "all": []}  # type: dict[str, list[str | None]]
        for target, notifications in channel.attempts:
            told[target["to"]] += [each.event.job_id for each in notifications]
        assert told["one"] == [job.id]
        children = {child.id for child in await orchestrator.children(job.id)}
        assert set(told["all"]) == {job.id, *children}
        assert told["all"][-1] == job.id


async def test_results_come_along_where_wanted(opening: Open) -> None:
    """A channel that wants results gets those of completed single-circuit jobs."""
    channel = RecordingChannel(wants_results=True)
    async with opening(channel) as orchestrator:
        await orchestrator.hooks.add("recording", TO, kinds=["job.started", "job.completed"])
        job = await orchestrator.submit(BELL, backend="scripted")
        started, completed = await channel.received(2)
        assert started.result is None
        assert completed.result == await orchestrator.fetch_result(job.id)


async def test_an_ended_family_is_told_with_its_circuits(opening: Open) -> None:
    """How many circuits ended how, and the first few with results, those that failed among them; where the mail is
    about one job that ended, and the channel wants results.
    """

    def answer(attempt: Attempt) -> Result | Exception:
        broken = attempt.circuit.qubits == 9
        return ExecutionError("SimulationError", "too wide") if broken else Result(qubits=2, probabilities={0: 1.0})

    channel = RecordingChannel(wants_results=True)
    async with opening(channel, ScriptedAdapter(answer=answer, concurrency=1)) as orchestrator:
        await orchestrator.hooks.add("recording", TO, kinds=["job.completed", "job.failed", "job.started"])
        for widths in ([1] * 8, [1] * 7 + [9, 1]):
            circuits = [Circuit(qubits=width, gates=(Gate("h", (width - 1,)),)) for width in widths]
            await orchestrator.wait((await orchestrator.submit(circuits, backend="scripted")).id)
        begun, completed, _, failed = await channel.received(4)
    assert (begun.ended, begun.parts) == ({}, [])
    assert completed.ended == {JobStatus.COMPLETED: 8}
    assert [part.job.child_index for part in completed.parts] == [0, 1, 2, 3, 4, 5]
    for part in completed.parts:
        assert part.result is not None
        assert part.result.probabilities == {0: 1.0}
    assert failed.ended == {JobStatus.COMPLETED: 7, JobStatus.FAILED: 1, JobStatus.CANCELED: 1}
    assert [part.job.child_index for part in failed.parts] == [0, 1, 2, 3, 4, 7]
    assert failed.parts[-1].result is None
    assert failed.parts[0].result is not None


async def test_deleted_job_is_told_without_its_content(opening: Open) -> None:
    """A deletion can be told of; the job itself is gone by then."""
    channel = RecordingChannel()
    async with opening(channel) as orchestrator:
        await orchestrator.hooks.add("recording", TO, kinds="job.deleted")
        job = await orchestrator.submit(BELL, backend="scripted")
        await orchestrator.delete([job.id])
        (told,) = await channel.received(1)
        assert (told.event.kind, told.event.job_id, told.job) == (EventKind.JOB_DELETED, job.id, None)


async def test_changed_and_removed_hooks(opening: Open) -> None:
    """Changes hold from the next event on; secrets stay unless changed; a removed hook is gone for good."""
    channel = RecordingChannel()
    async with opening(channel) as orchestrator:
        hooks = orchestrator.hooks
        hook = await hooks.add("recording", TO, kinds="job.completed", name="a*")
        shown = await hooks.shown(hook)
        assert shown.target == {"to": "someone", "secret": "***"}
        changed = await hooks.update(hook.id, target={"to": "other"}, name="b*")
        assert changed.target == {"to": "other", "secret": "drawn by the channel"}
        assert hooks.get(hook.id) == changed
        for name in ("a1", "b1"):
            job = await orchestrator.submit(BELL, backend="scripted", name=name)
            await orchestrator.wait(job.id)
        (told,) = await channel.received(1)
        assert (told.event.job_id, channel.attempts[0][0]["to"]) == (job.id, "other")
        off = await hooks.update(hook.id, enabled=False)
        assert off.disabled_reason == "disabled by hand"
        with pytest.raises(InvalidRequest, match="disabled"):
            await hooks.redeliver(hook.id)
        await orchestrator.result((await orchestrator.submit(BELL, backend="scripted", name="b2")).id)
        assert await hooks.pending(hook.id) == []
        await hooks.update(hook.id, enabled=True)
        await hooks.remove(hook.id)
        with pytest.raises(HookNotFound):
            hooks.get(hook.id)
        await orchestrator.result((await orchestrator.submit(BELL, backend="scripted", name="b3")).id)
    assert len(channel.attempts) == 1


async def test_families_of_kinds_and_short_names() -> None:
    """`job.*` stands for its kinds, the short name of a machine for it; a filter that changes is held to the same."""
    async with Orchestrator.open(
        adapters=[ScriptedAdapter("qpu.aria-1")], channels=[RecordingChannel()]
    ) as orchestrator:
        hooks = orchestrator.hooks
        hook = await hooks.add("recording", TO, kinds=["backend.changed", "job.*"], backend="aria-1")
        assert hook.backend == "qpu.aria-1"
        assert hook.kinds == (*(kind for kind in EventKind if kind.startswith("job.")), EventKind.BACKEND_CHANGED)
        with pytest.raises(InvalidRequest, match=r"available: qpu\.aria-1"):
            await hooks.update(hook.id, backend="nowhere")
        assert (await hooks.update(hook.id, backend="aria-1", kinds="backend.*")).backend == "qpu.aria-1"
        assert (await hooks.update(hook.id, backend=None)).backend is None
    async with Orchestrator.open(adapters=[], channels=[RecordingChannel()]) as looking:  # it knows no backends
        assert (await looking.hooks.add("recording", TO, backend="qpu.aria-1")).backend == "qpu.aria-1"


async def test_test_fire(opening: Open) -> None:
    """A test is delivered at once, past a queue that is stuck, and answered and logged as it went."""
    refusal = Attempted(verdict=Verdict.RETRY, detail="HTTP 500")
    channel = RecordingChannel(refusal, DELIVERED, Attempted(verdict=Verdict.GONE, detail="HTTP 410"))
    async with opening(channel, failing()) as orchestrator:
        hook = await orchestrator.hooks.add("recording", TO)
        await orchestrator.submit(BELL, backend="scripted")
        await until(lambda: logged(orchestrator, hook, 1))
        assert await orchestrator.hooks.test(hook.id) == DELIVERED
        assert [each.event.kind for each in channel.delivered] == [EventKind.HOOK_TEST]
        assert (await orchestrator.hooks.test(hook.id)).verdict is Verdict.GONE
        assert orchestrator.hooks.get(hook.id).disabled_at is None
        assert [line.verdict for line in await orchestrator.hooks.log(hook.id)] == ["gone", "delivered", "retry"]


async def test_dead_deliveries_are_redelivered(opening: Open) -> None:
    """A rejected delivery is listed as dead; redelivered, it arrives under its old id."""
    channel = RecordingChannel(Attempted(verdict=Verdict.REJECTED, detail="550"))
    async with opening(channel, failing()) as orchestrator:
        hook = await orchestrator.hooks.add("recording", TO)
        await orchestrator.submit(BELL, backend="scripted")
        await until(lambda: logged(orchestrator, hook, 1))
        (dead,) = await orchestrator.hooks.dead(hook.id)
        assert dead.detail == "550"
        assert await orchestrator.hooks.redeliver(hook.id) == 1
        assert [each.id for each in await channel.received(1)] == [dead.id]
        await until(lambda: logged(orchestrator, hook, 2))
        assert await orchestrator.hooks.redeliver(hook.id, dead.id) == 1
        assert [each.id for each in await channel.received(2)] == [dead.id] * 2


@pytest.mark.parametrize(
    ("arguments", "member"),
    [
        ({"target": {}}, "target.to"),
        ({"kinds": ["job.done"]}, "kinds"),
        ({"kinds": []}, "kinds"),
        ({"name": ""}, "name"),
        ({"tag": "x" * 201}, "tag"),
        ({"channel": "pigeon"}, "channel"),
        ({"backend": "nowhere"}, "backend"),
        ({"backend": ""}, "backend"),
        ({"kinds": ["job.*", "hook.test"]}, "kinds"),
    ],
)
async def test_wrong_hooks_are_refused(arguments: dict[str, object], member: str) -> None:
    """A hook that could not work is refused by the name of what is wrong, and nothing is kept."""
    async with Orchestrator.open(adapters=[ScriptedAdapter()], channels=[RecordingChannel()]) as orchestrator:
        given = {"channel": "recording", "target": TO, **arguments}
        with pytest.raises(InvalidRequest) as refusal:
            await orchestrator.hooks.add(**given)  # type: ignore[arg-type]
        assert refusal.value.fields == (member,)
        assert orchestrator.hooks.list() == []


async def test_hooks_per_project_are_bounded() -> None:
    """A project cannot fill the memory with hooks."""
    async with Orchestrator.open(adapters=[], channels=[RecordingChannel()]) as orchestrator:
        for _ in range(100):
            await orchestrator.hooks.add("recording", TO)
        with pytest.raises(InvalidRequest, match="at most 100"):
            await orchestrator.hooks.add("recording", TO)
        other = await orchestrator.accounts.add_project("other")
        await orchestrator.hooks.add("recording", TO, project=other.id)


async def test_broken_channel_is_reported_by_name() -> None:
    """A channel that does not open is named with its reason; hooks of others work on."""

    class Broken(RecordingChannel):
        name = "broken"

        async def open(self, context: object) -> None:
            raise OSError("no such host")

    async with Orchestrator.open(adapters=[], channels=[Broken(), RecordingChannel()]) as orchestrator:
        with pytest.raises(ChannelUnavailable, match="'broken' is unavailable: OSError: no such host"):
            await orchestrator.hooks.add("broken", TO)
        hook = await orchestrator.hooks.add("recording", TO)
        assert await orchestrator.hooks.test(hook.id) == DELIVERED


def sequence_of(message_id: str) -> int:
    """Of the event that a message tells."""
    return int(message_id.split("_")[1])


async def test_every_crash_image_delivers_everything(tmp_path: Path) -> None:
    """Whatever moment a machine stops at: the restarted server delivers what was committed, under the same ids.

    What had not been committed happens again, later, as events of their own.
    """
    images: list[Path] = []
    reached: list[int] = []
    data = tmp_path / "data"

    async def photograph(*_: object) -> Attempted:
        """Between the commit and the record; the writer is idle, so the copy is what a crash would leave."""
        image = tmp_path / f"image-{len(images)}"
        shutil.copytree(data, image, ignore=shutil.ignore_patterns("*.sock"))
        images.append(image)
        reached.append(orchestrator.event_log.newest)
        return DELIVERED

    channel = RecordingChannel(answer=photograph)
    async with Orchestrator.open(data, adapters=[failing()], channels=[channel]) as orchestrator:
        hook = await orchestrator.hooks.add("recording", TO)
        for _ in range(4):
            await orchestrator.wait((await orchestrator.submit(BELL, backend="scripted")).id)
        ids = [each.id for each in await channel.received(4)]
        await until(lambda: logged(orchestrator, hook, 4))
    for number, image in enumerate(images):
        again = RecordingChannel()
        async with Orchestrator.open(image, adapters=[failing()], channels=[again]) as restarted:
            assert (await again.received(1))[0].id == ids[number]
            await until(partial(drained, restarted, hook))
            found = [each.id for each in again.delivered]
            committed = [each for each in ids[number:] if sequence_of(each) <= reached[number]]
            assert found[: len(committed)] == committed
            assert all(sequence_of(each) > reached[number] for each in found[len(committed) :])
            assert len(set(found)) == len(found)
            assert (await restarted.verify()).problems == ()
    silent = RecordingChannel()
    async with Orchestrator.open(data, adapters=[failing()], channels=[silent]) as restarted:
        assert await restarted.hooks.pending(hook.id) == []
    assert silent.attempts == []


async def drained(orchestrator: Orchestrator, hook: Hook) -> bool:
    return await orchestrator.hooks.pending(hook.id) == []


async def test_in_process_hooks() -> None:
    """Functions registered before and after opening are called with each event, and are done when all is closed."""
    before, after = list[Event](), list[Event]()
    orchestrator = Orchestrator.open(adapters=[ScriptedAdapter()])

    @orchestrator.on("job.completed")
    async def note(event: Event) -> None:
        await anyio.lowlevel.checkpoint()
        before.append(event)

    async def stumble(event: Event) -> None:
        after.append(event)
        raise RuntimeError("not the job's problem")

    async with orchestrator:
        assert orchestrator.on(["job.submitted", "job.failed"], stumble) is stumble
        jobs = await orchestrator.submit_many([JobRequest(backend="scripted", circuits=(BELL,))] * 20)
        for job in jobs:
            await orchestrator.result(job.id)
    assert {event.job_id for event in before} == {job.id for job in jobs}
    assert [event.sequence for event in before] == sorted(event.sequence for event in before)
    assert [event.kind for event in after] == [EventKind.JOB_SUBMITTED] * 20

"""The conformance kit of channels: `CHECKS`, one coroutine function for each promise of `orchestrator.notify.abc`.

Each takes a `Bench`, which holds a new channel, its settings, and targets that it must accept or refuse:

    for check in CHECKS:
        await check(Bench(MyChannel, settings={...}, good=[...], bad=[...]))

and raises AssertionError where the channel breaks its word. `notification` makes notifications to test with.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import anyio
import msgspec

from orchestrator.clock import Clock, SystemClock
from orchestrator.errors import InvalidRequest, SettingsError
from orchestrator.events import Event, EventKind
from orchestrator.lifecycle import JobStatus
from orchestrator.model import Failure, Job, JobSpec, Outcome, Project, Result, Stats
from orchestrator.notify.abc import Attempted, Channel, ChannelContext, Notification, Verdict

#: The start of 2026, Unix milliseconds.
AT_MS: Final = 1_767_225_600_000

#: Names that have broken programs: line breaks of all kinds, headers, directions, markup, length, nothing at all.
HOSTILE_NAMES: Final = (
    "x\r\nBcc: eve@example.net",
    "x\nSubject: other\n\nbody",
    "x\x0bBcc: eve@example.net\x0c\x1c\x1d\x1e\x85y",
    "x\u2028Bcc: eve@example.net\u2029y",
    "\u202egpj.exe\u202c \u2066abc\u2069",
    "=?utf-8?q?x=0d=0aBcc:_eve=40example.net?=",
    "=?utf-8?b?eA0KQmNjOiBldmVAZXhhbXBsZS5uZXQ=?=",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    '"><a href="javascript:x">\'&amp;',
    "שלום עולם",
    "Ωμέγα 量子 🎉" * 20,
    "x" * 5000,
    "\x00\x07",
    "",
    " ",
)


def notification(
    kind: EventKind = EventKind.JOB_FAILED,
    *,
    number: int = 1,
    name: str | None = "Bell pair",
    failure: Failure | None = None,
    result: Result | None = None,
) -> Notification:
    """A notification of a kind, about a job, a backend or a hook; equal arguments give equal ones."""
    project = Project(id="lab", name="Ion trap lab", created_at=AT_MS)
    if not kind.startswith("job."):
        backend = None if kind.startswith("hook.") else "qpu.aria-1"
        event = Event(sequence=number, kind=kind, at=AT_MS + number, backend=backend)
        return Notification(id=f"msg_epoch_{number}_hook", event=event, project=project)
    ends = {EventKind.JOB_COMPLETED: JobStatus.COMPLETED, EventKind.JOB_CANCELED: JobStatus.CANCELED}
    status = ends.get(kind, JobStatus.FAILED if kind is EventKind.JOB_FAILED else JobStatus.STARTED)
    job = Job(
        id=f"0198f000-0000-7000-8000-{number:012d}",
        project_id=project.id,
        spec=JobSpec(backend="qpu.aria-1", name=name, shots=1000, stats=Stats(qubits=2)),
        status=status,
        submitted_at=AT_MS,
        attempt=1,
        outcome=Outcome(
            failure=failure or (Failure(code="SimulationError", message="no memory") if status == "failed" else None),
            execution_ms=1200 if status == "completed" else None,
        ),
    )
    event = Event(
        sequence=number, kind=kind, at=AT_MS + number, job_id=job.id, project_id=project.id, backend=job.backend,
        attempt=1, before=JobStatus.STARTED, after=status,
    )  # fmt: skip
    return Notification(
        id=f"msg_epoch_{number}_hook",
        event=event,
        project=project,
        job=job,
        result=result,
        link=f"https://cloud.example.org/jobs/{job.id}",
    )


@dataclass(frozen=True)
class Bench:
    """What the checks work on.

    Attributes:
        make: Makes a new channel, not yet opened.
        settings: The channel's table of the configuration.
        good: Targets it must accept, and at which deliveries arrive.
        bad: Targets it must refuse.
    """

    make: Callable[[], Channel]
    good: Sequence[Mapping[str, Any]]
    bad: Sequence[Mapping[str, Any]]
    settings: Mapping[str, Any] = field(default_factory=dict)
    clock: Clock = field(default_factory=SystemClock)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Channel]:
        """A channel, opened and in the end closed."""
        channel = self.make()
        await channel.open(ChannelContext(clock=self.clock, settings=self.settings))
        try:
            yield channel
        finally:
            await channel.aclose()


Check = Callable[[Bench], Awaitable[None]]


async def check_name(bench: Bench) -> None:
    """It has a name that can stand in a configuration."""
    assert bench.make().name.isidentifier()


async def check_unknown_setting(bench: Bench) -> None:
    """A setting it does not know is refused when it opens, by name; afterwards it can be closed."""
    channel = bench.make()
    problem = ""
    try:
        await channel.open(ChannelContext(clock=bench.clock, settings={**bench.settings, "no_such_setting": 1}))
    except SettingsError as error:
        problem = str(error)
    finally:
        await channel.aclose()
    assert "no_such_setting" in problem, "opened with an unknown setting, or did not name it"


async def check_close(bench: Bench) -> None:
    """It can be closed without having been opened, and twice."""
    await bench.make().aclose()
    async with bench.opened() as channel:
        await channel.aclose()


async def check_completed_targets(bench: Bench) -> None:
    """A checked target can be stored as JSON, is accepted unchanged when checked again, and the given one is kept."""
    async with bench.opened() as channel:
        for target in bench.good:
            before = copy.deepcopy(dict(target))
            checked = channel.check(target)
            assert dict(target) == before, "check changed its argument"
            assert msgspec.json.decode(msgspec.json.encode(checked)) == checked
            assert channel.check(checked) == checked


async def check_refused_targets(bench: Bench) -> None:
    """A wrong target, an empty one and one with an unknown member are refused as the client's mistake."""
    async with bench.opened() as channel:
        for target in (*bench.bad, {}, {**bench.good[0], "no_such_member": 1}):
            fields: tuple[str, ...] = ()
            try:
                channel.check(target)
            except InvalidRequest as error:
                fields = error.fields
            assert fields, f"accepted {target}, or named no member"


async def check_every_kind(bench: Bench) -> None:
    """A notification of every kind of event arrives."""
    async with bench.opened() as channel:
        for target in bench.good:
            checked = channel.check(target)
            for number, kind in enumerate(EventKind, start=1):
                await _arrives(channel, checked, [notification(kind, number=number)])


async def check_hostile_names(bench: Bench) -> None:
    """Whatever a job is called, its notification arrives."""
    async with bench.opened() as channel:
        checked = channel.check(bench.good[0])
        for number, name in enumerate(HOSTILE_NAMES, start=1):
            failure = Failure(code=name or "Unknown", message=name)
            await _arrives(channel, checked, [notification(name=name, failure=failure, number=number)])


async def check_result(bench: Bench) -> None:
    """A notification with a result arrives, if the channel asks for results."""
    async with bench.opened() as channel:
        if channel.wants_results:
            result = Result(qubits=2, probabilities={0: 0.5, 3: 0.5}, counts={0: 500, 3: 500})
            done = notification(EventKind.JOB_COMPLETED, result=result)
            await _arrives(channel, channel.check(bench.good[0]), [done])


async def check_several(bench: Bench) -> None:
    """Several notifications gathered for one target arrive."""
    async with bench.opened() as channel:
        await _arrives(channel, channel.check(bench.good[0]), [notification(number=number) for number in range(1, 8)])


async def check_at_once(bench: Bench) -> None:
    """Attempts run side by side."""
    async with bench.opened() as channel, anyio.create_task_group() as tasks:
        checked = channel.check(bench.good[0])
        for number in range(1, 5):
            tasks.start_soon(_arrives, channel, checked, [notification(number=number)])


async def check_cancelled(bench: Bench) -> None:
    """An attempt that is cancelled before it begins ends so, and leaves the channel of use."""
    async with bench.opened() as channel:
        checked = channel.check(bench.good[0])
        with anyio.CancelScope() as scope:
            scope.cancel()
            await channel.deliver(checked, [notification()])
            raise AssertionError("the cancellation was swallowed")
        await _arrives(channel, checked, [notification(number=2)])


async def _arrives(channel: Channel, target: Mapping[str, Any], notifications: Sequence[Notification]) -> None:
    answer = await channel.deliver(target, notifications)
    assert isinstance(answer, Attempted)
    assert answer.verdict is Verdict.DELIVERED, f"{notifications[0].event.kind}: {answer}"
    assert not answer.detail or answer.detail.isprintable(), "the detail is one printable line"
    for member in channel.secrets & set(target):
        assert str(target[member]) not in answer.detail, "the detail tells a secret"


CHECKS: Final[tuple[Check, ...]] = (
    check_name,
    check_unknown_setting,
    check_close,
    check_completed_targets,
    check_refused_targets,
    check_every_kind,
    check_hostile_names,
    check_result,
    check_several,
    check_at_once,
    check_cancelled,
)

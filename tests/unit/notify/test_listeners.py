"""In-process hooks: outside of transitions, in order, bounded, and nobody's problem but their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import pytest

from orchestrator import opening
from orchestrator.errors import InvalidRequest
from orchestrator.events import Event, EventKind
from orchestrator.notify import listeners
from orchestrator.notify.listeners import Listeners, kinds_of
from orchestrator.notify.notifier import Notifier
from orchestrator.service import Orchestrator
from orchestrator.storage.abc import Committed, Record

COMPLETED = EventKind.JOB_COMPLETED


def batch(*sequences: int, kind: EventKind = COMPLETED) -> list[Committed]:
    return [Committed(Event(sequence=sequence, kind=kind, at=0), None) for sequence in sequences]


@asynccontextmanager
async def serving(served: Listeners) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        served.start(tasks)
        yield
        tasks.cancel_scope.cancel()


async def test_events_come_in_order_and_by_kind() -> None:
    """A function sees the events of its kinds, each once, in order; whenever it was registered."""
    served, early, late = Listeners(), list[int](), list[int]()

    async def note(event: Event) -> None:
        early.append(event.sequence)

    async def note_late(event: Event) -> None:
        late.append(event.sequence)

    served.add({COMPLETED}, note)
    async with serving(served):
        served.notice(batch(1, 2))
        served.notice(batch(3, kind=EventKind.JOB_FAILED))
        served.add({COMPLETED, EventKind.JOB_FAILED}, note_late)
        served.notice(batch(4) + batch(5, kind=EventKind.JOB_FAILED))
        await served.drain()
    assert early == [1, 2, 4]
    assert late == [4, 5]


async def test_broken_and_slow_functions_harm_nobody() -> None:
    """A function that raises goes on with its next event; one that hangs keeps no other from its own."""
    served, seen = Listeners(), list[int]()
    hung, reached = anyio.Event(), anyio.Event()

    async def hang(event: Event) -> None:
        hung.set()
        await anyio.sleep_forever()

    async def stumble(event: Event) -> None:
        seen.append(event.sequence)
        if event.sequence == 1:
            raise RuntimeError("stumbled")
        reached.set()

    served.add({COMPLETED}, hang)
    served.add({COMPLETED}, stumble)
    async with serving(served):
        served.notice(batch(1, 2))
        await reached.wait()
        await hung.wait()
    assert seen == [1, 2]


async def test_queue_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function too far behind loses the oldest events, and nothing grows."""
    monkeypatch.setattr(listeners, "QUEUE", 3)
    served, seen = Listeners(), list[int]()
    go = anyio.Event()

    async def wait(event: Event) -> None:
        await go.wait()
        seen.append(event.sequence)

    served.add({COMPLETED}, wait)
    async with serving(served):
        served.notice(batch(*range(1, 11)))
        go.set()
        await served.drain()
    assert seen == [8, 9, 10]


@pytest.mark.parametrize("kind", ["job.done", "hook.test", [], ["job.failed", ""]])
def test_unknown_kinds_are_refused(kind: str | list[str]) -> None:
    """A kind that never occurs in the log is an error, not silence."""
    with pytest.raises(InvalidRequest, match=r"job\.completed"):
        kinds_of(kind)


class Host:
    """Functions as host applications have them; each notes the events it sees."""

    def __init__(self) -> None:
        self.seen: list[Event] = []

    async def method(self, event: Event) -> None:
        self.seen.append(event)

    async def two(self, tag: str, event: Event) -> None:
        self.seen.append(event)

    async def __call__(self, event: Event) -> None:
        self.seen.append(event)

    def plain(self, event: Event) -> None:
        self.seen.append(event)


class PlainHost:
    """An object whose call is a plain function."""

    def __call__(self, event: Event) -> None:
        """Nobody gets here."""


def awaited(host: Host) -> list[Callable[[Event], Awaitable[Any]]]:
    return [host.method, partial(host.two, "x"), partial(partial(host.two), "x"), host, partial(host)]


@pytest.mark.parametrize("number", range(5))
async def test_all_kinds_of_async_callables_are_called(number: int) -> None:
    """Methods, partials, objects whose call is async: what can be awaited is a hook."""
    host = Host()
    async with Orchestrator.open(adapters=[]) as orchestrator:
        orchestrator.on("backend.changed", awaited(host)[number])
        await orchestrator.store.record(Record(Event(sequence=0, kind=EventKind.BACKEND_CHANGED, at=0, backend="b")))
    assert [event.backend for event in host.seen] == ["b"]


@pytest.mark.parametrize(
    "function", [Host().plain, partial(Host().plain), PlainHost(), partial(PlainHost()), print, Host, None, 7]
)
def test_what_cannot_be_awaited_is_refused_at_once(function: Any) -> None:
    """And not at each event; also as a decorator."""
    orchestrator = Orchestrator.open(adapters=[])
    with pytest.raises(TypeError, match="async def"):
        orchestrator.on("job.completed")(function)
    if function is not None:
        with pytest.raises(TypeError, match="async def"):
            orchestrator.on("job.completed", function)


async def test_deliveries_do_not_take_the_time_of_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a stop each has a limit of its own: a function still sees all when deliveries have used up theirs."""
    monkeypatch.setattr(opening, "NOTIFY_LIMIT_S", 0.01)
    cut, host = anyio.Event(), Host()

    async def hang(_: Notifier) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            cut.set()

    async def wait(event: Event) -> None:
        await cut.wait()
        for _ in range(50):  # longer than it takes to close without waiting
            await anyio.lowlevel.checkpoint()
        await host(event)

    monkeypatch.setattr(Notifier, "drain", hang)
    async with Orchestrator.open(adapters=[]) as orchestrator:
        orchestrator.on("backend.changed", wait)
        await orchestrator.store.record(Record(Event(sequence=0, kind=EventKind.BACKEND_CHANGED, at=0, backend="b")))
    assert len(host.seen) == 1


async def test_a_cancel_nobody_asked_for_and_an_exit_are_errors_like_any_other() -> None:
    """Of a task that the function itself had canceled, for example: nothing ends by it but that call."""
    served, seen = Listeners(), list[int]()

    async def gives_up(event: Event) -> None:
        seen.append(event.sequence)
        raise SystemExit if event.sequence == 1 else asyncio.CancelledError

    served.add({COMPLETED}, gives_up)
    async with serving(served):
        served.notice(batch(1, 2, 3))
        await served.drain()
    assert seen == [1, 2, 3]


@pytest.mark.parametrize("awaits", [True, False])
async def test_a_function_may_cancel_its_own_task(awaits: bool) -> None:
    """Only that call ends by it: its next events come, other functions and whoever serves them go on."""
    served, seen, others = Listeners(), list[int](), list[int]()

    async def cancels(event: Event) -> None:
        seen.append(event.sequence)
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        if awaits:
            await anyio.lowlevel.checkpoint()

    async def notes(event: Event) -> None:
        await anyio.lowlevel.checkpoint()
        others.append(event.sequence)

    served.add({COMPLETED}, cancels)
    served.add({COMPLETED}, notes)
    ended = False
    async with serving(served):
        served.notice(batch(1, 2))
        await served.drain()
        served.notice(batch(3))
        await served.drain()
        ended = True
    assert (seen, others, ended) == ([1, 2, 3], [1, 2, 3], True)


async def test_a_function_that_is_waited_for_ends_with_the_orchestrator() -> None:
    """One that hangs is canceled when serving ends, and the queue is not begun anew."""
    served, calls = Listeners(), list[int]()
    ended, begun = anyio.Event(), anyio.Event()

    async def hangs(event: Event) -> None:
        calls.append(event.sequence)
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    served.add({COMPLETED}, hangs)
    async with serving(served):
        served.notice(batch(1, 2))
        await begun.wait()
    assert (calls, ended.is_set()) == ([1], True)

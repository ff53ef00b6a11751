"""In-process hooks: coroutine functions of the host application, called with committed events.

Each function has a bounded queue and a task of its own, outside of any transition: a slow one is late, a broken
one is logged, and neither delays a job or another function. They are told of what happens while the orchestrator
is open, once; what has to survive a restart is read with `Orchestrator.events` from a cursor.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar

import anyio
import anyio.abc
import structlog

from orchestrator.events import Event, EventKind, kinds_named
from orchestrator.foreign import Escaped, apart, contained
from orchestrator.storage.abc import Committed

log = structlog.get_logger()

Listener = Callable[[Event], Awaitable[Any]]
F = TypeVar("F", bound=Listener)

#: Events a function may be behind; beyond that the oldest are dropped.
QUEUE: Final = 10_000


class Listeners:
    """The functions of one orchestrator, told in the order they were registered."""

    def __init__(self) -> None:
        self._queues: list[_Queue] = []
        self._tasks: anyio.abc.TaskGroup | None = None

    def add(self, kinds: Collection[EventKind], function: Listener) -> None:
        """Call `function` with every event of these kinds, from now on."""
        queue = _Queue(kinds, function)
        self._queues.append(queue)
        if self._tasks is not None:
            self._tasks.start_soon(queue.serve)

    def start(self, tasks: anyio.abc.TaskGroup) -> None:
        """Serve all functions, in tasks of that group, until it is canceled."""
        self._tasks = tasks
        for queue in self._queues:
            tasks.start_soon(queue.serve)

    def notice(self, entries: Sequence[Committed]) -> None:
        """Listener of the bus."""
        for queue in self._queues:
            queue.offer(entries)

    async def drain(self) -> None:
        """Wait until every function has seen everything."""
        for queue in self._queues:
            await queue.idle.wait()


def checked(function: F) -> F:
    """The function, if it is one to be awaited: ``async def``, a partial of one, or an object whose call is one.

    Raises:
        TypeError: It is anything else, which would fail at each event.
    """
    inner: Any = function
    while isinstance(inner, partial):
        inner = inner.func
    if inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(type(inner).__call__):
        return function
    raise TypeError(f"an in-process hook is an async function (async def), and {function!r} is none")


def kinds_of(kind: str | Collection[str]) -> frozenset[EventKind]:
    """Kinds by name: one, or several; also families such as ``job.*``.

    Raises:
        InvalidRequest: One is no kind of event, or there is none.
    """
    names = [kind] if isinstance(kind, str) else kind
    return kinds_named(names or [""], "kinds")


class _Queue:
    """One function, and the events it has yet to see."""

    def __init__(self, kinds: Collection[EventKind], function: Listener) -> None:
        self._kinds = kinds
        self._function = function
        self._events: deque[Event] = deque(maxlen=QUEUE)
        self._dropped = 0
        self._wake = anyio.Event()
        self.idle = anyio.Event()
        self.idle.set()

    def offer(self, entries: Sequence[Committed]) -> None:
        """Put what concerns the function into its queue."""
        for event, _ in entries:
            if event.kind not in self._kinds:
                continue
            if len(self._events) == QUEUE:
                self._dropped += 1
                if self._dropped == 1:
                    log.warning("an in-process hook is too slow: events are dropped", function=repr(self._function))
            self._events.append(event)
            if self.idle.is_set():
                self.idle = anyio.Event()
                self._wake.set()

    async def serve(self) -> None:
        """Call the function with one event after the other, until canceled, whatever it makes of that.

        It may cancel the task it is called in, itself or by a library that leaves a cancellation behind. That task is
        its own, and another one goes on with what was left of its events.
        """
        while True:
            with suppress(Escaped):
                await apart(self._run, "in-process hook", function=repr(self._function))
            log.error("an in-process hook canceled its task", function=repr(self._function))

    async def _run(self) -> None:
        """Call the function until it has canceled this task."""
        while True:
            while self._events:
                event = self._events.popleft()
                try:
                    with contained():
                        await self._function(event)
                except Exception:
                    log.exception("an in-process hook raised", function=repr(self._function), kind=str(event.kind))
                if _canceled():
                    return
            self.idle.set()
            await self._wake.wait()
            self._wake = anyio.Event()


def _canceled() -> bool:
    """Whether a cancellation of this task is under way, or was left behind."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0

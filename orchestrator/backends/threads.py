"""Author's code that blocks, on threads: the event loop goes on meanwhile.

Theory of operation
-------------------
Each lane of a backend has one thread, so a backend never runs more at a time than its `concurrency` says. A call
in a thread cannot be stopped. When its job is canceled or out of time the call is *left behind*: its answer is
dropped, and its thread takes the next call only when it has returned.

The threads are daemons of our own. Those of anyio give their place to the next call at once, while the one left
behind still runs, and are waited for when the interpreter ends, which may be never.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from queue import SimpleQueue
from typing import Any, Final, TypeVar

import anyio
import structlog

from orchestrator.foreign import Escaped

log = structlog.get_logger()

A = TypeVar("A")
F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

#: Time for a thread that has nothing to do to be gone.
_JOIN_S: Final = 1.0


class Thread:
    """One thread that runs calls one after the other; it starts with the first. A context manager, which ends it.

    Args:
        name: Of the thread, and in the log.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._free = anyio.Event()
        self._free.set()

    def __enter__(self) -> Thread:
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is None:
            return
        self._calls.put(None)
        if self.busy:
            log.warning("a call that does not return was left behind", thread=self._name)
        else:
            self._thread.join(_JOIN_S)

    @property
    def busy(self) -> bool:
        """Whether a call is under way, or one that was left behind has not returned."""
        return not self._free.is_set()

    async def returned(self) -> None:
        """Wait until the thread can take a call."""
        await self._free.wait()

    async def run(self, function: Callable[[A], T], argument: A) -> T:
        """Call the function in the thread, when it is free. Canceled, this leaves the call behind.

        Raises:
            Escaped: It raised what is not an `Exception`, which only means something on the thread of the loop.
        """
        while self.busy:
            await self.returned()
        free = self._free = anyio.Event()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()
        context = copy_context()

        def finish(answer: Any, error: BaseException | None) -> None:
            free.set()
            if not done.done():
                done.set_result((answer, error))

        def work() -> None:
            answer, error = _outcome(context, function, argument)
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(finish, answer, error)

        if self._thread is None:
            self._thread = threading.Thread(target=_serve, args=(self._calls,), name=self._name, daemon=True)
            self._thread.start()
        self._calls.put(work)
        answer, error = await done
        if error is None:
            return answer  # type: ignore[no-any-return]
        if isinstance(error, Exception):
            raise error
        raise Escaped(error) from error


def _serve(calls: SimpleQueue[Callable[[], None] | None]) -> None:
    while (work := calls.get()) is not None:
        work()
        del work  # what it holds shall not live until the next one


def _outcome(context: Context, function: Callable[[A], T], argument: A) -> tuple[T | None, BaseException | None]:
    try:
        return context.run(function, argument), None
    except BaseException as error:
        return None, error


#: The thread of this task's lane.
lane_thread: ContextVar[Thread] = ContextVar("lane_thread")


def on_loop(function: F) -> F:
    """Mark a plain function that only makes a coroutine: it is called on the loop."""
    function.on_loop = True  # type: ignore[attr-defined]
    return function


async def called(function: Callable[[A], T | Awaitable[T]], argument: A) -> T:
    """The answer of a function of an adapter: of a coroutine function on the loop, of a plain one in a thread."""
    if inspect.iscoroutinefunction(function) or getattr(function, "on_loop", False):
        answer = function(argument)
    elif (thread := lane_thread.get(None)) is not None:
        answer = await thread.run(function, argument)
    else:
        with Thread("adapter") as thread:
            answer = await thread.run(function, argument)
    return await answer if inspect.isawaitable(answer) else answer

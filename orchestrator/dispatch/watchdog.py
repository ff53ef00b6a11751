"""Who blocks the event loop: noticed from a thread, since a blocked loop notices nothing.

Theory of operation
-------------------
A thread asks the loop to answer, every `every_s`. If no answer comes within `every_s`, it looks at what the
loop's thread is doing. A block twice that long is always noticed, a shorter one by chance, so one that comes back is
found soon. Nothing is done per job. A loop that does not answer so many times in a row that `limit_s` is over is
*stuck*: no code on it will be run again, as far as anybody can know. Asking is counted rather than time, since a
process that was stopped and continued, or a machine that slept, is not stuck.

Only adapters are named, and only where one of theirs is on the stack as what is being executed: a method of the
adapter, its execution, or its making. Code that merely lies in the same package may be anybody's.

A call that holds the interpreter lock (a long call into C that does not let go of it) stops this thread too, and
can be over before it gets to look.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, NamedTuple

import structlog

from orchestrator.backends.abc import Adapter, Attempt
from orchestrator.backends.discovery import Factory
from orchestrator.backends.guarding import guarded, guarded_batch
from orchestrator.backends.placements import Placements
from orchestrator.backends.registry import Backends
from orchestrator.backends.running import Execution, movable, move
from orchestrator.settings import DispatchSettings

log = structlog.get_logger()

#: Time for the thread to be gone.
_JOIN_S: Final = 1.0


class Blocker(NamedTuple):
    """Where the event loop stands.

    Attributes:
        name: Of the adapter whose code that is; empty if it is nobody's that is known.
        adapter: It, if it is made already.
        file, line, function: The innermost place that is the author's.
        running: It is executing attempts, rather than being asked something.
        attempts: Those, as far as they can be told apart.
    """

    name: str
    adapter: Adapter | None
    file: str
    line: int
    function: str
    running: bool = False
    attempts: tuple[Attempt, ...] = ()

    @property
    def place(self) -> str:
        """For people."""
        return f"{self.file}:{self.line} ({self.function})"

    @property
    def words(self) -> dict[str, Any]:
        """For the log: the adapter, if it is known, and the place."""
        whose = {"adapter": self.name} if self.name else {}
        return {**whose, "file": self.file, "line": self.line, "function": self.function}


def blocker(frame: FrameType | None, adapters: Iterable[Adapter]) -> Blocker | None:
    """Whose code a stack stands in, given its innermost frame; None without one."""
    if frame is None:
        return None
    stack = list(_outwards(frame))
    adapters = list(adapters)
    owner = next((found for each in stack if (found := _owner(each, adapters)) is not None), None)
    if owner is None:
        return Blocker("", None, *_place(stack, ("",)))
    if isinstance(owner, Factory):
        return Blocker(owner.name, None, *_place(stack, ("",)))
    running = any(each.f_code is guarded_batch.__code__ for each in stack)
    return Blocker(owner.name, owner, *_place(stack, _homes(owner)), running, _attempts(stack))


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _owner(frame: FrameType, adapters: Sequence[Adapter]) -> Adapter | Factory | None:
    """The adapter whose method that frame executes, or whom it executes."""
    if not frame.f_code.co_argcount:
        return None
    first = frame.f_locals.get(frame.f_code.co_varnames[0])
    if isinstance(first, Factory):
        return first
    if isinstance(first, Execution):
        first = first.adapter
    return next((adapter for adapter in adapters if adapter is first), None)


def _place(stack: Sequence[FrameType], homes: tuple[str, ...]) -> tuple[str, int, str]:
    """File, line and function of the innermost frame in one of the packages, else of the innermost."""
    frame = next((frame for frame in stack if _module(frame).startswith(homes)), stack[0])
    return frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_qualname


def _attempts(stack: Sequence[FrameType]) -> tuple[Attempt, ...]:
    """The attempt that is executed, or those of the batch."""
    for frame in stack:
        if frame.f_code is guarded.__code__:
            return (frame.f_locals["attempt"],)
        if frame.f_code is guarded_batch.__code__:
            return tuple(frame.f_locals["attempts"])
    return ()


def _module(frame: FrameType) -> str:
    return f"{frame.f_globals.get('__name__')}."


def _homes(adapter: Adapter) -> tuple[str, ...]:
    """The packages of an adapter's classes, or their modules where they are in none."""
    modules = {kind.__module__ for kind in type(adapter).__mro__ if issubclass(kind, Adapter) and kind is not Adapter}
    return tuple(f"{module.rpartition('.')[0] or module}." for module in modules)


class Watchdog:
    """Watches the loop it is entered on, from a thread that ends when it is left.

    Args:
        adapters: Those who may be named; asked from the thread.
        on_blocked: Called on the loop, when it turns again, with an adapter that blocked it while running; once for
            each place.
        limit_s: When the loop is taken for stuck; 0 for never.
        on_stuck: Called from the thread then, once for each time.
    """

    def __init__(
        self,
        adapters: Callable[[], Iterable[Adapter]],
        *,
        every_s: float,
        on_blocked: Callable[[Blocker], object],
        limit_s: float = 0.0,
        on_stuck: Callable[[Blocker], object] = lambda found: None,
    ) -> None:
        self._adapters = adapters
        self._every_s = every_s
        self._on_blocked = on_blocked
        self._limit_s = limit_s
        self._on_stuck = on_stuck
        self._loop = asyncio.get_running_loop()
        self._watched = threading.get_ident()
        self._known: set[tuple[str, int]] = set()
        self._changed = threading.Condition()
        self._asked = self._answered = 0
        self._stopped = False
        self._thread = threading.Thread(target=self._watch, name="event loop watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join(_JOIN_S)

    def _watch(self) -> None:
        while not self._stopped:
            self._asked += 1
            try:
                self._loop.call_soon_threadsafe(self._answer)
            except RuntimeError:  # the loop was closed without us
                return
            if not self._wait_for_answer(self._every_s):
                self._look()
                unanswered = 1
                while not self._wait_for_answer(self._every_s):
                    if self._loop.is_closed():  # with our question in it
                        return
                    unanswered += 1
                    if self._limit_s and unanswered == max(2, round(self._limit_s / self._every_s)):
                        self._stuck()
            with self._changed:
                self._changed.wait_for(lambda: self._stopped, self._every_s)

    def _answer(self) -> None:
        with self._changed:
            self._answered = self._asked
            self._changed.notify()

    def _wait_for_answer(self, limit_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._stopped or self._answered == self._asked, limit_s)

    def _found(self) -> Blocker | None:
        return blocker(sys._current_frames().get(self._watched), self._adapters())

    def _look(self) -> None:
        found = self._found()
        if found is None or not found.name or (found.file, found.line) in self._known:
            return
        self._known.add((found.file, found.line))
        log.warning("adapter blocks the event loop", **found.words)
        if found.running:
            self._loop.call_soon_threadsafe(self._on_blocked, found)

    def _stuck(self) -> None:
        found = self._found()
        if found is None:  # the thread of the loop has ended
            return
        log.error("the event loop stands still", for_s=self._limit_s, **found.words)
        self._on_stuck(found)


@contextmanager
def watching(
    backends: Backends,
    settings: DispatchSettings,
    placements: Placements,
    on_stuck: Callable[[Blocker], object] | None = None,
) -> Iterator[None]:
    """Watch the running loop for adapters that block it, and move them, as far as the settings say.

    What blocked it for good is remembered: once this process is gone, the next one has its runs in worker processes,
    or, where it was not running or cannot be moved, goes without it.

    Args:
        on_stuck: Called from a thread when the loop is stuck and that is remembered.
    """
    if not settings.blocked_ms:
        yield
        return

    def blocked(found: Blocker) -> None:
        if found.adapter is not None:
            move(found.adapter, f"it blocked the event loop, at {found.place}")

    def stuck(found: Blocker) -> None:
        remember(found, settings, placements)
        if on_stuck is not None:
            on_stuck(found)

    with Watchdog(
        backends.adapters,
        every_s=settings.blocked_ms / 1000,
        on_blocked=blocked,
        limit_s=settings.blocked_limit_s,
        on_stuck=stuck,
    ):
        yield


def remember(found: Blocker, settings: DispatchSettings, placements: Placements) -> None:
    """Remember who blocked the loop for good: how its code is run in the next life, and which attempt that has cost."""
    if not found.name:
        return
    # Which job of a batch it was is not known; they are run apart in the next life.
    lost = {each.id: each.number for each in found.attempts} if len(found.attempts) == 1 else {}
    worker = found.running and found.adapter is not None and movable(found.adapter)
    reason = f"it blocked the event loop for {settings.blocked_limit_s:g} s, at {found.place}"
    placements.put(found.name, reason, worker=worker, lost=lost)

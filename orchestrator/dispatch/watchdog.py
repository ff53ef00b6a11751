"""Who blocks the event loop: noticed from a thread, since a blocked loop notices nothing.

Theory of operation
-------------------
A thread asks the loop to answer, every `every_s`. If no answer comes within `every_s`, it looks at what the
loop's thread is doing. A block twice that long is always noticed, a shorter one by chance, so one that comes back is
found soon. Nothing is done per job. Only adapters are named: the frames of the stack tell whose code it is.

A call that holds the interpreter lock (a long call into C that does not let go of it) stops this thread too, and
can be over before it gets to look.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, NamedTuple

import structlog

from orchestrator.backends.abc import Adapter
from orchestrator.backends.guarding import guarded_batch
from orchestrator.backends.registry import Backends
from orchestrator.backends.running import move
from orchestrator.settings import DispatchSettings

log = structlog.get_logger()

#: Time for the thread to be gone.
_JOIN_S: Final = 1.0


class Blocker(NamedTuple):
    """An adapter in whose code the loop stands: the innermost place that is the author's.

    Attributes:
        running: It is executing attempts, rather than being asked something.
    """

    adapter: Adapter
    file: str
    line: int
    function: str
    running: bool


def blocker(frame: FrameType | None, adapters: Iterable[Adapter]) -> Blocker | None:
    """The adapter whose code a stack stands in, given its innermost frame."""
    stack = list(_outwards(frame))
    adapters = list(adapters)
    owner = next((found for frame in stack if (found := _owner(frame, adapters))), None)
    for candidate in adapters if owner is None else (owner,):
        homes = _homes(candidate)
        place = next((frame for frame in stack if _module(frame).startswith(homes)), None)
        if place is not None:
            running = owner is not None and any(frame.f_code is guarded_batch.__code__ for frame in stack)
            code = place.f_code
            return Blocker(candidate, code.co_filename, place.f_lineno, code.co_qualname, running)
    return None


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _owner(frame: FrameType, adapters: Iterable[Adapter]) -> Adapter | None:
    """The adapter whose method that frame executes."""
    if not frame.f_code.co_argcount:
        return None
    first = frame.f_locals.get(frame.f_code.co_varnames[0])
    return next((adapter for adapter in adapters if adapter is first), None)


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
    """

    def __init__(
        self, adapters: Callable[[], Iterable[Adapter]], *, every_s: float, on_blocked: Callable[[Adapter], object]
    ) -> None:
        self._adapters = adapters
        self._every_s = every_s
        self._on_blocked = on_blocked
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
                while not self._wait_for_answer(self._every_s):
                    if self._loop.is_closed():  # with our question in it
                        return
            with self._changed:
                self._changed.wait_for(lambda: self._stopped, self._every_s)

    def _answer(self) -> None:
        with self._changed:
            self._answered = self._asked
            self._changed.notify()

    def _wait_for_answer(self, limit_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._stopped or self._answered == self._asked, limit_s)

    def _look(self) -> None:
        found = blocker(sys._current_frames().get(self._watched), self._adapters())
        if found is None or (found.file, found.line) in self._known:
            return
        self._known.add((found.file, found.line))
        log.warning(
            "adapter blocks the event loop",
            adapter=found.adapter.name,
            file=found.file,
            line=found.line,
            function=found.function,
        )
        if found.running:
            self._loop.call_soon_threadsafe(self._on_blocked, found.adapter)


@contextmanager
def watching(backends: Backends, settings: DispatchSettings) -> Iterator[None]:
    """Watch the running loop for adapters that block it, and move them, as far as the settings say."""
    if not settings.blocked_ms:
        yield
        return

    def adapters() -> list[Adapter]:
        return [adapter for adapter, _ in backends.served()]

    def blocked(adapter: Adapter) -> None:
        move(adapter, "it blocked the event loop")

    with Watchdog(adapters, every_s=settings.blocked_ms / 1000, on_blocked=blocked):
        yield

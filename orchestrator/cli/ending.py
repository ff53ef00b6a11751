"""How a server process ends, and how it starts anew, whatever adapters do.

Theory of operation
-------------------
Signals are heard on a thread. The first one asks the event loop to close everything in order, and sets a limit. Who is
still there when that is over, because the loop stands still, is ended by force: what was acknowledged is in the store,
which a kill cannot harm. So is one that is closed and kept by somebody's thread. The second signal waits for nothing.

An event loop that stands still for good cannot be saved, and the watchdog has remembered why it stands. The process
then becomes a new one (`os.execve`): it keeps its pid, its port and the lock of its data folder, and the kernel ends
all of its threads.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final, Self

import structlog

from orchestrator.backends.abc import Adapter
from orchestrator.datafolder import adopt, hand_on
from orchestrator.dispatch.watchdog import Blocker, blocker
from orchestrator.signals import SIGINT, SIGTERM, Hearing

log = structlog.get_logger()

#: The exit code of a process that was ended by force, or could not start anew.
FORCED: Final = 4
#: For closing, beyond the time that running attempts have: with the default of those, nine seconds in all.
CLOSING_S: Final = 6.0
#: For threads to end, once everything is closed, as far as the time for that is not over.
THREADS_S: Final = 1.0
#: In the environment of a process that was started anew: the port, 0 if it did not listen before, and its locks.
AGAIN: Final = "ORCHESTRATOR_AGAIN"
#: Longest wait for writing a line of the log, which the thread that hangs may keep from us.
_LOG_S: Final = 1.0
#: Longest wait for the worker processes of the life before.
_REAP_S: Final = 2.0


class Ending:
    """The end of the process, from inside the event loop that it is entered on.

    Args:
        drain_s: What running attempts have.

    Attributes:
        port: Where the server listens; 0 before it does.
        adapters: Who may be named.
    """

    def __init__(self, drain_s: float) -> None:
        self.port = 0
        self.adapters: Callable[[], Iterable[Adapter]] = list
        self._limit_s = drain_s + CLOSING_S
        self._begun = threading.Event()
        self._closed = threading.Event()
        self._asked = asyncio.Event()
        self._serving = False
        self._loop = asyncio.get_running_loop()
        self._main = threading.get_ident()
        self._task: asyncio.Task[Any] | None = asyncio.current_task()
        self._hearing = Hearing((SIGTERM, SIGINT), self._signaled)

    @property
    def begun(self) -> bool:
        """A signal came."""
        return self._begun.is_set()

    def __enter__(self) -> Self:
        self._hearing.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._hearing.__exit__()
        if kind is None:
            self._closed.set()

    async def asked(self) -> None:
        """Wait for a signal. One that came before, or comes while this is not waited for, cancels the task instead."""
        self._serving = True
        try:
            await self._asked.wait()
        finally:
            self._serving = False

    # -- on threads ---------------------------------------------------------------------

    def _signaled(self, number: signal.Signals) -> None:
        if self.begun:
            os._exit(128 + number)
        self._begun.set()
        threading.Thread(target=self._limit, name="end", daemon=True).start()
        with suppress(RuntimeError):  # the loop is closed already
            self._loop.call_soon_threadsafe(self._ask)
        _tell("info", "stopping", signal=number.name)

    def _ask(self) -> None:
        self._asked.set()
        if not self._serving and self._task is not None:
            self._task.cancel()

    def _limit(self) -> None:
        """End the process when the time is up; or a moment after all is closed, should threads of plugins hold it."""
        until = time.monotonic() + self._limit_s
        if self._closed.wait(self._limit_s):
            threading.Event().wait(max(0.0, min(THREADS_S, until - time.monotonic())))
            _tell("warning", "ended without threads that do not end", threads=_threads())
            os._exit(0)
        found = blocker(sys._current_frames().get(self._main), self.adapters())
        place = {} if found is None else found.words
        _tell("critical", "ended by force", after_s=self._limit_s, code=FORCED, **place, threads=_threads())
        os._exit(FORCED)

    def again(self, found: Blocker) -> None:
        """Start anew, since the event loop is stuck; not if the process is to end anyway."""
        if self.begun:
            return
        _tell("critical", "starting anew", **found.words)
        environment = {**os.environ, AGAIN: " ".join(map(str, (self.port, *hand_on())))}
        try:
            os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606 - our own command
        except OSError as error:
            _tell("critical", "cannot start anew", code=FORCED, reason=str(error))
            os._exit(FORCED)


def resumed() -> int | None:
    """The port of the life before, 0 if it did not listen yet; None if there was none. To be asked once, first thing.

    The worker processes of that life, which are about to end, are waited for.
    """
    words = os.environ.pop(AGAIN, "").split()
    if not words:
        return None
    port, *locks = map(int, words)
    adopt(locks)
    deadline = time.monotonic() + _REAP_S
    while time.monotonic() < deadline:
        try:
            ended, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if not ended:
            threading.Event().wait(0.01)
    return port


def _threads() -> list[str]:
    """Threads that the interpreter waits for at its end, and where each is."""
    frames = sys._current_frames()
    told = []
    for thread in threading.enumerate():
        frame = frames.get(thread.ident or 0)
        if not thread.daemon and thread is not threading.main_thread() and frame is not None:
            told.append(f"{thread.name}: {frame.f_code.co_filename}:{frame.f_lineno}")
    return told


def _tell(level: str, event: str, **words: Any) -> None:
    """Log, from a thread of its own: who hangs may hold what writing needs."""
    writing = threading.Thread(target=getattr(log, level), args=(event,), kwargs=words, daemon=True)
    writing.start()
    writing.join(_LOG_S)

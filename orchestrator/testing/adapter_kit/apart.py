"""Running a check where it can hang without taking anybody along: on an event loop and a thread of its own.

A check may meet an adapter that never answers, that swallows every cancellation, or that blocks its event loop for
ever; a time limit on the same loop would wait with it. Here the caller waits, and if the limit passes is told where
the check stood.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, Final

from orchestrator.testing.adapter_kit.frames import told
from orchestrator.testing.adapter_kit.freezing import stepped

#: Seconds for a check whose limit passed to end by cancellation, and then for its loop to stop.
_GRACE_S: Final = 1.0

#: Loops that were left as they stood, with their tasks: collecting those would warn of each, in somebody else's test.
_left: Final[list[object]] = []


class DidNotEnd(AssertionError):
    """A check did not end within its limit.

    Attributes:
        stopped: Whether its event loop could be stopped; if not, its thread still runs.
    """

    def __init__(self, limit_s: float, where: str, *, stopped: bool) -> None:
        place = f"; it stood at {where}" if where else ""
        state = "" if stopped else "; its event loop is blocked for good"
        super().__init__(f"did not end within {limit_s:g} s{place}{state}")
        self.stopped = stopped


class Apart:
    """A coroutine function on its way in a thread of its own.

    Attributes:
        done: What comes of it.
        thread: Where it runs.
    """

    def __init__(self, work: Callable[[], Awaitable[None]]) -> None:
        self._work = work
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self.done: Future[None] = Future()
        self.thread = threading.Thread(target=self._run, name="adapter-check", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            with asyncio.Runner() as runner:
                self._loop = runner.get_loop()
                runner.run(self._main())
        except BaseException as error:  # handed to the caller's thread, whatever it is
            self._end(error)
        else:
            self._end(None)

    def _end(self, error: BaseException | None) -> None:
        if self.done.done():
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)

    async def _main(self) -> None:
        self._task = asyncio.current_task()
        await self._work()

    def give_up(self, limit_s: float) -> DidNotEnd:
        """End it after its limit: canceled, else its loop stopped, else left behind. Waits a little, on this thread."""
        where = self._where()
        stopped = self._ends_if(lambda: self._task.cancel() if self._task else None) or self._abandon()
        return DidNotEnd(limit_s, where, stopped=stopped)

    def _ends_if(self, act: Callable[[], object]) -> bool:
        if self._loop is None:
            return False
        try:
            self._loop.call_soon_threadsafe(act)
        except RuntimeError:  # closed meanwhile: it has just ended
            return True
        self.thread.join(_GRACE_S)
        return not self.thread.is_alive()

    def _abandon(self) -> bool:
        """Leave the loop standing; what it holds is kept from being collected."""
        loop = self._loop
        if loop is None:
            return False
        stopped = threading.Event()

        def stop() -> None:
            tasks = asyncio.all_tasks(loop)
            _left.append((loop, tasks))
            stopped.set()
            for task in tasks:
                task._log_destroy_pending = False  # type: ignore[attr-defined]
            threading.Event().wait()  # the thread stays here, a daemon: nothing of the loop is run or finalized again

        loop.call_soon_threadsafe(stop)
        return stopped.wait(_GRACE_S)

    def _where(self) -> str:
        """Where the check's loop stands now: in blocking code, or at the await that is waited for."""
        frame = sys._current_frames().get(self.thread.ident or 0)
        if frame is not None and (place := told(traceback.extract_stack(frame))):
            return place
        if self._loop is None or self._task is None:
            return ""
        for task in asyncio.all_tasks(self._loop):
            if place := told(_awaits(task.get_coro())):
                return place
        return ""


def _awaits(coroutine: Any) -> traceback.StackSummary:
    """The chain of awaits of a suspended coroutine, the outermost first."""
    frames = []
    while coroutine is not None:
        coroutine = stepped(coroutine)
        if (frame := getattr(coroutine, "cr_frame", None)) is not None:
            frames.append((frame, frame.f_lineno))
        coroutine = getattr(coroutine, "cr_await", None)
    return traceback.StackSummary.extract(iter(frames))


def run_apart(work: Callable[[], Awaitable[None]], limit_s: float) -> None:
    """Run it to its end and raise what it raises; this thread waits.

    Raises:
        DidNotEnd: Not within the limit.
    """
    apart = Apart(work)
    apart.thread.join(limit_s)
    if apart.thread.is_alive():
        raise apart.give_up(limit_s)
    apart.done.result()


async def running_apart(work: Callable[[], Awaitable[None]], limit_s: float) -> None:
    """As `run_apart`; this event loop goes on meanwhile. Cancelling gives the work up."""
    apart = Apart(work)
    done = asyncio.wrap_future(apart.done)
    try:
        await asyncio.wait([done], timeout=limit_s)
    except asyncio.CancelledError:
        apart.give_up(limit_s)
        raise
    if not done.done():
        error = await asyncio.to_thread(apart.give_up, limit_s)
        done.cancel()
        raise error
    apart.thread.join()
    done.result()

"""Who blocks the event loop is named with its line, and moved as far as that is possible."""

import asyncio
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType

import pytest
from structlog.testing import capture_logs

from orchestrator.backends.abc import Adapter, Attempt, Capabilities
from orchestrator.backends.guarding import guarded_batch
from orchestrator.backends.running import move
from orchestrator.dispatch.watchdog import Watchdog, blocker
from orchestrator.lifecycle import JobStatus
from orchestrator.model import Result
from orchestrator.testing.adapters import FLIP, ScriptedAdapter, serving, zeros

HERE = __file__


class Standing(Adapter):
    """Calls `look` with the innermost frame of its own."""

    name = "standing"

    def __init__(self, look: Callable[[FrameType], object]) -> None:
        self.look = look

    def capabilities(self) -> Sequence[Capabilities]:
        self.look(sys._getframe())
        return []

    async def run(self, attempt: Attempt) -> Result:
        self.look(sys._getframe())
        return Result(qubits=1, probabilities={0: 1.0})


async def test_the_author_s_own_line_is_named() -> None:
    """The innermost frame of the adapter's package, whatever library it waits in; and whether it is running."""
    found = []
    adapter = Standing(lambda frame: found.append(blocker(frame, [ScriptedAdapter(), adapter])))
    adapter.capabilities()
    await guarded_batch(adapter._run_each, [None])  # type: ignore[list-item]
    asked, ran = found
    assert asked is not None
    assert ran is not None
    assert (asked.adapter, ran.adapter) == (adapter, adapter)
    assert (asked.file, asked.function, asked.running) == (HERE, "Standing.capabilities", False)
    assert (ran.file, ran.function, ran.running) == (HERE, "Standing.run", True)
    assert asked.line == Standing.capabilities.__code__.co_firstlineno + 1


def test_code_that_is_no_adapter_s_is_not_named() -> None:
    """The orchestrator's own, a library's, and what is not there."""
    assert blocker(sys._getframe(), [ScriptedAdapter()]) is None
    assert blocker(None, [ScriptedAdapter()]) is None


def test_a_function_beside_the_adapter_is_named_by_its_package() -> None:
    """Such as a callback of the author's: no method is on the stack."""
    adapter = Standing(print)
    found = blocker(sys._getframe(), [ScriptedAdapter(), adapter])
    assert found is not None
    assert (found.adapter, found.running) == (adapter, False)


class Blocking(ScriptedAdapter):
    """Blocks the loop until somebody has noticed; jobs named ``gentle`` do not."""

    name = "blocking"

    def __init__(self, backend: str = "blocking") -> None:
        super().__init__(backend)
        self.noticed = threading.Event()

    async def run(self, attempt: Attempt) -> Result:
        if attempt.job.spec.name != "gentle":
            assert self.noticed.wait(30)
        return zeros(attempt)


@pytest.mark.parametrize("blocking", ["warn", "move"])
async def test_a_blocking_run_is_named_once_while_it_blocks(blocking: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line stands in the log before the loop turns again; an adapter that cannot move is said to stay, once."""
    adapter = Blocking()
    line = Blocking.run.__code__.co_firstlineno + 2
    with capture_logs() as logs:
        watch = Watchdog._look

        def stands_there(frame: FrameType | None) -> bool:
            while frame is not None and frame.f_code is not Blocking.run.__code__:
                frame = frame.f_back
            return frame is not None and frame.f_lineno == line

        def look(self: Watchdog) -> None:
            # On a busy machine the loop may stand still for a millisecond anywhere.
            if stands_there(sys._current_frames().get(self._watched)):
                watch(self)
            if any(entry["event"] == "adapter blocks the event loop" for entry in logs):
                adapter.noticed.set()

        monkeypatch.setattr(Watchdog, "_look", look)
        async with serving(adapter, blocked_ms=1, blocking=blocking) as service:
            for _ in range(3):
                job = await service.wait((await service.submit(FLIP, backend="blocking")).id)
                assert job.status is JobStatus.COMPLETED
    (named,) = [entry for entry in logs if entry["event"] == "adapter blocks the event loop"]
    assert (named["adapter"], named["file"], named["line"]) == ("blocking", HERE, line)
    assert named["function"] == "Blocking.run"
    stays = [entry["reason"] for entry in logs if entry["event"] == "adapter stays in the server process"]
    reasons = {"warn": "dispatch.blocking is warn", "move": "it has a cancel of its own"}
    assert stays in ([], [reasons[blocking]])  # nothing more was submitted, perhaps, before it was told
    assert not move(adapter, "again")


async def test_the_thread_ends_with_the_watch_and_a_turning_loop_is_left_alone() -> None:
    """Nothing is left behind, nobody is named."""
    before = set(threading.enumerate())
    with capture_logs() as logs:
        async with serving(ScriptedAdapter(), blocked_ms=5_000) as service:
            assert len(threading.enumerate()) == len(before) + 1
            for _ in range(20):
                await service.wait((await service.submit(FLIP, backend="scripted")).id)
    assert set(threading.enumerate()) == before
    assert logs == []


async def test_leaving_at_once_and_a_closed_loop_end_the_thread() -> None:
    """Whenever it is left, and when the loop is closed first."""
    for _ in range(50):
        with Watchdog(list, every_s=0.001, on_blocked=print) as watchdog:
            pass
        assert not watchdog._thread.is_alive()

    def elsewhere() -> Watchdog:
        async def enter() -> Watchdog:
            return Watchdog(list, every_s=0.0001, on_blocked=print).__enter__()

        return asyncio.run(enter())

    watchdog = await asyncio.to_thread(elsewhere)
    watchdog._thread.join(30)
    assert not watchdog._thread.is_alive()

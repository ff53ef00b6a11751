"""Who blocks the event loop is named with its line, and moved as far as that is possible."""

import asyncio
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import FrameType

import pytest
from structlog.testing import capture_logs

from orchestrator.backends.abc import Adapter, AdapterContext, Attempt, Capabilities
from orchestrator.backends.discovery import Factory
from orchestrator.backends.guarding import guarded_batch
from orchestrator.backends.placements import Placements
from orchestrator.backends.running import bind, made_by, move
from orchestrator.clock import SystemClock
from orchestrator.dispatch.watchdog import Blocker, Watchdog, blocker, remember
from orchestrator.errors import ExecutionError
from orchestrator.lifecycle import JobStatus
from orchestrator.model import Job, JobSpec, Result
from orchestrator.settings import DispatchSettings
from orchestrator.testing.adapters import FLIP, ScriptedAdapter, serving, zeros

HERE = __file__


def attempt_of(name: str) -> Attempt:
    spec = JobSpec(backend="lab")
    return Attempt(Job(id=name, project_id="p", spec=spec, status=JobStatus.STARTED, submitted_at=0), 2, b"")


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


def test_code_that_is_no_adapter_s_is_nobody_s() -> None:
    """An application's own, though an adapter lies beside it in the same module; only the place is told."""
    found = blocker(sys._getframe(), [ScriptedAdapter(), Standing(print)])
    assert found is not None
    assert (found.name, found.adapter, found.running) == ("", None, False)
    assert (found.file, found.function) == (HERE, "test_code_that_is_no_adapter_s_is_nobody_s")
    assert blocker(None, [ScriptedAdapter()]) is None


async def test_the_attempt_that_runs_is_known() -> None:
    """That one of the batch which is executed one by one; of a batch that is executed at once, all."""
    found: list[Blocker | None] = []
    adapter = Standing(lambda frame: found.append(blocker(frame, [adapter])))
    first, second = attempt_of("a"), attempt_of("b")
    await guarded_batch(adapter._run_each, [first, second])

    async def at_once(attempts: Sequence[Attempt]) -> list[Result | ExecutionError]:
        adapter.look(sys._getframe())
        return [zeros(attempt) for attempt in attempts]

    adapter._execution.adapter.run_batch = at_once  # type: ignore[method-assign]
    await guarded_batch(partial(adapter._execution.batch, None), [first, second])
    assert [each.attempts for each in found if each is not None] == [(first,), (second,), (first, second)]
    assert all(each is not None and each.name == "standing" for each in found)


def test_an_adapter_that_is_being_made_is_known_by_its_entry_point() -> None:
    """There is no adapter yet."""
    found: list[Blocker | None] = []

    def make() -> Adapter:
        found.append(blocker(sys._getframe(), []))
        return ScriptedAdapter()

    Factory("lab", "lab:make", make).make()
    (made,) = found
    assert made is not None
    assert (made.name, made.adapter, made.running) == ("lab", None, False)


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


async def test_a_loop_that_does_not_come_back_is_told_from_the_thread() -> None:
    """Once, with the place, while it stands still; a later time again. What only takes a while is not."""
    told: list[Blocker] = []
    go_on = threading.Event()

    def stuck(found: Blocker) -> None:
        told.append(found)
        go_on.set()

    with capture_logs() as logs:
        watchdog = Watchdog(list, every_s=0.005, on_blocked=print, limit_s=0.05, on_stuck=stuck)
        with watchdog:
            for _ in range(2):
                assert go_on.wait(30)
                go_on.clear()
                await asyncio.sleep(0.02)
    assert all(found.file == threading.__file__ and found.name == "" for found in told)
    stands = [entry for entry in logs if entry["event"] == "the event loop stands still"]
    assert len(stands) == len(told) >= 2


async def test_what_blocked_for_good_is_remembered(tmp_path: Path) -> None:
    """The next life has its runs in worker processes where it can, or goes without it; the attempt has failed."""
    attempt = attempt_of("job")
    placements = Placements(tmp_path, lambda: 7)

    class Good(Adapter):
        name = "good"

    class Own(Good):
        name = "own"

        async def cancel(self, attempt: Attempt) -> None: ...

    good, own = Good(), Own()
    for adapter in good, own:
        made_by(adapter, "lab:Any")
        bind(adapter, AdapterContext(clock=SystemClock(), new_id=str, workers=None), move=True)  # type: ignore[arg-type]
    cases = [
        Blocker("good", good, "lab.py", 3, "Good.run", running=True, attempts=(attempt,)),
        Blocker("own", own, "lab.py", 4, "Own.run", running=True, attempts=(attempt, attempt)),
        Blocker("opening", good, "lab.py", 5, "Good.open"),
        Blocker("making", None, "lab.py", 6, "make"),
        Blocker("", None, "app.py", 6, "main"),
    ]
    settings = DispatchSettings(blocked_limit_s=9)
    for case in cases:
        remember(case, settings, placements)
    found = Placements(tmp_path, lambda: 8).all()
    assert {name: placement.worker for name, placement in found.items()} == {
        "good": True, "own": False, "opening": False, "making": False,
    }  # fmt: skip
    assert found["good"].reason == "it blocked the event loop for 9 s, at lab.py:3 (Good.run)"
    assert Placements(tmp_path, lambda: 8).lost() == {"job": attempt.number}


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

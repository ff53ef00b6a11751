"""Adapters whose `run`, `run_batch` or `prepare` is a plain function: in threads, and what cannot be stopped there."""

import asyncio
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import anyio
import pytest
from structlog.testing import capture_logs

from orchestrator.backends.abc import Adapter, Attempt, Capabilities, Prepared
from orchestrator.backends.running import HANG_S
from orchestrator.backends.threads import Thread, called
from orchestrator.errors import BackendFault, ExecutionError
from orchestrator.lifecycle import JobStatus
from orchestrator.model import Failure, Job, Result
from orchestrator.service import Orchestrator
from orchestrator.testing.adapters import FLIP, serving, zeros
from orchestrator.testing.clock import ManualClock
from orchestrator.testing.uncertain import turns


class Gate:
    """Where a thread waits until the test says so; told on the loop when one has come."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._come = anyio.Event()

    def wait(self) -> None:
        self._loop.call_soon_threadsafe(self._come.set)
        assert self._open.wait(30)

    async def reached(self) -> None:
        with anyio.fail_after(30):
            await self._come.wait()

    def open(self) -> None:
        self._open.set()


class Plain(Adapter):
    """A plain `run`; jobs named ``hang`` wait at the gate."""

    name = "plain"

    def __init__(self, gate: Gate, **capabilities: object) -> None:
        self.gate = gate
        self.threads: list[threading.Thread] = []
        self._capabilities = {"qubits": 2, **capabilities}

    def capabilities(self) -> Sequence[Capabilities]:
        return [Capabilities(backend="plain", **self._capabilities)]  # type: ignore[arg-type]

    def run(self, attempt: Attempt) -> Result:
        self.threads.append(threading.current_thread())
        if attempt.job.spec.name == "hang":
            self.gate.wait()
        return zeros(attempt)


@contextmanager
def nothing_left() -> Iterator[None]:
    """Threads that are there afterwards were there before."""
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


async def submit(service: Orchestrator, name: str | None = None) -> Job:
    return await service.submit(FLIP, backend="plain", name=name)


async def ended(service: Orchestrator, job: Job) -> Job:
    return await service.wait(job.id, timeout_s=30)


async def test_a_plain_run_is_executed_in_its_lanes_thread_and_nothing_is_left() -> None:
    """Never on the loop; one thread serves job after job; it is gone when the orchestrator is closed."""
    with nothing_left():
        adapter = Plain(Gate())
        async with serving(adapter) as service:
            jobs = [await submit(service) for _ in range(5)]
            assert {(await ended(service, job)).status for job in jobs} == {JobStatus.COMPLETED}
            assert len(set(adapter.threads)) == 1
            assert threading.current_thread() not in adapter.threads


async def test_the_loop_turns_while_a_plain_run_blocks_and_only_concurrency_run() -> None:
    """A second lane goes on; a third job waits."""
    adapter = Plain(gate := Gate(), concurrency=2)
    async with serving(adapter) as service:
        blocked = await submit(service, "hang")
        await gate.reached()
        assert (await ended(service, await submit(service))).status is JobStatus.COMPLETED
        also, waiting = await submit(service, "hang"), await submit(service)
        await turns(50)
        assert (await service.get(waiting.id)).status is JobStatus.READY
        gate.open()
        for job in (blocked, also, waiting):
            assert (await ended(service, job)).status is JobStatus.COMPLETED


async def test_a_plain_batch_and_a_plain_prepare() -> None:
    """Both in threads; what the batch answers is matched to its jobs; a fault of one is its own."""

    class Batches(Plain):
        def run_batch(self, attempts: Sequence[Attempt]) -> list[Result | ExecutionError]:
            self.threads.append(threading.current_thread())
            bad = BackendFault("no beam")
            return [bad if attempt.job.spec.name == "bad" else zeros(attempt) for attempt in attempts]

        def prepare(self, attempts: Sequence[Attempt]) -> list[Prepared | Failure]:
            self.threads.append(threading.current_thread())
            return [Prepared(predicted_execution_ms=3) for _ in attempts]

    adapter = Batches(Gate(), batch=8, instant_prepare=False)
    async with serving(adapter) as service:
        jobs = [await submit(service, name) for name in ("a", "bad", "b")]
        done = [await ended(service, job) for job in jobs]
        assert [job.status for job in done] == [JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.COMPLETED]
        assert done[1].outcome.failure == Failure(code="SimulationError", message="no beam")
        assert done[0].outcome.predicted_execution_ms == 3
        assert threading.current_thread() not in adapter.threads


async def test_a_plain_function_may_answer_an_awaitable() -> None:
    """What it answers is awaited on the loop: a decorated coroutine function is as good as a plain one."""

    class Decorated(Plain):
        def run(self, attempt: Attempt) -> object:  # type: ignore[override]
            async def on_the_loop() -> Result:
                self.threads.append(threading.current_thread())
                return zeros(attempt)

            return on_the_loop()

    adapter = Decorated(Gate())
    async with serving(adapter) as service:
        assert (await ended(service, await submit(service))).status is JobStatus.COMPLETED
        assert adapter.threads == [threading.current_thread()]


async def test_a_canceled_run_in_a_thread_is_left_behind_and_its_lane_waits_for_it() -> None:
    """The job is canceled at once, the late answer changes nothing, and the lane takes no job before the return."""
    adapter = Plain(gate := Gate())
    async with serving(adapter) as service:
        hanging = await submit(service, "hang")
        await gate.reached()
        await service.cancel([hanging.id])
        following = await submit(service)
        await turns(50)
        assert (await service.get(hanging.id)).status is JobStatus.CANCELED
        assert (await service.get(following.id)).status is JobStatus.READY
        gate.open()
        assert (await ended(service, following)).status is JobStatus.COMPLETED
        assert (await service.get(hanging.id)).status is JobStatus.CANCELED
        assert (await service.verify()).problems == ()


async def test_a_run_that_hangs_in_a_thread_fails_at_the_run_limit_and_the_backend_says_why_jobs_wait() -> None:
    """SimulationTimeout; with all lanes hanging it is unavailable, and available again when one returns."""

    async def states(service: Orchestrator) -> list[tuple[str, str]]:
        found = await service.store.events(0, limit=1000)
        told = [event.data or {} for event in found if event.kind == "backend.changed"]
        return [(data["status"], data["reason"]) for data in told]

    clock = ManualClock()
    adapter = Plain(gate := Gate(), run_limit_s=5.0)
    async with serving(adapter, clock=clock) as service:
        hanging = await submit(service, "hang")
        await gate.reached()
        with capture_logs() as logs:
            await clock.advanced(10.0)
            failed = await ended(service, hanging)
            assert failed.outcome.failure is not None
            assert failed.outcome.failure.code == "SimulationTimeout"
            following = await submit(service)
            await clock.advanced(HANG_S + 1.0)
        assert (await service.get(following.id)).status is JobStatus.READY
        names = [entry["event"] for entry in logs]
        assert names.count("adapter hangs in a thread") == 1
        assert names.count("adapter stays in the server process") == 1  # it is made with arguments
        assert await states(service) == [("unavailable", "runs that were ended do not return")]
        gate.open()
        assert (await ended(service, following)).status is JobStatus.COMPLETED
        assert [status for status, _ in await states(service)] == ["unavailable", "available"]


async def test_a_thread_that_hangs_for_ever_does_not_hold_the_close() -> None:
    """Closing takes no notice of it but a line in the log."""
    adapter = Plain(gate := Gate())
    with capture_logs() as logs, anyio.fail_after(20):
        async with serving(adapter) as service:
            await submit(service, "hang")
            await gate.reached()
    assert "a call that does not return was left behind" in [entry["event"] for entry in logs]
    gate.open()


async def test_an_interpreter_with_a_hanging_thread_ends() -> None:
    """Threads of adapters are not waited for at exit."""
    program = """
import anyio, threading
from orchestrator.backends.threads import Thread

async def main():
    with Thread("hangs") as thread, anyio.move_on_after(0.01):
        await thread.run(lambda never: never.wait(), threading.Event())

anyio.run(main)
"""
    with anyio.fail_after(30):
        done = await anyio.run_process([sys.executable, "-c", program], check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (SystemExit(3), "SystemExit"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (asyncio.CancelledError(), "CancelledError"),
        (GeneratorExit(), "GeneratorExit"),
        (StopIteration(), "RuntimeError"),
        (ValueError("odd"), "ValueError"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_whatever_a_thread_raises_fails_the_job_alone(error: BaseException, name: str) -> None:
    """What would end the process or the lane on the loop is an InternalError of the job."""

    class Raising(Plain):
        def run(self, attempt: Attempt) -> Result:
            if attempt.job.spec.name == "bad":
                raise error
            return zeros(attempt)

    async with serving(Raising(Gate())) as service:
        failed, good = await submit(service, "bad"), await submit(service)
        failed = await ended(service, failed)
        assert failed.outcome.failure == Failure(code="InternalError", message=f"the backend raised {name}")
        assert (await ended(service, good)).status is JobStatus.COMPLETED


async def test_calls_outside_a_lane_have_a_thread_for_themselves() -> None:
    """Whoever calls an adapter directly needs no lane, and leaves no thread."""
    with nothing_left():
        assert await called(lambda number: (number, threading.current_thread().name), 7) == (7, "adapter")


async def test_one_thread_takes_calls_one_after_the_other() -> None:
    """Two tasks that share a thread wait for each other; the context of the caller goes along."""
    seen: list[int] = []
    with Thread("shared") as thread:
        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(thread.run, seen.append, number)
        assert sorted(seen) == list(range(10))
        assert not thread.busy

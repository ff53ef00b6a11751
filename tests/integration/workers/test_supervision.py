"""Deaths, hangs, cancellation and closing with real processes."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator.clock import SystemClock
from orchestrator.errors import ExecutionError, Unavailable, WorkerLost
from orchestrator.workers import protocol
from orchestrator.workers.pool import WorkerPool
from orchestrator.workers.process import spawn

HANG = "worker_calls:hang"


async def answers(pool: WorkerPool, call: str, payloads: list[bytes], into: list[Any], **limits: float) -> None:
    into += await pool.run(call, payloads, **limits)  # type: ignore[arg-type]


async def test_death_with_a_batch_is_not_death_alone() -> None:
    """Only the payload that kills its worker alone is lost; its neighbours are answered."""
    async with WorkerPool(2, SystemClock()) as pool:
        first, poison, last = await pool.run("worker_calls:die_of_poison", [b"1", b'"poison"', b"3"])
        assert (first, last) == (b"1", b"3")
        assert isinstance(poison, WorkerLost)
        assert str(poison) == "the worker was lost: killed by SIGKILL"


async def test_a_stopped_worker_is_found(mailbox: Any) -> None:
    """A worker that stops answering is killed within a few beats, and its job is lost."""
    got: list[Any] = []
    async with WorkerPool(1, SystemClock(), beat_s=0.05) as pool, anyio.create_task_group() as tasks:
        tasks.start_soon(answers, pool, HANG, [mailbox.address], got)
        os.kill(await mailbox.pid(), signal.SIGSTOP)
        await mailbox.ended()
    assert "stopped answering" in str(got[0])


async def test_a_stopped_idle_worker_is_replaced() -> None:
    """Idle workers are watched too: the next call finds a live one."""
    async with WorkerPool(1, SystemClock(), beat_s=0.05) as pool:
        await pool.warm()
        [pid] = pool.pids
        process = os.pidfd_open(pid)
        os.kill(pid, signal.SIGSTOP)
        with anyio.fail_after(5):
            await anyio.wait_readable(process)  # it is dead
        os.close(process)
        assert await pool.run("worker_calls:double", [b"1"]) == [b"2"]


async def test_a_long_call_in_c_is_not_death() -> None:
    """A worker too busy to beat is left alone as long as it uses its processor."""
    number = 60_000_000
    async with WorkerPool(1, SystemClock(), beat_s=0.1) as pool:
        payload = json.dumps(number).encode()
        assert await pool.run("worker_calls:hold_interpreter_lock", [payload]) == [b"%d" % (number * (number - 1) // 2)]


async def test_a_starved_worker_is_not_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine too busy to give a worker any of its processors for some beats is not taken for the worker's death."""
    monkeypatch.setattr("orchestrator.workers.worker.cpu_ticks", lambda pid: 7)
    number = 30_000_000
    async with WorkerPool(1, SystemClock(), beat_s=0.02) as pool:
        payload = json.dumps(number).encode()
        assert await pool.run("worker_calls:hold_interpreter_lock", [payload]) == [b"%d" % (number * (number - 1) // 2)]


async def test_time_limit(mailbox: Any, clock: Any) -> None:
    """At the deadline of the clock the process is gone and the job has run out of time."""
    got: list[Any] = []
    async with WorkerPool(1, clock) as pool:
        assert await pool.run(HANG, [b"0"], time_limit_s=30) == [b"0"]  # the watch slept for a later, finished one
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: answers(pool, HANG, [mailbox.address], got, time_limit_s=5))
            await mailbox.pid()
            clock.advance(5)
            await mailbox.ended()
        assert (got[0].failure_code, got[0].message) == ("SimulationTimeout", "ran longer than its limit of 5 s")
        assert await pool.run(HANG, [b"0"]) == [b"0"]


async def test_time_limit_of_a_batch(mailbox: Any, clock: Any) -> None:
    """A batch that runs out of time is run again one by one, each with the whole limit."""
    got: list[Any] = []
    async with WorkerPool(1, clock) as pool, anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: answers(pool, HANG, [b"0", mailbox.address, b"0"], got, time_limit_s=5))
        for _ in range(2):
            await mailbox.pid()
            clock.advance(5)
            await mailbox.ended()
    first, hung, last = got
    assert (first, last) == (b"0", b"0")
    assert hung.failure_code == "SimulationTimeout"


async def test_the_kernel_keeps_time_too() -> None:
    """A worker the kernel killed for its processor time has run out of time as well."""
    async with WorkerPool(1, SystemClock()) as pool:
        [error] = await pool.run("worker_calls:raise_signal", [b"%d" % signal.SIGXCPU], time_limit_s=60)
    assert isinstance(error, ExecutionError)
    assert error.failure_code == "SimulationTimeout"


@pytest.mark.parametrize("call", [HANG, "worker_calls:hang_with_child"])
async def test_cancel_leaves_no_process(mailbox: Any, call: str) -> None:
    """Cancelling kills the whole process group of the call; the pool serves on."""
    async with WorkerPool(1, SystemClock(), grace_s=0) as pool:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(answers, pool, call, [mailbox.address], [])
            await mailbox.pid()
            tasks.cancel_scope.cancel()
        await mailbox.ended()
        assert await pool.run("worker_calls:double", [b"1"]) == [b"2"]


async def test_cancel_spares_a_worker_that_is_about_done() -> None:
    """Within the grace a worker may finish what nobody waits for, and is kept."""
    async with WorkerPool(1, SystemClock(), grace_s=10) as pool:
        await pool.warm()
        pids = pool.pids
        caught = False
        while not caught:  # on a busy machine the answer may be there before the cancel
            with anyio.CancelScope() as scope:
                scope.cancel()
                await pool.run("worker_calls:double", [b"1"])
            caught = scope.cancelled_caught
        assert await pool.run("worker_calls:double", [b"2"]) == [b"4"]
        assert pool.pids == pids


async def test_cancel_in_the_queue_touches_no_worker(mailbox: Any, tmp_path: Path) -> None:
    """A caller that leaves the queue is forgotten; the worker and those behind go on."""
    got: list[Any] = []
    trace = tmp_path / "trace"
    trace.touch()
    with anyio.fail_after(10):
        async with WorkerPool(1, SystemClock()) as pool, anyio.create_task_group() as tasks:
            tasks.start_soon(answers, pool, HANG, [mailbox.address], [])
            pid = await mailbox.pid()
            with anyio.move_on_after(0) as left:
                await pool.run(HANG, [json.dumps(str(trace)).encode()])
            assert left.cancelled_caught
            assert pool.pids == (pid,)
            tasks.start_soon(answers, pool, "worker_calls:double", [b"3"], got)
            os.kill(pid, signal.SIGKILL)
    assert got == [b"6"]
    assert trace.stat().st_size == 0


async def test_closing_ends_running_and_waiting_calls(mailbox: Any) -> None:
    """Leaving the pool kills its workers at once and tells every caller."""
    refused: list[str] = []

    async def caller(payload: bytes) -> None:
        with pytest.raises(Unavailable) as caught:
            await pool.run(HANG, [payload])
        refused.append(str(caught.value))

    async with anyio.create_task_group() as callers:
        async with WorkerPool(1, SystemClock()) as pool:
            callers.start_soon(caller, mailbox.address)
            await mailbox.pid()
            callers.start_soon(caller, mailbox.address)
            await anyio.lowlevel.checkpoint()
        await mailbox.ended()
    assert refused == ["the worker pool is closed"] * 2


async def test_noise_on_the_socket_costs_only_the_worker() -> None:
    """A worker whose stream was disturbed is killed, and nothing it says is believed."""
    async with WorkerPool(1, SystemClock()) as pool:
        [error] = await pool.run("worker_calls:disturb", [b"1"])
        assert "malformed" in str(error)
        assert await pool.run("worker_calls:double", [b"1"]) == [b"2"]


@pytest.mark.parametrize(
    ("executable", "reason"), [("false", "exited with status 1"), ("no/such/program", "FileNotFoundError")]
)
async def test_workers_that_do_not_start(monkeypatch: pytest.MonkeyPatch, executable: str, reason: str) -> None:
    """After three starts with growing pauses callers are told why; once starting works again, so does the pool."""
    pauses: list[float] = []

    class PatientClock(SystemClock):
        async def sleep(self, seconds: float) -> None:
            pauses.append(seconds)

    async with WorkerPool(1, PatientClock()) as pool:
        with monkeypatch.context() as broken:
            broken.setattr(sys, "executable", executable)
            first, second = await pool.run("worker_calls:double", [b"1", b"2"])
            assert isinstance(first, WorkerLost)
            assert reason in str(first)
            assert str(first) == str(second)
            assert pauses == [0.1, 0.2]
            with pytest.raises(WorkerLost, match=reason):
                await pool.warm()
        assert await pool.run("worker_calls:double", [b"1"]) == [b"2"]


PARENT = """
import sys, anyio
from orchestrator.clock import SystemClock
from orchestrator.workers.pool import WorkerPool

async def main():
    async with WorkerPool(2, SystemClock()) as pool, anyio.create_task_group() as tasks:
        for address in sys.argv[1:]:
            tasks.start_soon(pool.run, "worker_calls:hang", [address.encode()])

anyio.run(main)
"""


async def test_no_worker_outlives_its_parent(mailbox: Any) -> None:
    """When the parent is killed outright, its workers are gone within 2 s."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", PARENT, mailbox.address.decode()]
    with subprocess.Popen(command, env=environment) as parent:  # noqa: ASYNC220  # starting it takes a moment only
        await mailbox.pid()
        parent.kill()
        await mailbox.ended()


async def test_end_of_standard_input_ends_a_busy_worker(mailbox: Any) -> None:
    """The second guard, where the kernel gives none: the closed pipe ends the worker in the middle of a call."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        worker = spawn(theirs.fileno(), {"PYTHONPATH": str(Path(__file__).parent)}, beat_s=60)
        call = protocol.Run(number=1, call=HANG, sizes=(len(mailbox.address),))
        ours.sendall(protocol.encode(call, [mailbox.address]))
        await mailbox.pid()
        assert worker.stdin is not None
        worker.stdin.close()
        await mailbox.ended()
        assert worker.wait() == 0


def test_a_worker_without_its_parent_does_not_begin() -> None:
    """A worker whose parent is already another process leaves at once, without a word."""
    ours, theirs = socket.socketpair()
    module = "orchestrator.workers.child"
    with ours:
        with theirs:
            descriptor = theirs.fileno()
            command = [sys.executable, "-m", module, str(descriptor), "0", "1"]
            assert subprocess.run(command, pass_fds=(descriptor,), check=True, timeout=10).returncode == 0
        assert ours.recv(1) == b""

"""What callers of the pool are promised: answers in order, errors by value, limits, fair queueing."""

import json
import os
import resource
import threading

import anyio
import pytest

from orchestrator.clock import SystemClock
from orchestrator.errors import ExecutionError, Unavailable
from orchestrator.workers.pool import WorkerPool

MIB = 2**20


async def ask(pool: WorkerPool, call: str, payload: object = 0, **limits: float) -> object:
    [answer] = await pool.run(f"worker_calls:{call}", [json.dumps(payload).encode()], **limits)  # type: ignore[arg-type]
    assert isinstance(answer, bytes), answer
    return json.loads(answer)


async def refusal(pool: WorkerPool, call: str, payload: object, **limits: float) -> ExecutionError:
    [answer] = await pool.run(f"worker_calls:{call}", [json.dumps(payload).encode()], **limits)  # type: ignore[arg-type]
    assert isinstance(answer, ExecutionError)
    return answer


async def test_answers_come_in_order() -> None:
    """A batch is answered payload by payload, from one call or from many at once."""
    async with WorkerPool(2, SystemClock()) as pool:
        assert await pool.run("worker_calls:double", [b"1", b"2", b"3"]) == [b"2", b"4", b"6"]
        assert await pool.run("worker_calls:double", []) == []
        answers: dict[int, object] = {}

        async def caller(number: int) -> None:
            answers[number] = await ask(pool, "double", number)

        async with anyio.create_task_group() as callers:
            for number in range(20):
                callers.start_soon(caller, number)
        assert answers == {number: 2 * number for number in range(20)}


async def test_large_payloads_pass() -> None:
    """Megabytes travel both ways, more of them than one frame of answers holds."""
    payload = json.dumps("x" * 3 * MIB).encode()
    async with WorkerPool(1, SystemClock()) as pool:
        assert await pool.run("worker_calls:die_of_poison", [payload, b"1", payload]) == [payload, b"1", payload]


async def test_errors_are_values() -> None:
    """An `ExecutionError` arrives whole; others say only their type; neighbours in the batch are not touched."""
    calls = [b'"execution"', b'"value"', b'"exit"', b'"type"', b"1"]
    async with WorkerPool(1, SystemClock()) as pool:
        *errors, last = await pool.run("worker_calls:fail", calls)
        seen = [(e.failure_code, e.message, e.retryable) for e in errors if isinstance(e, ExecutionError)]
        assert seen == [
            ("SimulationError", "too wide", True),
            ("InternalError", "worker_calls:fail raised ValueError", False),
            ("InternalError", "worker_calls:fail raised SystemExit", False),
            ("InternalError", "worker_calls:fail raised TypeError", False),
        ]
        assert last == b"1"


@pytest.mark.parametrize(
    ("call", "error"), [("no_such_module:f", "ModuleNotFoundError"), ("worker_calls:no_such", "AttributeError")]
)
async def test_a_missing_function_is_an_error(call: str, error: str) -> None:
    """A name that cannot be imported is answered, and the worker stays."""
    async with WorkerPool(1, SystemClock()) as pool:
        first, second = await pool.run(call, [b"1", b"2"])
        assert str(first) == str(second) == f"{call} raised {error}"
        assert await ask(pool, "double", 1) == 2


async def test_workers_start_lazily_and_are_reused() -> None:
    """No process before the first call, one for calls in turn, all of them after `warm`."""
    async with WorkerPool(2, SystemClock()) as pool:
        assert pool.pids == ()
        assert {(await ask(pool, "where"))["pid"] for _ in range(3)} == set(pool.pids)  # type: ignore[index]
        assert len(pool.pids) == 1
        await pool.warm()
        assert len(pool.pids) == 2


async def test_worker_stands_apart() -> None:
    """Own group and session, no core dumps, deaf to Ctrl-C, its threads limited; the parent is unchanged."""
    before = dict(os.environ)
    async with WorkerPool(1, SystemClock(), threads=3) as pool:
        seen = await ask(pool, "where")
        assert isinstance(seen, dict)
        assert seen["pid"] == seen["group"] == seen["session"]
        assert (seen["omp"], seen["core"], seen["sigint"]) == ("3", [0, 0], True)
    assert dict(os.environ) == before


async def test_limits_follow_the_job() -> None:
    """Processor time and memory are limited per call on one and the same worker, and lifted after it."""
    async with WorkerPool(1, SystemClock()) as pool:
        short = await ask(pool, "where", time_limit_s=10, memory_bytes=MIB)
        long = await ask(pool, "where", time_limit_s=100, memory_bytes=1000 * MIB)
        free = await ask(pool, "where")
    assert isinstance(short, dict)
    assert isinstance(long, dict)
    assert isinstance(free, dict)
    assert long["cpu"] - short["cpu"] >= 90
    assert free["cpu"] == free["memory"] == resource.RLIM_INFINITY
    assert long["memory"] - short["memory"] == pytest.approx(999 * MIB, abs=50 * MIB)


async def test_memory_limit() -> None:
    """Who needs more than the estimate is told so; the worker goes on."""
    async with WorkerPool(1, SystemClock()) as pool:
        assert await ask(pool, "allocate", 32 * MIB, memory_bytes=64 * MIB) == 32 * MIB
        error = await refusal(pool, "allocate", 512 * MIB, memory_bytes=64 * MIB)
        assert (error.failure_code, error.message) == (
            "SimulationError",
            "needs more memory than the 64 MiB it was given",
        )
        pids = pool.pids
        assert await ask(pool, "allocate", 512 * MIB) == 512 * MIB
        assert pool.pids == pids


async def test_oversize_is_refused_by_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """A payload or an answer that no frame can carry fails alone."""
    async with WorkerPool(1, SystemClock()) as pool:
        error = await refusal(pool, "grow", 128 * MIB + 1)
        assert "result is larger" in error.message
        monkeypatch.setattr("orchestrator.workers.protocol.FRAME_CAP", 1000)
        small, large = await pool.run("worker_calls:die_of_poison", [b"1", b"1" * 1001])
        assert small == b"1"
        assert "input is larger" in str(large)


async def test_stray_output_is_harmless(capfd: pytest.CaptureFixture[str]) -> None:
    """Prints go to standard error, reads find the end, and the protocol does not notice."""
    async with WorkerPool(1, SystemClock()) as pool:
        assert await ask(pool, "chatter") == ""
        assert await ask(pool, "double", 4) == 8
    out, err = capfd.readouterr()
    assert "stray" not in out
    assert "stray line" in err
    assert "stray bytes" in err


async def test_callers_are_served_first_come_first_served() -> None:
    """One worker serves waiting callers in the order in which they asked."""
    served: list[int] = []
    async with WorkerPool(1, SystemClock()) as pool, anyio.create_task_group() as callers:

        async def caller(number: int) -> None:
            await ask(pool, "double", number)
            served.append(number)

        for number in range(10):
            callers.start_soon(caller, number)
    assert served == list(range(10))


async def test_nothing_is_left_behind() -> None:
    """After closing there is no child process, no descriptor and no thread more than before."""
    descriptors, threads = set(os.listdir("/proc/self/fd")), threading.active_count()
    async with WorkerPool(2, SystemClock()) as pool:
        await pool.warm()
        await pool.run("worker_calls:die_of_poison", [b'"poison"', b"1"])
        pids = pool.pids
    assert set(os.listdir("/proc/self/fd")) == descriptors
    assert threading.active_count() == threads
    assert not set(map(str, pids)) & set(os.listdir("/proc"))


async def test_a_closed_pool_refuses() -> None:
    """Calls after closing raise, and so does `warm`; the owner's own error arrives as it is."""
    with pytest.raises(KeyError):
        async with WorkerPool(1, SystemClock()) as pool:
            raise KeyError
    with pytest.raises(Unavailable):
        await pool.run("worker_calls:double", [b"1"])
    with pytest.raises(Unavailable):
        await pool.warm()

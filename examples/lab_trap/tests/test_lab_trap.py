"""What the trap does to jobs, and what people see of it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, aclosing
from typing import Any

import pytest

from lab_trap.adapter import BACKEND, LabTrapAdapter
from lab_trap.driver import Trap
from lab_trap.instrument import running
from orchestrator import Circuit, Gate, JobStatus, Orchestrator, Settings
from orchestrator.errors import JobFailed
from orchestrator.settings import DispatchSettings
from orchestrator.subscription import Delivered

BELL = Circuit(qubits=2, gates=(Gate("h", (0,)), Gate("x", (1,), (0,))))
FLIPPED = Circuit(qubits=3, gates=(Gate("x", (2,)),))


Start = Callable[..., dict[str, Any]]


@pytest.fixture
def anyio_backend() -> str:
    """The orchestrator runs on asyncio."""
    return "asyncio"


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts instruments, each in a process of its own."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(running(**options))


def serving(table: dict[str, Any]) -> Orchestrator:
    """An orchestrator over the trap at that address, which looks at it and tries again without delay."""
    settings = Settings(
        plugins={"lab_trap": {"watch_s": 0.01, **table}}, dispatch=DispatchSettings(retry_base_s=0.0, drain_s=0.0)
    )
    return Orchestrator.open(settings=settings, adapters=[LabTrapAdapter()])


async def until(orchestrator: Orchestrator, kind: str, number: int = 1) -> dict[str, Any]:
    """Wait until there were so many events of that kind; answers the data of the last."""
    async with aclosing(orchestrator.events("earliest")) as items:
        async for item in items:
            if isinstance(item, Delivered) and item.event.kind == kind:
                number -= 1
                if number == 0:
                    return dict(item.event.data or {})
    raise AssertionError("the log has ended")


def panel(table: dict[str, Any]) -> Trap:
    """The operator's own way to the instrument."""
    return Trap(table["host"], table["port"], 5.0)


async def test_circuits_are_compiled_and_measured(start: Start) -> None:
    """QIS circuits come back in their own qubits, idle ones included, with counts, a duration and compiled gates."""
    async with serving(start(seed=1)) as orchestrator:
        bell = await orchestrator.submit(BELL, backend=BACKEND, shots=200)
        result = await orchestrator.result(bell.id)
        assert set(result.counts or {}) == {0, 3}
        assert sum((result.counts or {}).values()) == 200
        outcome = (await orchestrator.get(bell.id)).outcome
        assert outcome.native_gates_2q == 1
        assert outcome.execution_ms == outcome.predicted_execution_ms
        assert outcome.execution_ms
        flipped = await orchestrator.submit(FLIPPED, backend=BACKEND)
        assert (await orchestrator.result(flipped.id)).probabilities == {4: 1.0}
        assert (await orchestrator.result(flipped.id)).qubits == 3


async def test_foreign_native_gates_are_refused(start: Start) -> None:
    """A native gate of another machine fails the job before it gets to the trap."""
    foreign = Circuit(qubits=2, gateset="native", gates=(Gate("zz", (0, 1), params=(0.25,)),))
    async with serving(start()) as orchestrator:
        job = await orchestrator.submit(foreign, backend=BACKEND)
        with pytest.raises(JobFailed, match="UnsupportedGate"):
            await orchestrator.result(job.id)


async def test_a_lost_ion_costs_an_attempt_not_the_job(start: Start) -> None:
    """The job is put back, the trap loaded again, and the next attempt gives the result."""
    async with serving(start(loss=0.01, seed=5)) as orchestrator:
        job = await orchestrator.submit(BELL, backend=BACKEND, shots=100)
        assert sum(((await orchestrator.result(job.id)).counts or {}).values()) == 100
        assert (await until(orchestrator, "job.requeued"))["reason"].startswith("lost: an ion left")
        assert (await orchestrator.get(job.id)).attempt > 1


async def test_an_open_door_holds_the_queue(start: Start) -> None:
    """Jobs wait while the interlock is open, the reason is shown, and they run once it is closed."""
    table = start()
    panel(table).door("open")
    async with serving(table) as orchestrator:
        assert (await until(orchestrator, "backend.changed"))["reason"] == "the door is open"
        job = await orchestrator.submit(BELL, backend=BACKEND)
        assert (await orchestrator.get(job.id)).status is not JobStatus.STARTED
        panel(table).door("closed")
        await orchestrator.result(job.id)


async def test_a_trap_that_is_off_is_unavailable_not_missing() -> None:
    """Nobody answers at the address: the backend is listed, and unavailable."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with serving({"port": port}) as orchestrator:
        assert (await until(orchestrator, "backend.changed"))["reason"].startswith("the trap does not answer")
        assert orchestrator.backends.names() == [BACKEND]


async def test_calibrations_are_recorded(start: Start) -> None:
    """The first is recorded when it is seen, each later one when it is new."""
    table = start()
    async with serving(table) as orchestrator:
        await until(orchestrator, "backend.calibrated")
        panel(table).calibrate()
        await until(orchestrator, "backend.calibrated", 2)
        (newest, first), _ = await orchestrator.backends.characterizations(BACKEND)
        assert newest.recorded_at > first.recorded_at
        assert 0.99 < (first.fidelity["spam"]["median"] or 0) < 1


async def test_cancel_stops_the_instrument(start: Start) -> None:
    """A canceled job leaves the trap idle, and the next one runs."""
    table = start(shot_s=0.02)
    async with serving(table) as orchestrator:
        long = await orchestrator.submit(BELL, backend=BACKEND, shots=10_000)
        await until(orchestrator, "job.started")
        await orchestrator.cancel([long.id])
        short = await orchestrator.submit(BELL, backend=BACKEND, shots=2)
        await orchestrator.result(short.id)
        assert (await orchestrator.get(long.id)).status is JobStatus.CANCELED


async def test_what_an_earlier_process_left_is_stopped(start: Start) -> None:
    """A run that nobody waits for any more does not keep the trap from the next one."""
    table = start(shot_s=0.02)
    trap = panel(table)
    trap.load()
    with socket.create_connection((table["host"], table["port"])) as process, process.makefile("rw") as lines:
        print("RUN left 10000 gpi 0 0.0", file=lines, flush=True)
        assert lines.readline().startswith("SHOT")
    assert trap.status()["running"] == "left"
    async with serving(table) as orchestrator:
        assert trap.status()["running"] == "-"
        job = await orchestrator.submit(BELL, backend=BACKEND, shots=2)
        assert (await orchestrator.result(job.id)).counts

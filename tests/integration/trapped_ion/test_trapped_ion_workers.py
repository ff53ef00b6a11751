"""The QPUs with real worker processes: a job from its submission to its result."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Collection, Sequence

import anyio

from orchestrator.backends.abc import AdapterContext, Attempt, Prepared
from orchestrator.circuits import ir
from orchestrator.clock import SystemClock
from orchestrator.errors import ExecutionError
from orchestrator.lifecycle import JobStatus
from orchestrator.model import Characterization, Job, JobSpec, Result, Stats
from orchestrator.workers.pool import WorkerPool
from orchestrator_trapped_ion.adapter import TrappedIonAdapter


class Queue:
    """Hands out attempts in order and collects their outcomes."""

    def __init__(self, attempts: Sequence[Attempt]) -> None:
        self._waiting = list(attempts)
        self._expected = len(attempts)
        self.outcomes: dict[str, Result | ExecutionError] = {}
        self.done = anyio.Event()

    async def take(self, limit: int, *, start: bool = True) -> list[Attempt]:
        if not self._waiting:
            await anyio.sleep_forever()
        return [self._waiting.pop(0)]

    def ended(self, jobs: Collection[str] = ()) -> AsyncGenerator[list[str]]:
        raise AssertionError("nothing of it runs elsewhere")

    async def started(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        return list(attempts)

    async def progress(self, attempt: Attempt, fraction: float) -> None:
        raise AssertionError("a job without wall time makes no progress")

    async def finished(self, outcomes: Sequence[tuple[Attempt, Result | ExecutionError]]) -> None:
        self.outcomes |= {attempt.id: outcome for attempt, outcome in outcomes}
        if len(self.outcomes) == self._expected:
            self.done.set()

    async def calibrated(self, characterization: Characterization) -> None:
        raise AssertionError("an hour has not passed")

    async def availability(self, available: bool, reason: str = "") -> None:
        raise AssertionError("these machines are always there")


def job(name: str, circuit: ir.Circuit, shots: int) -> Job:
    """A job on qpu.aria-1, always with the same seed."""
    stats = Stats(qubits=circuit.width, gates_1q=len(circuit.gates))
    spec = JobSpec(backend="qpu.aria-1", shots=shots, seed=42, stats=stats)
    return Job(id=name, project_id="p", spec=spec, status=JobStatus.SUBMITTED, submitted_at=0)


async def test_jobs_run_in_workers() -> None:
    """Circuits small, large and of the density matrix's widest size are compiled and run within their memory limits."""
    gate = ir.Gate
    circuits = {
        "bell": ir.Circuit(qubits=25, gates=(gate("h", (24,)), gate("x", (7,), (24,)))),
        "again": ir.Circuit(qubits=25, gates=(gate("h", (24,)), gate("x", (7,), (24,)))),
        "long": ir.Circuit(qubits=1, gates=(gate("x", (0,)),) * 1_200),
        "wide": ir.Circuit(qubits=12, gates=tuple(gate("x", ((w + 1) % 12,), (w,)) for w in range(12)) * 2),
    }
    numbers = itertools.count()
    async with WorkerPool(1, SystemClock()) as workers:
        adapter = TrappedIonAdapter()
        await adapter.open(
            AdapterContext(
                clock=SystemClock(),
                new_id=lambda: f"c{next(numbers)}",
                workers=workers,
                settings={"time_scale": 0},
            )
        )
        submitted = [
            Attempt(job=job(name, circuit, 3_000 if name == "wide" else 500), number=0, input=ir.dumps(circuit))
            for name, circuit in circuits.items()
        ]
        ready = []
        for attempt, prepared in zip(submitted, await adapter.prepare(submitted), strict=True):
            assert isinstance(prepared, Prepared)
            ready.append(Attempt(job=attempt.job, number=1, input=attempt.input, compiled=prepared.compiled))
        queue = Queue(ready)
        [aria] = [entry for entry in adapter.capabilities() if entry.backend == "qpu.aria-1"]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(adapter.serve, aria, queue, queue)
            with anyio.fail_after(60):
                await queue.done.wait()
            tasks.cancel_scope.cancel()
    results = {name: outcome for name, outcome in queue.outcomes.items() if isinstance(outcome, Result)}
    assert results.keys() == circuits.keys(), queue.outcomes
    bell = results["bell"].counts or {}
    assert bell == results["again"].counts
    assert sum(bell.values()) == 500
    assert bell[0] + bell[1 << 24 | 1 << 7] > 450
    assert results["bell"].characterization_id == adapter.state("qpu.aria-1").characterization_id

"""The adapter contract: what a backend's author writes.

An adapter serves one or more backends. It declares `capabilities` as data, and it implements one of
three forms, each built on the next:

* `run(attempt)`: a coroutine per job;
* `run_batch(attempts)`: a coroutine per batch;
* `serve(backend, ready, emit)`: the full form, a stream of ready jobs and free emission.

Queueing, leases, heartbeats, fencing, retries, time limits and cancel are the dispatcher's work.
Register the class under the entry-point group ``orchestrator.backends``.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import anyio
import msgspec
import structlog

from orchestrator.backends.capabilities import Capabilities, NoiseModel, Prices
from orchestrator.circuits import ir
from orchestrator.clock import Clock, NewId
from orchestrator.errors import ExecutionError
from orchestrator.model import BackendState, Characterization, Failure, Job, JobSpec, Result

if TYPE_CHECKING:
    from orchestrator.workers.pool import WorkerPool

__all__ = [
    "Adapter",
    "AdapterContext",
    "Attempt",
    "Capabilities",
    "Clock",
    "Emit",
    "NoiseModel",
    "Prepared",
    "Prices",
    "Ready",
    "guarded",
    "guarded_batch",
]

log = structlog.get_logger()


@dataclass(frozen=True, eq=False)
class Attempt:
    """One execution of a job, as an adapter sees it.

    Attributes:
        job: The job's record.
        number: Number of this execution, from 1; 0 while the job is being prepared.
        input: The circuit as `orchestrator.circuits.ir.dumps` wrote it.
        compiled: What `prepare` returned as compiled circuit, in the same form, or None.
        parent: The record of a child's parent, where `Capabilities.families` is declared and the job is handed over.
    """

    job: Job
    number: int
    input: bytes
    compiled: bytes | None = None
    parent: Job | None = None

    @property
    def id(self) -> str:
        """The job's id."""
        return self.job.id

    @cached_property
    def circuit(self) -> ir.Circuit:
        """The submitted circuit, decoded at first use."""
        return ir.loads(self.input)


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """What `prepare` found out about a job that may run."""

    compiled: bytes | None = None
    predicted_execution_ms: int | None = None
    native_gates_1q: int | None = None
    native_gates_2q: int | None = None
    warnings: tuple[str, ...] = ()


class Ready(Protocol):
    """The stream of one backend's ready jobs."""

    async def take(self, limit: int, *, start: bool = True) -> list[Attempt]:
        """Claim up to `limit` jobs; waits until there is at least one.

        Where `Capabilities.families` is declared, the ready children of one parent come together, in circuit
        order, and count as one.

        With `start` the claim records them as started in the same commit; without it they stay
        ``ready`` under lease until `Emit.started`.
        """
        ...


class Emit(Protocol):
    """What an adapter tells about its attempts. Each call returns after the commit.

    News of an attempt that no longer holds its job (canceled, timed out, requeued) is refused silently: the
    answer says so and the adapter drops the attempt.
    """

    async def started(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        """Execution began; answers those that still hold their job."""
        ...

    async def progress(self, attempt: Attempt, fraction: float) -> None:
        """Execution is `fraction` (0 to 1) through."""
        ...

    async def finished(self, outcomes: Sequence[tuple[Attempt, Result | ExecutionError]]) -> None:
        """Executions ended, each with a result or with the reason it has none."""
        ...

    async def calibrated(self, characterization: Characterization) -> None:
        """A backend was calibrated; recorded, and an event of it."""
        ...

    async def availability(self, available: bool, reason: str = "") -> None:
        """The backend can, or cannot, run jobs now; recorded as ``backend.changed`` where that is news.

        While it cannot, its jobs wait and nothing is handed out.
        """
        ...


@dataclass(frozen=True)
class AdapterContext:
    """What an adapter is given when it is opened. Nothing else of the host is reachable.

    Attributes:
        settings: The adapter's own table of the configuration.
        data: A folder of the adapter's own, to be made when needed; None with a memory store.
        workers: Supervised worker processes for heavy work.
        characterizations: The newest recorded calibration of each backend.
    """

    clock: Clock
    new_id: NewId
    workers: WorkerPool
    settings: Mapping[str, Any] = field(default_factory=dict)
    data: Path | None = None
    characterizations: Mapping[str, Characterization] = field(default_factory=dict)


async def guarded(run: Awaitable[Result]) -> Result | ExecutionError:
    """The answer of one execution, every exception of the author's code turned into an `ExecutionError`."""
    try:
        return await run
    except ExecutionError as error:
        return error
    except Exception as error:
        log.exception("adapter raised")
        return ExecutionError("InternalError", f"the backend raised {type(error).__name__}")


async def guarded_batch(
    run_batch: Callable[[Sequence[Attempt]], Awaitable[Sequence[Result | ExecutionError]]], attempts: Sequence[Attempt]
) -> list[Result | ExecutionError]:
    """One answer per attempt, whatever the author's code does.

    A batch that raises, or answers too few or too many, is run again one by one: a bad job fails alone.
    """
    try:
        outcomes = list(await run_batch(attempts))
        error = ExecutionError("InternalError", f"the backend gave {len(outcomes)} answers for {len(attempts)} jobs")
    except ExecutionError as raised:
        outcomes, error = [], raised
    except Exception as raised:
        log.exception("adapter raised", jobs=len(attempts))
        outcomes, error = [], ExecutionError("InternalError", f"the backend raised {type(raised).__name__}")
    if len(outcomes) == len(attempts):
        return outcomes
    if len(attempts) == 1:
        return [error]
    return [(await guarded_batch(run_batch, [attempt]))[0] for attempt in attempts]


class Adapter(ABC):
    """Base class of adapters. Opened once, closed once; everything in between may run concurrently."""

    name: ClassVar[str]

    @cached_property
    def _scopes(self) -> dict[Attempt, anyio.CancelScope]:
        """What `cancel` may cancel; no work for an author's ``__init__``."""
        return {}

    @cached_property
    def _wanted(self) -> dict[Attempt, set[Attempt]]:
        """The attempts of each attempt's batch that somebody waits for."""
        return {}

    async def open(self, context: AdapterContext) -> None:  # noqa: B027 - may be left out
        """Acquire what is needed. Raises to report the adapter as unavailable."""

    async def aclose(self) -> None:  # noqa: B027 - may be left out
        """Release everything; called once, also after a failed `open`."""

    def capabilities(self) -> Sequence[Capabilities]:
        """One entry per backend; asked after `open`, constant from then on."""
        raise NotImplementedError

    def state(self, backend: str) -> BackendState:
        """What moves about a backend; the dispatcher fills in the queue."""
        return BackendState(backend=backend)

    def initial_characterizations(self) -> Sequence[Characterization]:
        """Calibrations to record at start for backends that have none."""
        return ()

    async def prepare(self, attempts: Sequence[Attempt]) -> list[Prepared | Failure]:
        """Check and compile; one answer per attempt, in order. Must be repeatable.

        Called only where `instant_prepare` is false, after the capabilities were checked.
        """
        return [Prepared() for _ in attempts]

    def predict_ms(self, spec: JobSpec) -> int | None:
        """Predicted duration of one execution, milliseconds, where that is cheap to know; asked at every submit."""
        return None

    def wall_ms(self, execution_ms: int) -> int:
        """Wall time that an execution of that duration takes; they differ where time is simulated."""
        return execution_ms

    async def run(self, attempt: Attempt) -> Result:
        """Execute one attempt. Canceled (as anyio cancels) when the job is.

        Raises:
            ExecutionError: The attempt failed; any other exception is an `InternalError` of the job.
        """
        raise NotImplementedError

    async def run_batch(self, attempts: Sequence[Attempt]) -> list[Result | ExecutionError]:
        """Execute a batch; one answer per attempt, in order. If it raises, each is run again alone."""
        return [await guarded(self.run(attempt)) for attempt in attempts]

    async def serve(self, backend: Capabilities, ready: Ready, emit: Emit) -> None:
        """Serve one backend until canceled. The default runs `concurrency` lanes of `run_batch`."""

        async def lane() -> None:
            while True:
                attempts = await ready.take(backend.batch)
                wanted = set(attempts)
                with anyio.CancelScope() as scope:
                    for attempt in attempts:
                        self._scopes[attempt], self._wanted[attempt] = scope, wanted
                    try:
                        outcomes = await guarded_batch(self.run_batch, attempts)
                    finally:
                        for attempt in attempts:
                            del self._scopes[attempt], self._wanted[attempt]
                if not scope.cancelled_caught:
                    await emit.finished(list(zip(attempts, outcomes, strict=True)))

        async with anyio.create_task_group() as lanes:
            for _ in range(backend.concurrency):
                lanes.start_soon(lane)

    async def cancel(self, attempt: Attempt) -> None:
        """The attempt's job was canceled or timed out: stop working on it, if that is possible.

        The default cancels a `run`, and a `run_batch` once that holds for each of its attempts.
        """
        wanted = self._wanted.get(attempt, set())
        wanted.discard(attempt)
        if not wanted and (scope := self._scopes.get(attempt)) is not None:
            scope.cancel()

    async def heartbeat(self, attempts: Sequence[Attempt]) -> Sequence[Attempt]:
        """Those of the attempts that are still being worked on; asked every third of a lease.

        An attempt not named here loses its lease when that ends, and is run again. The default vouches for all:
        override it where executions can be lost unnoticed.
        """
        return attempts

    async def recover(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        """After a restart: those attempts that still run elsewhere and will be reported; the rest are requeued."""
        return []

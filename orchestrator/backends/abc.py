"""The adapter contract: what a backend's author writes.

An adapter serves one or more backends. It declares `capabilities` as data, and it implements one of
three forms, each built on the next:

* `run(attempt)`: a call per job;
* `run_batch(attempts)`: a call per batch;
* `serve(backend, ready, emit)`: the full form, a stream of ready jobs and free emission.

The first two may be coroutine functions, which run on the event loop and must not block it, or plain functions,
which run in threads. Queueing, leases, heartbeats, fencing, retries, time limits and cancel are the dispatcher's work.
Register the class under the entry-point group ``orchestrator.backends``.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import anyio
import msgspec

from orchestrator.backends.capabilities import Capabilities, NoiseModel, Prices
from orchestrator.backends.guarding import guarded
from orchestrator.backends.running import Execution
from orchestrator.backends.threads import called, on_loop
from orchestrator.circuits import ir
from orchestrator.clock import Clock, NewId
from orchestrator.errors import ExecutionError
from orchestrator.model import BackendState, Characterization, Cost, Failure, Job, JobSpec, Result

if TYPE_CHECKING:
    from orchestrator.workers.pool import WorkerPool

__all__ = [
    "Adapter",
    "AdapterContext",
    "Attempt",
    "Capabilities",
    "Clock",
    "Emit",
    "Estimated",
    "NoiseModel",
    "Prepared",
    "Prices",
    "Ready",
]


class Attempt(msgspec.Struct, frozen=True, eq=False, dict=True):
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
    """What `prepare` found out about a job that may run.

    Attributes:
        compiled: The compiled circuit as `orchestrator.circuits.ir.dumps` writes it, for `run` and for people.
        predicted_execution_ms: Duration of one execution, milliseconds.
        native_gates_1q: Gates of the compiled circuit on one qubit.
        native_gates_2q: The same on two.
        warnings: Sentences for the submitter.
    """

    compiled: bytes | None = None
    predicted_execution_ms: int | None = None
    native_gates_1q: int | None = None
    native_gates_2q: int | None = None
    warnings: tuple[str, ...] = ()


class Estimated(msgspec.Struct, frozen=True, kw_only=True):
    """What a run would come to.

    Attributes:
        cost: What it would cost; None where nothing is charged.
        execution_ms: How long it would take, milliseconds.
    """

    cost: Cost | None = None
    execution_ms: int | None = None


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

    def ended(self, jobs: Collection[str] = ()) -> AsyncGenerator[list[str]]:
        """Jobs of the backend that ended with no attempt of theirs in hand, by their ids, as it happens.

        An adapter whose executions outlive its attempts (`Capabilities.recovers`) follows it while it serves, and stops
        what still runs for these jobs; `cancel` tells it of attempts in hand. The first answer are those of `jobs`
        that have ended, however that came, or that nobody knows any more: name whatever may run elsewhere, since a
        job may be canceled while nobody serves. Then come those canceled, or past the queue limit, while they wait.
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

        While it cannot, its jobs wait and nothing is handed out, not to `prepare` either. It holds beside the
        operator's pause, which this does not end, and until `serve` ends: one that begins anew begins available.
        """
        ...


def _nothing() -> None:
    """Nobody has to be told."""


@dataclass(frozen=True)
class AdapterContext:
    """What an adapter is given when it is opened. Nothing else of the host is reachable.

    Attributes:
        settings: The adapter's own table of the configuration.
        data: A folder of the adapter's own, to be made when needed; None with a memory store.
        workers: Supervised worker processes for heavy work.
        characterizations: The newest recorded calibration of each backend; none in a worker process.
        isolated: This is a worker process, whose adapter is asked to run and for nothing else.
        changed: To be called when `Adapter.capabilities` answers otherwise than before. It is asked again then: what is
            new is served, what can do something else is served anew, what is missing is retired. Returns at once.
    """

    clock: Clock
    new_id: NewId
    workers: WorkerPool
    settings: Mapping[str, Any] = field(default_factory=dict)
    data: Path | None = None
    characterizations: Mapping[str, Characterization] = field(default_factory=dict)
    isolated: bool = False
    changed: Callable[[], None] = _nothing


class Adapter(ABC):
    """Base class of adapters. Opened once, closed once; everything in between may run concurrently.

    Attributes:
        isolation: Where `run` and `run_batch` are executed: ``worker``: in worker processes of the backend's own, each
            with an adapter that is made and opened there; ``server``: in the server's process; ``auto``: there, until
            it blocks the event loop or hangs in a thread, then in worker processes if that is possible.
        isolated_memory_mb: What a batch may allocate in a worker process, MiB (enforced on Linux); None for no limit.
    """

    name: ClassVar[str]
    isolation: ClassVar[Literal["auto", "server", "worker"]] = "auto"
    isolated_memory_mb: ClassVar[int | None] = None

    @cached_property
    def _execution(self) -> Execution:
        """How runs are executed; no work for an author's ``__init__``."""
        return Execution(self)

    async def open(self, context: AdapterContext) -> None:  # noqa: B027 - may be left out
        """Acquire what is needed. Raises to report the adapter as unavailable."""

    async def aclose(self) -> None:  # noqa: B027 - may be left out
        """Release everything; called once, also after a failed `open`."""

    def capabilities(self) -> Sequence[Capabilities]:
        """One entry per backend; asked after `open`, and again after `AdapterContext.changed`, else constant."""
        raise NotImplementedError(f"{type(self).__name__} has no capabilities of its own")

    def state(self, backend: str) -> BackendState:
        """What moves about a backend; the dispatcher fills in the queue."""
        return BackendState(backend=backend)

    def initial_characterizations(self) -> Sequence[Characterization]:
        """Calibrations to record at start for backends that have none."""
        return ()

    @on_loop
    def prepare(
        self, attempts: Sequence[Attempt]
    ) -> Sequence[Prepared | Failure] | Awaitable[Sequence[Prepared | Failure]]:
        """Check and compile; one answer per attempt, in order. Must be repeatable. A plain function runs in a thread.

        Called only where `instant_prepare` is false, after the capabilities were checked. If it raises, or takes
        longer than ``dispatch.prepare_limit_s``, each attempt is tried again alone, up to the limit of attempts.

        Raises:
            ExecutionError: Why the job fails, or, where it is retryable, is tried again.
        """
        return [Prepared() for _ in attempts]

    def predict_ms(self, spec: JobSpec) -> int | None:
        """Predicted duration of one execution, milliseconds, where that is cheap to know; asked at every submit."""
        return None

    def announced(self, job: Job) -> None:  # noqa: B027 - may be left out
        """A job of one circuit is about to be stored for one of its backends: time to make ready for it.

        It may be handed over much later, or never, if it is not stored after all. Called on the event loop, with each
        submit.
        """

    async def estimate(self, spec: JobSpec) -> Estimated | None:
        """What a job of that size would cost and take, where somebody else has to be asked, as ``GET /jobs/estimate``
        does; None where `Capabilities.prices` say it.

        Raises:
            Unavailable: Who knows cannot be asked now; says why.
        """
        return None

    def wall_ms(self, execution_ms: int) -> int:
        """Wall time that an execution of that duration takes; they differ where time is simulated."""
        return execution_ms

    def run(self, attempt: Attempt) -> Result | Awaitable[Result]:
        """Execute one attempt.

        A coroutine function is canceled (as anyio cancels) when the job is. A plain function runs in a thread, at most
        `concurrency` at one time, and cannot be stopped: its late answer is dropped.

        Raises:
            ExecutionError: The attempt failed; any other exception is an `InternalError` of the job.
        """
        raise NotImplementedError(f"{type(self).__name__} has neither run, nor run_batch, nor serve of its own")

    async def _run_each(self, attempts: Sequence[Attempt]) -> list[Result | ExecutionError]:
        return [await guarded(called(self.run, attempt), attempt) for attempt in attempts]

    @on_loop
    def run_batch(
        self, attempts: Sequence[Attempt]
    ) -> Sequence[Result | ExecutionError] | Awaitable[Sequence[Result | ExecutionError]]:
        """Execute a batch; one answer per attempt, in order. If it raises, each is run again alone.

        The default is a coroutine function that runs one after the other. Canceled when all of its jobs are.
        """
        return self._run_each(attempts)

    async def serve(self, backend: Capabilities, ready: Ready, emit: Emit) -> None:
        """Serve one backend until canceled. The default runs `concurrency` lanes of `run_batch`."""
        await self._execution.serve(backend, ready, emit)

    def stoppable(self, *attempts: Attempt) -> AbstractContextManager[anyio.CancelScope]:
        """For a `serve` of one's own: a scope that the default `cancel` cancels, once told of each of the attempts."""
        return self._execution.stoppable(*attempts)

    async def cancel(self, attempt: Attempt) -> None:
        """The attempt's job was canceled or timed out: stop working on it, if that is possible.

        The default cancels a `run`, and a `run_batch` once that holds for each of its attempts.
        """
        self._execution.stop(attempt)

    async def heartbeat(self, attempts: Sequence[Attempt]) -> Sequence[Attempt]:
        """Those of the attempts that are still being worked on; asked every third of a lease.

        An attempt not named here loses its lease when that ends, and is run again. The default vouches for all:
        override it where executions can be lost unnoticed.
        """
        return attempts

    async def recover(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        """After a restart: those attempts that still run elsewhere and will be reported; the rest are requeued.

        Asked of jobs that have not ended; `Ready.ended` tells of those that have.
        """
        return []

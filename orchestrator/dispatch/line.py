"""One backend's line: its waiting jobs, its leases, and the two ends an adapter holds.

A line *is* the `Ready` stream and the `Emit` sink of the adapter contract. Every piece of news becomes a guarded
move; news of an attempt whose lease is gone, or whose move is refused, changes nothing.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import Final

import anyio
import anyio.to_thread
import msgspec
import structlog

from orchestrator.backends.abc import Adapter, Attempt, Capabilities
from orchestrator.backends.standing import Hold, Standings
from orchestrator.clock import Clock
from orchestrator.dispatch import results
from orchestrator.dispatch.concluding import Concluding
from orchestrator.dispatch.endings import Endings
from orchestrator.dispatch.leases import Lease, Leases
from orchestrator.dispatch.promises import Promises
from orchestrator.dispatch.queue import Entry, Taker, WaitingQueue
from orchestrator.errors import ExecutionError, StorageError, WorkerLost
from orchestrator.events import EventKind
from orchestrator.foreign import apart, contained
from orchestrator.lifecycle import Cause, JobStatus
from orchestrator.model import Characterization, Job, Result
from orchestrator.settings import DispatchSettings
from orchestrator.storage.abc import Move, Record
from orchestrator.storage.ledger import calibration, moved

log = structlog.get_logger()
replace = msgspec.structs.replace

#: Pause before writing again to a store that could not.
WRITE_PAUSE_S: Final = 1.0

ApplyMoves = Callable[[Sequence[Move]], Awaitable[list[bool]]]
RecordEvent = Callable[[Record], Awaitable[None]]
Backoff = Callable[[int], float]


class Line:
    """See the module.

    Args:
        apply: Writes moves; answers which applied.
        record: Writes an event that moves no job.
        standings: Where backends stand; knows why this one's jobs have to wait.
        fetch: Pages of the store's jobs of this backend in a status.
        parent: Reads the parent of a child.
        unended: Reads which of some jobs have not ended.
        backoff: Failed attempts of a job -> seconds to wait.
    """

    def __init__(
        self,
        adapter: Adapter,
        capabilities: Capabilities,
        settings: DispatchSettings,
        clock: Clock,
        *,
        apply: ApplyMoves,
        record: RecordEvent,
        standings: Standings,
        fetch: Callable[[str, JobStatus, str | None, int], Awaitable[list[tuple[Job, bytes, bytes | None]]]],
        parent: Callable[[Job], Awaitable[Job | None]],
        unended: Callable[[Collection[str]], Awaitable[set[str]]],
        backoff: Backoff,
    ) -> None:
        self.adapter = adapter
        self.capabilities = capabilities
        self.backend = capabilities.backend
        self.announces = type(adapter).announced is not Adapter.announced
        self.leases = Leases()
        self.preparing: set[str] = set()
        self.settings = settings
        self.clock = clock
        self.apply = apply
        self._record = record
        self._parent = parent
        self.backoff = backoff
        self._concluding = Concluding(capabilities, clock, settings.max_failed_attempts)
        self.holds = standings.of(capabilities.backend)
        self._standings = standings
        self._closed = False
        self._looked_at = clock.monotonic()
        self._endings = Endings(clock, unended)
        self.ready = WaitingQueue(
            clock,
            lambda after, limit: fetch(self.backend, JobStatus.READY, after, limit),
            self.leases,
            families=capabilities.families,
        )
        self.promises = Promises(self.ready)
        self.submitted = WaitingQueue(
            clock, lambda after, limit: fetch(self.backend, JobStatus.SUBMITTED, after, limit), self.preparing
        )

    # -- Ready --------------------------------------------------------------------------

    async def take(self, limit: int, *, start: bool = True) -> list[Attempt]:
        """See `Ready.take`."""
        while True:
            await self.opened()
            if attempts := self._holding(self.promises.left(limit)):
                return attempts
            taker = Taker(limit, starts=start)
            try:
                entries = await self.ready.take_for(taker)
            except BaseException:
                self.promises.leave(taker)
                raise
            taker.gone = True
            if attempts := self._holding(taker.granted):
                return attempts
            if not self.open:
                for entry in entries:
                    self.ready.put_back(entry, 0.0)
                continue
            attempts = [self._lease(entry) for entry in entries if entry.job.id not in self.leases]
            if self.capabilities.families:
                attempts = await self._with_parents(attempts)
            if start:
                attempts = await self.started(attempts)
            if attempts:
                return attempts

    def ended(self, jobs: Collection[str] = ()) -> AsyncGenerator[list[str]]:
        """See `Ready.ended`."""
        return self._endings.follow(jobs)

    def drop(self, job_id: str) -> None:
        """A job ended that no attempt holds: it is not handed out any more, and who follows such ends is told."""
        self.ready.drop(job_id)
        self.submitted.drop(job_id)
        self._endings.tell(job_id)

    async def _with_parents(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        """The attempts with their parents' records, which adapters of whole families need; those that still hold."""
        parents: dict[str, Job | None] = {}
        try:
            for attempt in attempts:
                parent_id = attempt.job.parent_id
                if parent_id is not None and parent_id not in parents:
                    parents[parent_id] = await self._parent(attempt.job)
        except BaseException:  # nobody has seen these attempts
            for attempt in attempts:
                if (lease := self.leases.of(attempt)) is not None:
                    self._return(lease)
            raise
        known = []
        for attempt in attempts:
            if (lease := self.leases.of(attempt)) is not None:
                lease.attempt = replace(attempt, parent=parents.get(attempt.job.parent_id or ""))
                known.append(lease.attempt)
        return known

    @property
    def open(self) -> bool:
        """Whether anything may be handed to the adapter."""
        return self.holds.open and not self._closed

    async def opened(self) -> None:
        """Wait until something may be handed to the adapter."""
        while not self.open:
            if self._closed:
                await anyio.sleep_forever()
            await self.holds.opened()
            for queue in (self.ready, self.submitted):
                queue.release_due()

    @property
    def busy(self) -> int:
        """Jobs that the adapter has in hand."""
        return len(self.leases) + len(self.promises) + len(self.preparing)

    def close(self) -> None:
        """The adapter loses its backend: it is handed nothing more, and what it says of the backend is not heard."""
        self._closed = True

    def let_go(self) -> None:
        """End all leases and change no job: what runs elsewhere goes on, and is adopted by whoever comes next."""
        for lease in self.leases:
            self.leases.end(lease)

    async def hold(self, hold: Hold, reason: str) -> None:
        """Hand out nothing more, for a reason of the adapter's side, and tell it."""
        if not self._closed:
            self.holds.put(hold, results.text(reason))
            await self._standings.tell(self.backend)

    async def lift(self, hold: Hold) -> None:
        """Hold no more for a reason of the adapter's side, and tell it."""
        if not self._closed and hold in self.holds:
            self.holds.lift(hold)
            await self._standings.tell(self.backend)

    def _holding(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        """Those that still hold their job."""
        return [attempt for attempt in attempts if self.leases.of(attempt) is not None]

    def announce(self, job: Job) -> None:
        """See `Adapter.announced`."""
        try:
            with contained():
                self.adapter.announced(job)
        except Exception:
            log.exception("adapter raised in announced", backend=self.backend, job=job.id)

    def claim(self, job: Job, body: bytes) -> Job | None:
        """A ready job is about to be stored: as it shall be stored if it can begin at once, else None."""
        return self.promises.make(job, body) if self.open else None

    def grant(self, job: Job) -> bool:
        """A promised job was stored, as started: it is handed over. False if it was not promised here."""
        if job.id not in self.promises:
            return False
        attempt = self.promises.keep(job)
        self.leases.add(Lease(attempt, job, self.clock.monotonic() + self.settings.lease_s, self.run_limit()))
        return True

    def _lease(self, entry: Entry) -> Attempt:
        attempt = Attempt(entry.job, entry.job.attempt + 1, entry.input, entry.compiled)
        self.leases.add(Lease(attempt, entry.job, self.clock.monotonic() + self.settings.lease_s))
        return attempt

    # -- Emit ---------------------------------------------------------------------------

    async def started(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        """See `Emit.started`."""
        now = self.clock.now_ms()
        leases = [lease for attempt in attempts if (lease := self.leases.of(attempt)) is not None]
        waiting = [lease for lease in leases if lease.job.status is JobStatus.READY and lease.starting is None]
        # An adapter may tell an end while it tells the start: the second one to record it would find it recorded.
        elsewhere = [lease.starting for lease in leases if lease.starting is not None]
        recorded = anyio.Event()
        for lease in waiting:
            lease.starting = recorded
        try:
            await self._record_started(waiting, now)
        finally:
            for lease in waiting:
                lease.starting = None
            recorded.set()
        for other in elsewhere:
            await other.wait()
        return [lease.attempt for lease in leases if self.leases.of(lease.attempt) is lease]

    async def _record_started(self, waiting: Sequence[Lease], now: int) -> None:
        moves = [self._start(lease, now) for lease in waiting]
        applied = await self._write(moves) if moves else []
        run_until = self.run_limit()
        for lease, move, ok in zip(waiting, moves, applied, strict=True):
            if ok and self.leases.of(lease.attempt) is lease:
                lease.job, lease.run_until = move.after, run_until
            else:
                self.leases.end(lease)

    @staticmethod
    def _start(lease: Lease, now: int) -> Move:
        after = moved(lease.job, Cause.STARTED, now, attempt=lease.attempt.number)
        return Move(lease.job, after, EventKind.JOB_STARTED, now)

    def run_limit(self) -> float | None:
        """When an execution that begins now has to be over (monotonic seconds); None for no limit."""
        limit = self.capabilities.run_limit_s or self.settings.run_limit_s
        return self.clock.monotonic() + limit if limit else None

    async def progress(self, attempt: Attempt, fraction: float) -> None:
        """See `Emit.progress`."""
        if (lease := self.leases.of(attempt)) is not None and lease.job.status is JobStatus.STARTED:
            data = {"fraction": min(1.0, max(0.0, fraction))}
            await self._write([Move(lease.job, lease.job, EventKind.JOB_PROGRESS, self.clock.now_ms(), data=data)])

    async def finished(self, outcomes: Sequence[tuple[Attempt, Result | ExecutionError]]) -> None:
        """See `Emit.finished`. An execution whose start was not told is recorded as started in the same write."""
        recorded = anyio.Event()
        starting: dict[str, Lease] = {}
        begun: list[Move] = []
        concluded = []
        for attempt, _ in outcomes:
            if (lease := self.leases.of(attempt)) is not None and lease.starting is not None:
                await lease.starting.wait()
        try:
            for attempt, outcome in outcomes:
                if (lease := self.leases.of(attempt)) is None:
                    continue
                job = lease.job
                if job.status is JobStatus.READY:
                    start = self._start(lease, self.clock.now_ms())
                    if lease.starting is None:
                        lease.starting, starting[job.id] = recorded, lease
                        begun.append(start)
                    job = start.after
                if job.status is JobStatus.STARTED:
                    concluded.append((lease, await self._concluding.of(job, outcome)))
            applied = (await self._write([*begun, *(move for _, move in concluded)]))[len(begun) :] if concluded else []
        finally:
            for lease in starting.values():
                lease.starting = None
            recorded.set()
        for (lease, move), ok in zip(concluded, applied, strict=True):
            self.leases.end(lease)
            if ok and move.kind is EventKind.JOB_REQUEUED:
                entry = Entry(move.after, lease.attempt.input, lease.attempt.compiled)
                self.ready.put_back(entry, self.backoff(move.after.failed_attempts))
        if any(move.kind is EventKind.JOB_COMPLETED for _, move in concluded):
            await self.lift(Hold.FAILING)

    async def calibrated(self, characterization: Characterization) -> None:
        """See `Emit.calibrated`."""
        await self._record(calibration(characterization, self.clock.now_ms()))

    async def availability(self, available: bool, reason: str = "") -> None:
        """See `Emit.availability`."""
        if available:
            await self.lift(Hold.UNAVAILABLE)
        else:
            await self.hold(Hold.UNAVAILABLE, reason or "its adapter says so")

    async def _write(self, moves: Sequence[Move]) -> list[bool]:
        """Apply; where the store cannot write now, wait and try again: running jobs keep their results.

        Shielded: a cancelled write has an unknown outcome, and a lease must not be in doubt. What a failed write
        may have done all the same is safe too: the guards refuse to do it twice.
        """
        while True:
            try:
                with anyio.CancelScope(shield=True):
                    return await self.apply(moves)
            except StorageError as error:
                log.warning("cannot write; waiting", backend=self.backend, moves=len(moves), reason=str(error))
                await self.clock.sleep(WRITE_PAUSE_S)

    # -- supervision ----------------------------------------------------------------------

    async def revoked(self, lease: Lease) -> None:
        """The job of a lease ended otherwise: tell the adapter to stop."""
        try:
            stop = partial(self.adapter.cancel, lease.attempt)
            await apart(stop, "cancel", backend=self.backend, job=lease.attempt.id)
        except Exception:
            log.exception("adapter raised in cancel", backend=self.backend, job=lease.attempt.id)

    async def renew(self) -> None:
        """Ask the adapter for which attempts it vouches, and extend their leases."""
        leases = list(self.leases)
        if not leases:
            return
        ask = partial(self.adapter.heartbeat, [lease.attempt for lease in leases])
        alive = await apart(ask, "heartbeat", backend=self.backend)
        until = self.clock.monotonic() + self.settings.lease_s
        for attempt in alive:
            if (lease := self.leases.of(attempt)) is not None:
                lease.until = until

    async def enforce_limits(self) -> list[Lease]:
        """End attempts past their lease or their run limit; answers those, whose adapter is yet to be told.

        Time in which the backend is unavailable counts for no run limit: a machine that cannot be reached does not
        make a job run longer, and what its adapter finds when it comes back is to be had. An adapter whose executions
        run elsewhere is not told to stop what is only put back: the next attempt is to find it.
        """
        now, looked_at = self.clock.monotonic(), self._looked_at
        self._looked_at = now
        if Hold.UNAVAILABLE in self.holds:
            self.leases.put_off(now - looked_at)
        ended = []
        for lease in self.leases:
            if lease.run_until is not None and lease.run_until <= now:
                error = self._concluding.timed_out()
            elif lease.until <= now and lease.starting is None:
                error = WorkerLost("its lease ended")
            else:
                continue
            if lease.job.status is JobStatus.STARTED:
                await self.finished([(lease.attempt, error)])
            else:
                self._return(lease)
            if not (self.capabilities.recovers and self.ready.holds(lease.job.id)):
                ended.append(lease)
        return ended

    def _return(self, lease: Lease) -> None:
        """Take back what was handed out and never started."""
        self.leases.end(lease)
        self.ready.put_back(Entry(lease.job, lease.attempt.input, lease.attempt.compiled), 0.0)

    async def interrupt(self, reason: str, *, counts: bool) -> None:
        """Put all attempts back: their executions are gone. `counts`: as failed attempts."""
        leases = list(self.leases)
        now = self.clock.now_ms()
        moves = []
        for lease in leases:
            if lease.job.status is not JobStatus.STARTED:
                self._return(lease)
                continue
            self.leases.end(lease)
            if counts:
                moves.append(self._concluding.failed(lease.job, WorkerLost(reason)))
            else:
                after = moved(lease.job, Cause.REQUEUED, now)
                moves.append(Move(lease.job, after, EventKind.JOB_REQUEUED, now, data={"reason": reason}))
        attempts = {lease.job.id: lease.attempt for lease in leases}
        for move, ok in zip(moves, await self._write(moves) if moves else (), strict=True):
            if ok and move.kind is EventKind.JOB_REQUEUED:
                attempt = attempts[move.after.id]
                delay = self.backoff(move.after.failed_attempts) if counts else 0.0
                self.ready.put_back(Entry(move.after, attempt.input, attempt.compiled), delay)

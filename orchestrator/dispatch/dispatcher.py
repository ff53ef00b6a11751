"""The dispatcher: one line per backend, each under a supervisor of its own.

It is told of commits by the bus and offers new jobs to their lines; it adds and removes lines as adapters come and
go, and keeps time: leases, run and queue limits, delayed retries. One backend's crash never touches another's
line.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import anyio
import anyio.abc
import msgspec
import structlog

from orchestrator.backends.abc import Adapter, Capabilities
from orchestrator.backends.standing import Hold, Standings
from orchestrator.clock import Clock
from orchestrator.dispatch.forecast import Outlook, Place
from orchestrator.dispatch.leases import Lease
from orchestrator.dispatch.line import Line
from orchestrator.dispatch.queue import Entry
from orchestrator.dispatch.recovery import recover
from orchestrator.dispatch.retry import delay_s
from orchestrator.dispatch.stats import QueueStats
from orchestrator.dispatch.supervising import Supervisor
from orchestrator.events import EventKind
from orchestrator.lifecycle import Cause, JobStatus
from orchestrator.model import Failure, Job
from orchestrator.settings import DispatchSettings
from orchestrator.storage.abc import Committed, Draft, Move, Store
from orchestrator.storage.ledger import failure_data, moved

log = structlog.get_logger()
replace = msgspec.structs.replace

TICK_S: Final = 1.0
RESYNC_S: Final = 15.0
POLL_S: Final = 0.05
#: Time to put back what an adapter had in hand; beyond it (the store cannot write), the next adapter finds it.
PUT_BACK_LIMIT_S: Final = 5.0
#: Read with their inputs, so not many at once.
QUEUE_PAGE: Final = 100
#: Events that lines are told of.
_HEARD: Final = frozenset({EventKind.JOB_SUBMITTED, EventKind.JOB_CANCELED})
WAITING: Final = frozenset({JobStatus.SUBMITTED, JobStatus.READY})


class Dispatcher:
    """See the module. Runs inside the task group it is started in.

    Args:
        stats: Who waits.
        apply: Writes moves; answers which applied.
        standings: Why backends are handed nothing.
    """

    def __init__(
        self,
        store: Store,
        settings: DispatchSettings,
        clock: Clock,
        rng: random.Random,
        *,
        stats: QueueStats,
        apply: Callable[[Sequence[Move]], Awaitable[list[bool]]],
        standings: Standings,
    ) -> None:
        self._stats = stats
        self._store = store
        self._settings = settings
        self._clock = clock
        self._apply = apply
        self._standings = standings
        self._inputs: dict[str, bytes] = {}
        self._turned = clock.monotonic()
        self._tasks: anyio.abc.TaskGroup | None = None

        def backoff(failed_attempts: int) -> float:
            return delay_s(failed_attempts, rng, base_s=settings.retry_base_s, cap_s=settings.retry_cap_s)

        self._backoff = backoff
        #: Never changed, always replaced: who goes through them may wait meanwhile.
        self.lines: dict[str, Line] = {}
        self._supervisors: dict[str, Supervisor] = {}

    def _line(self, adapter: Adapter, capabilities: Capabilities) -> Line:
        return Line(
            adapter,
            capabilities,
            self._settings,
            self._clock,
            apply=self._apply,
            record=self._store.record,
            standings=self._standings,
            fetch=self._fetch,
            parent=self._parent,
            unended=self._store.unended,
            backoff=self._backoff,
        )

    async def _fetch(
        self, backend: str, status: JobStatus, after: str | None, limit: int
    ) -> list[tuple[Job, bytes, bytes | None]]:
        return await self._store.active(backend, status, after=after, limit=limit)

    async def _parent(self, child: Job) -> Job | None:
        return await self._store.job(child.project_id, child.parent_id) if child.parent_id is not None else None

    # -- commits ------------------------------------------------------------------------

    def expect(self, drafts: Sequence[Draft]) -> None:
        """These are about to be committed: their lines keep the inputs, and need not read them back."""
        for draft in drafts:
            if draft.input is not None:
                self._inputs[draft.job.id] = draft.input
            job = draft.job
            if job.status is JobStatus.READY and job.parent_id is None and not job.children:
                line = self.lines.get(job.spec.backend)
                if line is not None and line.announces and line.open:
                    line.announce(job)

    def forget(self, drafts: Sequence[Draft]) -> None:
        """These were not committed after all (or a while ago, under an idempotency key), or nobody knows.

        If one of them is committed later, its line reads the input back.
        """
        for draft in drafts:
            self._inputs.pop(draft.job.id, None)

    def claim(self, drafts: Sequence[Draft]) -> Callable[[], None]:
        """Let single jobs for which somebody waits begin in the commit that stores them; see `Claim`."""
        claimed: list[tuple[Line, Draft, Job]] = []
        for draft in drafts:
            job = draft.job
            body = self._inputs.get(job.id)
            if body is None or job.status is not JobStatus.READY or job.parent_id is not None:
                continue
            line = self.lines.get(job.spec.backend)
            if line is not None and (begun := line.claim(job, body)) is not None:
                draft.job = begun
                claimed.append((line, draft, job))

        def unclaim() -> None:
            for line, draft, job in claimed:
                draft.job = job
                line.promises.take_back(job.id)

        return unclaim

    def notice(self, entries: Sequence[Committed]) -> None:
        """Listener of the bus."""
        for event, job in entries:
            if event.kind not in _HEARD or job is None or job.children:
                continue
            line = self.lines.get(job.spec.backend)
            if event.kind is EventKind.JOB_SUBMITTED:
                body = self._inputs.pop(job.id, None)
                if job.status is JobStatus.STARTED:
                    if line is None or not line.grant(job):
                        self._stranded(job)
                elif line is not None and job.status in WAITING:
                    queue = line.ready if job.status is JobStatus.READY else line.submitted
                    if body is None:
                        queue.overlook(job.id)
                    else:
                        queue.offer(Entry(job, body))
            elif line is not None and (lease := line.leases.of_job(job.id)) is not None:
                line.leases.end(lease)
                self._revoke(line, lease)
            elif line is not None:
                line.drop(job.id)

    def _stranded(self, job: Job) -> None:
        """It was promised to an adapter that went while its commit was under way: ready again, in a task of its own."""
        if self._tasks is not None:
            self._tasks.start_soon(self.recover, (job.spec.backend,))

    def _revoke(self, line: Line, lease: Lease) -> None:
        """Tell the adapter, in a task of its own: nobody waits for an adapter's `cancel`."""
        if self._tasks is not None:
            self._tasks.start_soon(line.revoked, lease)

    # -- life ---------------------------------------------------------------------------

    def add(self, served: Iterable[tuple[Adapter, Capabilities]]) -> list[str]:
        """Lines for more backends; served once `recover` was asked about them, and `serve` or `start` called."""
        added = {capabilities.backend: self._line(adapter, capabilities) for adapter, capabilities in served}
        self.lines = self.lines | added
        return list(added)

    async def recover(
        self, backends: Collection[str] | None = None, *, lost: Mapping[str, int] = MappingProxyType({})
    ) -> None:
        """Put back what an earlier instance, or an earlier adapter, had started, unless its adapter still runs it.

        Args:
            backends: Whose jobs; None for all, also those that nobody serves.
            lost: Attempts that ended an earlier instance themselves: the number by job.
        """
        await recover(
            self.lines,
            self._store,
            self._apply,
            clock=self._clock,
            settings=self._settings,
            backends=backends,
            lost=lost,
        )

    def start(self, tasks: anyio.abc.TaskGroup) -> None:
        """Serve all lines, in tasks of that group, until it is canceled."""
        self._tasks = tasks
        self.serve(self.lines)
        tasks.start_soon(self._keep_time)

    def serve(self, backends: Iterable[str]) -> None:
        """Let the adapters of these backends serve them, in tasks of the group of `start`."""
        if self._tasks is None:
            raise RuntimeError("the dispatcher was not started")
        for backend in backends:
            supervisor = self._supervisors[backend] = Supervisor(self.lines[backend])
            self._tasks.start_soon(supervisor.run)

    async def remove(self, backends: Collection[str], reason: str) -> None:
        """Serve these no more: what their adapters have in hand is ready again, and no failed attempt.

        What runs elsewhere (`Capabilities.recovers`) stays started: who serves the backend next adopts it.
        """
        lines = [self.lines[backend] for backend in backends]
        for line in lines:
            line.close()
        async with anyio.create_task_group() as stopping:
            for line in lines:
                stopping.start_soon(self._supervisors.pop(line.backend).stop)
        with anyio.move_on_after(PUT_BACK_LIMIT_S, shield=True):
            for line in lines:
                await line.promises.kept()
                if line.capabilities.recovers:
                    line.let_go()
                else:
                    await line.interrupt(reason, counts=False)
        self.lines = {backend: line for backend, line in self.lines.items() if line not in lines}

    async def emptied(self, backends: Collection[str], limit_s: float | None, given_up: Callable[[], bool]) -> bool:
        """Wait until adapters have nothing of these backends in hand; whether that came true within the limit."""
        deadline = None if limit_s is None else self._clock.monotonic() + limit_s
        while any(line.busy for backend, line in self.lines.items() if backend in backends):
            if given_up() or (deadline is not None and self._clock.monotonic() >= deadline):
                return False
            await self._clock.sleep(POLL_S)
        return True

    def busy(self, backend: str) -> int:
        """Jobs of a backend that its adapter has in hand."""
        line = self.lines.get(backend)
        return 0 if line is None else line.busy

    async def drain(self) -> None:
        """Hand out nothing more and wait for running attempts, up to the drain limit."""
        for line in self.lines.values():
            line.holds.put(Hold.STOPPING, "the server is stopping")
        deadline = self._clock.monotonic() + self._settings.drain_s
        ending = [line for line in self.lines.values() if not line.capabilities.recovers]
        while any(len(line.leases) for line in ending) and self._clock.monotonic() < deadline:
            await self._clock.sleep(POLL_S)

    async def put_back(self) -> None:
        """After the lines were canceled: what still ran is ready again, and no failed attempt.

        What runs elsewhere stays started: the next start adopts it, see `recover`.
        """
        for line in self.lines.values():
            if line.capabilities.recovers:
                line.let_go()
            else:
                await line.interrupt("the server was stopped", counts=False)

    def predicted_wait_ms(self, job: Job) -> int | None:
        """Wall milliseconds until a waiting job probably starts; None for others, and where nothing is predicted."""
        line = self.lines.get(job.spec.backend)
        return None if line is None or job.status not in WAITING else self._outlook(line).wait_ms(job.id)

    def forecast(self, most: int | None = None) -> Iterator[Place]:
        """The places of ready jobs, backend by backend, or the first so many of each."""
        for line in self.lines.values():
            yield from self._outlook(line).places(most)

    def places_of(self, names: Collection[str], most: int) -> Iterator[Place]:
        """The places of jobs by id, and of the first `most` of each parent's children and each session's jobs."""
        for line in self.lines.values():
            yield from self._outlook(line).places_of(names, most)

    def _outlook(self, line: Line) -> Outlook:
        return Outlook(line, self._stats.ready(line.backend), self._clock.now_ms())

    # -- time ---------------------------------------------------------------------------

    @property
    def turned(self) -> float:
        """When the time-keeping loop last turned (monotonic seconds)."""
        return self._turned

    async def _keep_time(self) -> None:
        """Limits and delays of all lines. Waits for the store alone, never for an adapter.

        Where the whole event loop stood still, nobody could vouch for anything: leases are longer by that time.
        """
        tick_s = min(TICK_S, self._settings.lease_s / 3)
        resync_at = due = self._clock.monotonic()
        while True:
            now = self._turned = self._clock.monotonic()
            if now - due > tick_s:
                for line in self.lines.values():
                    line.leases.extend(now - due)
            await self._tell()
            for line in self.lines.values():
                try:
                    for lease in await line.enforce_limits():
                        self._revoke(line, lease)
                    line.ready.release_due()
                    line.submitted.release_due()
                    if now >= resync_at:
                        line.ready.resync()
                        line.submitted.resync()
                        await self._enforce_queue_limit(line)
                except Exception:
                    log.exception("keeping time failed", backend=line.backend)
            if now >= resync_at:
                resync_at = now + RESYNC_S
            due = self._clock.monotonic() + tick_s
            await self._clock.sleep(tick_s)

    async def _tell(self) -> None:
        """What could not be recorded about backends when it was news."""
        try:
            await self._standings.tell()
        except Exception:
            log.exception("telling where backends stand failed")

    async def _enforce_queue_limit(self, line: Line) -> None:
        """Fail what has waited too long, oldest first: pages until one has nothing of the kind."""
        if not self._settings.queue_limit_s:
            return
        failure = Failure(code="SystemCancel", message="the job waited longer than the queue limit")
        after: str | None = None
        while page := await self._store.active(line.backend, JobStatus.READY, after=after, limit=QUEUE_PAGE):
            after = page[-1][0].id
            now = self._clock.now_ms()
            moves = []
            for job, _, _ in page:
                if job.id not in line.leases and now - (job.ready_at or now) > self._settings.queue_limit_s * 1000:
                    failed = moved(job, Cause.FAILED, now, outcome=replace(job.outcome, failure=failure))
                    moves.append(Move(job, failed, EventKind.JOB_FAILED, now, data=failure_data(failure)))
            if not moves:
                return
            for move, ok in zip(moves, await self._apply(moves), strict=True):
                if ok:
                    line.drop(move.after.id)

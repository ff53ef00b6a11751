"""The dispatcher: one line per backend, each under a supervisor of its own.

It is told of commits by the bus and offers new jobs to their lines; it runs every adapter's `serve`, restarts it
when it crashes, and keeps time: leases, run and queue limits, delayed retries. One backend's crash never
touches another's line.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Final

import anyio
import anyio.abc
import msgspec
import structlog

from orchestrator.backends.abc import Adapter, Attempt, Capabilities
from orchestrator.clock import Clock
from orchestrator.dispatch.leases import Lease
from orchestrator.dispatch.line import Line, Place
from orchestrator.dispatch.preparing import Preparer
from orchestrator.dispatch.queue import Entry
from orchestrator.dispatch.retry import delay_s
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
PAGE: Final = 1000
#: Read with their inputs, so not many at once.
QUEUE_PAGE: Final = 100
#: Events that lines are told of.
_HEARD: Final = frozenset({EventKind.JOB_SUBMITTED, EventKind.JOB_CANCELED})
WAITING: Final = frozenset({JobStatus.SUBMITTED, JobStatus.READY})


class Dispatcher:
    """See the module. Runs inside the task group it is started in.

    Args:
        served: Each adapter with the capabilities of one of its backends.
        apply: Writes moves; answers which applied.
    """

    def __init__(
        self,
        served: Iterable[tuple[Adapter, Capabilities]],
        store: Store,
        settings: DispatchSettings,
        clock: Clock,
        rng: random.Random,
        *,
        apply: Callable[[Sequence[Move]], Awaitable[list[bool]]],
    ) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._apply = apply
        self._inputs: dict[str, bytes] = {}
        self._turned = clock.monotonic()
        self._tasks: anyio.abc.TaskGroup | None = None

        def backoff(failed_attempts: int) -> float:
            return delay_s(failed_attempts, rng, base_s=settings.retry_base_s, cap_s=settings.retry_cap_s)

        self._backoff = backoff
        self.lines = {
            capabilities.backend: Line(
                adapter,
                capabilities,
                settings,
                clock,
                apply=apply,
                record=store.record,
                fetch=self._fetch,
                parent=self._parent,
                backoff=backoff,
            )
            for adapter, capabilities in served
        }

    async def _fetch(
        self, backend: str, status: JobStatus, after: str | None, limit: int
    ) -> list[tuple[Job, bytes, bytes | None]]:
        return await self._store.active(backend, status, after=after, limit=limit)

    async def _parent(self, child: Job) -> Job | None:
        return await self._store.job(child.project_id, child.parent_id) if child.parent_id is not None else None

    # -- commits ------------------------------------------------------------------------

    def expect(self, drafts: Sequence[Draft]) -> None:
        """Inputs of jobs about to be committed, so that their lines need not read them back."""
        for draft in drafts:
            if draft.input is not None:
                self._inputs[draft.job.id] = draft.input

    def forget(self, drafts: Sequence[Draft]) -> None:
        """These were not committed after all (or a while ago, under an idempotency key), or nobody knows.

        If one of them is committed later, its line reads the input back.
        """
        for draft in drafts:
            self._inputs.pop(draft.job.id, None)

    def notice(self, entries: Sequence[Committed]) -> None:
        """Listener of the bus."""
        for event, job in entries:
            if event.kind not in _HEARD or job is None or job.children:
                continue
            line = self.lines.get(job.spec.backend)
            if line is None:
                continue
            if event.kind is EventKind.JOB_SUBMITTED:
                body = self._inputs.pop(job.id, None)
                if job.status in WAITING:
                    queue = line.ready if job.status is JobStatus.READY else line.submitted
                    if body is None:
                        queue.overlook(job.id)
                    else:
                        queue.offer(Entry(job, body))
            elif (lease := line.leases.of_job(job.id)) is not None:
                line.leases.end(lease)
                self._revoke(line, lease)
            else:
                line.ready.drop(job.id)
                line.submitted.drop(job.id)

    def _revoke(self, line: Line, lease: Lease) -> None:
        """Tell the adapter, in a task of its own: nobody waits for an adapter's `cancel`."""
        if self._tasks is not None:
            self._tasks.start_soon(line.revoked, lease)

    # -- life ---------------------------------------------------------------------------

    async def recover(self) -> None:
        """Put back what an earlier instance had started, unless its adapter still runs it elsewhere."""
        for line in self.lines.values():
            await self._adopt(line)
        after: str | None = None
        while page := await self._store.stranded(after=after, limit=PAGE):
            after = page[-1].id
            now = self._clock.now_ms()
            data = {"reason": "the server was restarted"}
            await self._apply(
                [
                    Move(job, moved(job, Cause.REQUEUED, now), EventKind.JOB_REQUEUED, now, data=data)
                    for job in page
                    if not self._held(job)
                ]
            )

    def _held(self, job: Job) -> bool:
        line = self.lines.get(job.spec.backend)
        return line is not None and job.id in line.leases

    async def _adopt(self, line: Line) -> None:
        after: str | None = None
        while page := await self._store.active(line.backend, JobStatus.STARTED, after=after, limit=PAGE):
            after = page[-1][0].id
            attempts = [Attempt(job, job.attempt, body, compiled) for job, body, compiled in page]
            try:
                running = set(await line.adapter.recover(attempts))
            except Exception:
                log.exception("adapter raised in recover", backend=line.backend)
                return
            until, run_until = self._clock.monotonic() + self._settings.lease_s, line.run_limit()
            for attempt in attempts:
                if attempt in running:
                    line.leases.add(Lease(attempt, attempt.job, until, run_until))

    def start(self, tasks: anyio.abc.TaskGroup) -> None:
        """Serve all lines, in tasks of that group, until it is canceled."""
        self._tasks = tasks
        for line in self.lines.values():
            preparer = Preparer(line, self._settings, self._clock, apply=self._apply, backoff=self._backoff)
            tasks.start_soon(self._supervise, "serve", line, lambda line=line: self._serve(line))
            tasks.start_soon(self._supervise, "prepare", line, preparer.run)
            tasks.start_soon(self._renew, line)
        tasks.start_soon(self._keep_time)

    async def _serve(self, line: Line) -> None:
        try:
            await line.adapter.serve(line.capabilities, line, line)
        except Exception:
            await line.interrupt("the adapter crashed", counts=True)
            raise
        await line.interrupt("the adapter stopped serving", counts=False)

    async def _supervise(self, what: str, line: Line, run: Callable[[], Awaitable[None]]) -> None:
        """Run, and run again with backoff; a crash stays here."""
        crashes = 0
        while True:
            begun = self._clock.monotonic()
            try:
                await run()
                log.warning("adapter returned", what=what, backend=line.backend)
            except Exception:
                log.exception("adapter crashed", what=what, backend=line.backend)
            crashes = 1 if self._clock.monotonic() - begun > self._settings.retry_cap_s else crashes + 1
            await self._clock.sleep(self._backoff(crashes))

    async def drain(self) -> None:
        """Hand out nothing more and wait for running attempts, up to the drain limit."""
        for line in self.lines.values():
            line.hold()
        deadline = self._clock.monotonic() + self._settings.drain_s
        ending = [line for line in self.lines.values() if not line.capabilities.recovers]
        while any(len(line.leases) for line in ending) and self._clock.monotonic() < deadline:
            await self._clock.sleep(0.05)

    async def put_back(self) -> None:
        """After the lines were canceled: what still ran is ready again, and no failed attempt.

        What runs elsewhere stays started: the next start adopts it, see `recover`.
        """
        for line in self.lines.values():
            if not line.capabilities.recovers:
                await line.interrupt("the server was stopped", counts=False)

    def predicted_wait_ms(self, job: Job) -> int | None:
        """Predicted run times of what is ahead of a waiting job, in all."""
        line = self.lines.get(job.spec.backend)
        return line.predicted_wait_ms(job) if line is not None and job.status in WAITING else None

    def forecast(self) -> Iterator[Place]:
        """The places of waiting jobs, backend by backend; see `Line.forecast`."""
        for line in self.lines.values():
            yield from line.forecast()

    # -- time ---------------------------------------------------------------------------

    @property
    def turned(self) -> float:
        """When the time-keeping loop last turned (monotonic seconds)."""
        return self._turned

    async def _renew(self, line: Line) -> None:
        """Ask for signs of life, every third of a lease; an adapter that hangs here loses its own leases only."""
        while True:
            try:
                await line.renew()
            except Exception:
                log.exception("adapter raised in heartbeat", backend=line.backend)
            await self._clock.sleep(self._settings.lease_s / 3)

    async def _keep_time(self) -> None:
        """Limits and delays of all lines. Waits for the store alone, never for an adapter."""
        resync_at = self._clock.monotonic()
        while True:
            now = self._turned = self._clock.monotonic()
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
            await self._clock.sleep(min(TICK_S, self._settings.lease_s / 3))

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
                    failed = replace(moved(job, Cause.FAILED, now), outcome=replace(job.outcome, failure=failure))
                    moves.append(Move(job, failed, EventKind.JOB_FAILED, now, data=failure_data(failure)))
            if not moves:
                return
            await self._apply(moves)

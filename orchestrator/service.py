"""The front door, for the HTTP API, the command line and embedders alike.

::

    async with Orchestrator.open("data") as orchestrator:
        job = await orchestrator.submit(circuit, backend="simulator")
        result = await orchestrator.result(job.id)

Nothing runs at import, nothing global is changed, and two orchestrators can live in one process.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, Final, overload

import anyio
import msgspec
import structlog
from anyio import AsyncContextManagerMixin

from orchestrator.accounts import Accounts
from orchestrator.backends.abc import Adapter, Estimated
from orchestrator.backends.registry import Backends
from orchestrator.bus import Bus
from orchestrator.circuits import ir
from orchestrator.clock import Clock, SystemClock, uuid7_factory
from orchestrator.dispatch.forecast import Place
from orchestrator.dispatch.stats import QueueStats
from orchestrator.dispatch.watchdog import Blocker
from orchestrator.errors import (
    InvalidRequest,
    JobCanceled,
    JobFailed,
    JobNotFound,
    ResultNotReady,
    Unavailable,
    UnsupportedEventLoop,
)
from orchestrator.fleet import Fleet
from orchestrator.foreign import apart
from orchestrator.lifecycle import ACTIVE, JobStatus
from orchestrator.model import Job, JobRequest, JobSpec, Page, Project, Result
from orchestrator.notify.abc import Channel
from orchestrator.notify.listeners import F, Listener, Listeners, checked, kinds_of
from orchestrator.notify.service import Hooks
from orchestrator.opening import Wanted, opened, running, store_for
from orchestrator.sessions import Sessions
from orchestrator.settings import Settings
from orchestrator.snapshot import snapshot
from orchestrator.storage.abc import Idempotency, JobFilter, Report, Store, Submit
from orchestrator.storage.ledger import cancellation, deletion
from orchestrator.subscription import LATEST, EventLog, FeedItem, Selection
from orchestrator.workers.pool import WorkerPool

log = structlog.get_logger()

#: Longest that an adapter may take to estimate what a job would cost.
ESTIMATE_LIMIT_S: Final = 15.0

_result = msgspec.json.Decoder(Result).decode


class CancelAnswer(StrEnum):
    """What a cancel found: it moved the job, the job was canceled already, or it had ended otherwise."""

    MOVED = "moved"
    ALREADY = "already"
    TERMINAL = "terminal"


class Orchestrator(AsyncContextManagerMixin):
    """See the module; made by `open`. Every call that names no project means the first one.

    Attributes:
        project: The first project.
        fleet: Pauses, drains and replaces backends and adapters.
        hooks: Notification rules.
        sessions: Runs of jobs with limits on them together; a job joins one by ``session_id``.
        store, bus, accounts, backends, workers, event_log: The parts, for those who serve or watch an orchestrator.
    """

    project: Project
    accounts: Accounts
    backends: Backends
    bus: Bus
    event_log: EventLog
    fleet: Fleet
    hooks: Hooks
    sessions: Sessions
    workers: WorkerPool
    stats: QueueStats

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        data: Path | None,
        adapters: Sequence[Adapter] | None,
        channels: Sequence[Channel],
        clock: Clock,
        rng: random.Random | None,
        reread: Callable[[], Settings] | None,
        on_stuck: Callable[[Blocker], object] | None,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.store = store
        self.data = data
        self._listeners = Listeners()
        self._wanted = Wanted(
            settings=settings,
            store=store,
            data=data,
            adapters=adapters,
            channels=channels,
            listeners=self._listeners,
            clock=clock,
            rng=rng or random.Random(),
            new_id=uuid7_factory(clock, rng),
            reread=reread,
            on_stuck=on_stuck,
            result_of=lambda job: self.fetch_result(job.id, project=job.project_id),
        )

    @classmethod
    def open(
        cls,
        data: str | Path | None = None,
        *,
        settings: Settings | None = None,
        adapters: Sequence[Adapter] | None = None,
        channels: Sequence[Channel] = (),
        store: Store | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        reread: Callable[[], Settings] | None = None,
        on_stuck: Callable[[Blocker], object] | None = None,
    ) -> Orchestrator:
        """An orchestrator to be entered with ``async with``; on leaving, running jobs are put back and all is released.

        Args:
            data: Folder of the SQLite store; None keeps everything in memory.
            adapters: Adapters to serve, not yet opened; None discovers the installed ones `settings` names.
            channels: Notification channels of your own, not yet opened, beside those `settings` names.
            store: A store of your own instead, not yet opened.
            clock, rng: Time and randomness; of the same seed come the same ids, seeds and delays.
            reread: Reads the settings anew, for adapters that `fleet` makes anew; None keeps `settings`.
            on_stuck: Called from a thread when the event loop has stood still for ``dispatch.blocked_limit_s``, with
                the place, which is remembered in the data folder by then. Nothing but ending the process helps.

        Raises (on entering):
            StoreLocked: Another process owns the folder.
            StorageRefused: The data is foreign, corrupt or newer.
            UnsupportedEventLoop: Not on asyncio.
        """
        clock = clock or SystemClock()
        settings = settings or Settings()
        folder = None if data is None else Path(data)
        if store is None:
            store = store_for(folder, settings, clock)
        return cls(
            store,
            settings,
            data=folder,
            adapters=adapters,
            channels=channels,
            clock=clock,
            rng=rng,
            reread=reread,
            on_stuck=on_stuck,
        )

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Orchestrator]:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise UnsupportedEventLoop("not asyncio") from None
        async with AsyncExitStack() as stack:
            parts = await opened(stack, self._wanted)
            self.project, self.accounts, self.backends = parts.project, parts.accounts, parts.backends
            self.bus, self.event_log, self.hooks = parts.bus, parts.event_log, parts.hooks
            self.sessions, self.workers, self.stats = parts.sessions, parts.workers, parts.stats
            self.fleet = parts.fleet
            self._recent, self._drafter, self._dispatcher = parts.recent, parts.drafter, parts.dispatcher
            async with running(parts, self._wanted):
                yield self

    # -- submitting ---------------------------------------------------------------------

    async def submit(
        self,
        request: JobRequest | ir.Circuit | Sequence[ir.Circuit],
        *,
        project: str | None = None,
        idempotency: Idempotency | None = None,
        **options: Any,
    ) -> Job:
        """Submit a job; it is durable when this returns.

        Args:
            request: A request, or a circuit, or several (a parent with one child each).
            idempotency: The same key and digest again answer the first job instead of making another.
            options: Members of `JobRequest`, where `request` is not one; ``backend`` defaults to ``simulator``, and
                ``noise`` may be a mapping as in a body of the HTTP API.

        Cancelling this call does not take the submit back.

        Raises:
            InvalidRequest: Something is out of range; BackendNotFound, BackendRetired, IdempotencyMismatch and
                SessionRefused are such.
            StorageError: It could not be stored.
        """
        if isinstance(request, JobRequest):
            return await self._submit(request, project, idempotency)
        multi = not isinstance(request, ir.Circuit)
        circuits = (request,) if isinstance(request, ir.Circuit) else tuple(request)
        options.setdefault("backend", "simulator")
        return await self._submit(JobRequest(circuits=circuits, multi=multi, **options), project, idempotency)

    async def _submit(self, request: JobRequest, project: str | None, idempotency: Idempotency | None) -> Job:
        drafts = await self._drafter.draft(request, project or self.project.id)
        self._dispatcher.expect(drafts)
        try:
            job = await self.store.submit(Submit(drafts, idempotency))
        except BaseException:  # also canceled, where nobody knows
            self._dispatcher.forget(drafts)
            raise
        if job is not drafts[0].job:
            self._dispatcher.forget(drafts)
        return job

    async def submit_many(self, requests: Sequence[JobRequest], *, project: str | None = None) -> list[Job]:
        """Submit several jobs in one commit: all are stored, or none."""
        owner = project or self.project.id
        families = [await self._drafter.draft(request, owner) for request in requests]
        drafts = [draft for family in families for draft in family]
        if not drafts:
            return []
        self._dispatcher.expect(drafts)
        try:
            await self.store.submit(Submit(drafts))
        except BaseException:  # also canceled, where nobody knows
            self._dispatcher.forget(drafts)
            raise
        return [family[0].job for family in families]

    # -- looking ------------------------------------------------------------------------

    async def get(self, job_id: str, *, project: str | None = None) -> Job:
        """A job.

        Raises:
            JobNotFound: Unknown, deleted or of another project.
        """
        owner = project or self.project.id
        job = self._recent.get(job_id)
        if job is None:
            job = await self.store.job(owner, job_id)
        if job is None or job.project_id != owner or job.deleted_at is not None:
            raise JobNotFound(job_id)
        return job

    async def children(self, job_id: str, *, project: str | None = None) -> list[Job]:
        """Children of a parent in circuit order; none of a single circuit."""
        job = await self.get(job_id, project=project)
        return await self.store.children(job.project_id, job.id) if job.children else []

    async def list_jobs(
        self,
        *,
        project: str | None = None,
        ids: Sequence[str] | None = None,
        parent_id: str | None = None,
        statuses: Collection[JobStatus] | None = None,
        backends: Sequence[str] | None = None,
        session_id: str | None = None,
        limit: int = 25,
        before: str | None = None,
    ) -> Page:
        """A page of jobs, newest first; children only when asked for by `ids` or `parent_id`.

        Raises:
            InvalidRequest: `limit` is not positive.
        """
        if limit < 1:
            raise InvalidRequest("limit must be at least 1", fields=("limit",), source="query")
        where = JobFilter(ids, parent_id, statuses, backends, session_id)
        jobs = await self.store.jobs(project or self.project.id, where, limit=limit + 1, before=before)
        more = len(jobs) > limit
        return Page(jobs=jobs[:limit], next=jobs[limit - 1].id if more else None)

    async def estimate(self, spec: JobSpec) -> Estimated | None:
        """What a job of that size would cost and take, where its adapter has to ask for that; None where it need not.

        Raises:
            Unavailable: Who knows cannot be asked now.
        """
        try:
            ask = partial(self.backends.adapter(spec.backend).estimate, spec)
            with anyio.fail_after(ESTIMATE_LIMIT_S):
                return await apart(ask, "estimate", backend=spec.backend)
        except Unavailable:
            raise
        except Exception as error:
            log.exception("adapter raised in estimate", backend=spec.backend)
            raise Unavailable("the backend does not estimate now") from error

    def predicted_wait_ms(self, job: Job) -> int | None:
        """How long a waiting job will probably wait; None where it does not wait or nothing is predicted."""
        return self._dispatcher.predicted_wait_ms(job)

    def forecast(self, most: int | None = None) -> Iterator[Place]:
        """The places of ready jobs, backend by backend, or the first so many of each; see `dispatch.forecast`."""
        return self._dispatcher.forecast(most)

    def places_of(self, names: Collection[str], most: int) -> Iterator[Place]:
        """The places of ready jobs by id, and of the first `most` of each parent's children and each session's jobs."""
        return self._dispatcher.places_of(names, most)

    # -- stopping -----------------------------------------------------------------------

    async def cancel(self, job_ids: Sequence[str], *, project: str | None = None) -> list[CancelAnswer]:
        """Cancel jobs; a parent's children with it. A job that has ended stays as it is.

        Raises:
            JobNotFound: One of them is unknown; then nothing was changed.
        """
        jobs = [await self.get(job_id, project=project) for job_id in job_ids]
        answers = {
            job.id: CancelAnswer.ALREADY if job.status is JobStatus.CANCELED else CancelAnswer.TERMINAL for job in jobs
        }
        active = {job.id: job for job in jobs if job.status in ACTIVE}
        while active:
            await self._cancel_once(list(active.values()))
            seen = [await self._seen(job) for job in active.values()]
            for job in seen:
                if job.status is JobStatus.CANCELED:
                    answers[job.id] = CancelAnswer.MOVED
            active = {job.id: job for job in seen if job.status in ACTIVE}
        return [answers[job_id] for job_id in job_ids]

    async def _seen(self, job: Job) -> Job:
        """The job as it stands; one deleted meanwhile has ended, as a canceled job for all that is known."""
        try:
            return await self.get(job.id, project=job.project_id)
        except JobNotFound:
            return msgspec.structs.replace(job, status=JobStatus.CANCELED)

    async def _cancel_once(self, jobs: Sequence[Job]) -> None:
        """One guarded try; a job that moved meanwhile is left for the next."""
        now = self.clock.now_ms()
        leaves: list[Job] = []
        for job in jobs:
            leaves += await self.store.children(job.project_id, job.id) if job.children else [job]
        await self.store.apply([cancellation(leaf, now) for leaf in leaves if leaf.status in ACTIVE])

    async def delete(self, job_ids: Sequence[str], *, project: str | None = None) -> None:
        """Hide jobs for good, children with their parent; active ones are canceled first.

        Raises:
            JobNotFound: One of them is unknown; then nothing was changed.
        """
        await self.cancel(job_ids, project=project)
        jobs = [await self.get(job_id, project=project) for job_id in dict.fromkeys(job_ids)]
        now = self.clock.now_ms()
        await self.store.apply([deletion(job, now) for job in jobs])

    # -- results ------------------------------------------------------------------------

    async def wait(self, job_id: str, *, project: str | None = None, timeout_s: float | None = None) -> Job:
        """The job, once it has ended. Cancelling the wait does not cancel the job.

        Raises:
            JobNotFound: As `get`.
            TimeoutError: It has not ended in time.
            Unavailable: The orchestrator was closed.
        """
        waiter = self._recent.wait(job_id)
        try:
            job = await self.get(job_id, project=project)
            if job.terminal:
                return job
            if timeout_s is None:
                return await waiter
            with anyio.fail_after(timeout_s):
                return await waiter
        finally:
            self._recent.leave(job_id, waiter)

    async def result(self, job_id: str, *, project: str | None = None, timeout_s: float | None = None) -> Result:
        """The result of a single-circuit job, once it has completed.

        Raises:
            JobFailed, JobCanceled: It ended without one.
            ResultNotReady: It is a parent (see `child_results`) or a dry run.
            TimeoutError: It has not ended in time.
        """
        job = await self.wait(job_id, project=project, timeout_s=timeout_s)
        if job.outcome.failure is not None:
            raise JobFailed(job.id, job.outcome.failure.code, job.outcome.failure.message)
        if job.status is JobStatus.CANCELED:
            raise JobCanceled(job.id)
        return await self.fetch_result(job.id, project=project)

    async def fetch_result(self, job_id: str, *, project: str | None = None) -> Result:
        """The result of a single-circuit job, as it stands.

        Raises:
            ResultNotReady: There is none.
        """
        job = await self.get(job_id, project=project)
        if job.status is not JobStatus.COMPLETED:
            raise ResultNotReady(job_id)
        found = await self.store.results(job.project_id, [job.id])
        if job.id not in found:
            raise ResultNotReady(job_id)
        return await _decoded(found[job.id])

    async def child_results(self, job_id: str, *, project: str | None = None) -> list[tuple[Job, Result]]:
        """The children of a completed parent with their results, in circuit order; deleted children are left out.

        Raises:
            ResultNotReady: The parent has not completed, or was a dry run.
        """
        parent = await self.get(job_id, project=project)
        if parent.status is not JobStatus.COMPLETED or parent.spec.dry_run:
            raise ResultNotReady(job_id)
        children = await self.children(job_id, project=project)
        found = await self.store.results(parent.project_id, [child.id for child in children])
        return [(child, await _decoded(found[child.id])) for child in children if child.id in found]

    async def circuit(self, job_id: str, *, project: str | None = None) -> ir.Circuit:
        """A single-circuit job's circuit as submitted.

        Raises:
            JobNotFound: As `get`; also for parents, which have none of their own.
        """
        return ir.loads((await self._bodies(job_id, project))[0])

    async def compiled(self, job_id: str, *, project: str | None = None) -> ir.Circuit | None:
        """The native circuit the backend compiled, if it did."""
        body = (await self._bodies(job_id, project))[1]
        return None if body is None else ir.loads(body)

    async def _bodies(self, job_id: str, project: str | None) -> tuple[bytes, bytes | None]:
        found = await self.store.input(project or self.project.id, job_id)
        if found is None:
            raise JobNotFound(job_id)
        return found

    # -- events -------------------------------------------------------------------------

    def events(
        self,
        cursor: str = LATEST,
        *,
        project: str | None = None,
        jobs: Collection[str] = (),
        sessions: Collection[str] = (),
        kinds: Collection[str] = (),
        backends: Collection[str] = (),
    ) -> AsyncGenerator[FeedItem]:
        """Committed events of the project in order: those after the cursor, then live ones, without end.

        Args:
            cursor: A cursor of an earlier item, ``earliest`` or ``latest``.
            jobs, sessions, kinds, backends: Only events of these jobs (a parent stands for its children too), of jobs
                of these sessions, of these kinds or families such as ``job.*``, of these backends.

        Where retention has removed events, ``earliest`` begins with a `subscription.Gap`.

        Raises:
            InvalidRequest: There is no such kind or backend; at once.
            InvalidCursor: Not a cursor of this log.
            CursorExpired: Retention has removed events after it.
        """
        chosen = Selection.of(
            project or self.project.id,
            jobs=jobs,
            sessions=sessions,
            kinds=kinds,
            backends=backends,
            resolve=self.backends.resolve,
        )
        return self.event_log.read(cursor, chosen, self.snapshot)

    async def snapshot(self, selection: Selection) -> dict[str, Any]:
        """Where things stand, for a reader whose events are gone; see `orchestrator.snapshot`."""
        return await snapshot(self.store, self.backends, selection)

    @overload
    def on(self, kind: str | Collection[str]) -> Callable[[F], F]: ...

    @overload
    def on(self, kind: str | Collection[str], function: F) -> F: ...

    def on(self, kind: str | Collection[str], function: Listener | None = None) -> Any:
        """Call a coroutine function with every committed event of a kind, or of several or a family such as
        ``job.*``, of all projects.

        As a decorator, ``@orchestrator.on("job.completed")``, or with the function as second argument; before
        the orchestrator is entered or after. Functions run outside of any transition, each with a bounded queue and
        a task of its own; what one raises is logged.

        Raises:
            InvalidRequest: There is no event of that kind.
            TypeError: The function is no coroutine function.
        """
        kinds = kinds_of(kind)

        def register(function: F) -> F:
            self._listeners.add(kinds, checked(function))
            return function

        return register if function is None else register(function)

    def last_cursor(self) -> str:
        """The cursor of the newest committed event."""
        return self.event_log.last_cursor()

    async def verify(self) -> Report:
        """Fold the event log and compare it with the tables."""
        return await self.store.verify()

    def alive(self) -> dict[str, float]:
        """Seconds since each long-lived loop last turned."""
        return {"dispatcher": self.clock.monotonic() - self._dispatcher.turned}


#: A body beyond this many bytes is decoded off the event loop.
_LARGE: Final = 262_144


async def _decoded(body: bytes) -> Result:
    if len(body) > _LARGE:
        return await anyio.to_thread.run_sync(_result, body)
    return _result(body)

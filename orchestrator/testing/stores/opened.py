"""A store under test, with what it told and short ways to write to it."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from itertools import count
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from orchestrator.events import KIND_OF, Event, EventKind
from orchestrator.hooks import Delivery, Hook
from orchestrator.lifecycle import TERMINAL, Cause, JobStatus, derive_parent
from orchestrator.model import Failure, Job, JobSpec, Outcome, Project, Session, SessionLimits
from orchestrator.storage import ledger
from orchestrator.storage.abc import Committed, Draft, EndSession, Idempotency, Move, Store, Submit
from orchestrator.testing.clock import ManualClock

PROJECT: Final = "project-1"
BACKEND: Final = "simulator"
INPUT: Final = b'{"qubits":1,"gates":[["h",[0]]]}'
RESULT: Final = b'{"qubits":1,"probabilities":{"0":0.5,"1":0.5}}'
FAILURE: Final = Failure(code="SimulationError", message="it broke")
ALL: Final = 1_000_000

replace = msgspec.structs.replace


async def refused(kind: type[Exception], call: Awaitable[object]) -> None:
    """The call has to raise `kind`."""
    try:
        await call
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was not raised")


class Opened:
    """Opens the store on entry; on exit verifies and closes it.

    Args:
        store: A store that was not opened yet and holds no jobs.
        clock: The store's clock.

    Attributes:
        told: What `on_commit` was told so far.
        routed: Ids of hooks that every job's end is to be delivered to.
        sound: Whether to verify on exit; false once a check has planted damage or closed the store.
    """

    def __init__(self, store: Store, clock: ManualClock) -> None:
        self.store = store
        self.clock = clock
        self.told: list[Committed] = []
        self.routed: list[str] = []
        self.sound = True
        self._numbers = count(1)

    async def __aenter__(self) -> Self:
        await self.store.open(self.told.extend, self._route)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None and self.sound:
                assert (await self.store.verify()).problems == ()
        finally:
            await self.store.aclose()

    def _route(self, entries: Sequence[Committed]) -> list[Delivery]:
        """Without hooks, as a store without a route."""
        return [
            Delivery(id=f"{hook_id}-{event.sequence}", hook_id=hook_id, event=event, due_at=event.at)
            for event, _ in entries
            for hook_id in self.routed
            if event.after in TERMINAL and event.before is not event.after
        ]

    # -- making -------------------------------------------------------------------------

    def new_id(self) -> str:
        """Ids ascend, as the service's do."""
        return f"job-{next(self._numbers):08d}"

    def draft(
        self, status: JobStatus = JobStatus.READY, *, project: str = PROJECT, body: bytes = INPUT, **spec: Any
    ) -> Draft:
        """A leaf that starts in `status`, completed as a dry run; `spec` are members of its `JobSpec`."""
        now = self.clock.now_ms()
        spec = {"backend": BACKEND, "dry_run": status is JobStatus.COMPLETED, **spec}
        job = Job(
            id=self.new_id(),
            project_id=project,
            spec=JobSpec(**spec),
            status=status,
            submitted_at=now,
            ready_at=None if status is JobStatus.SUBMITTED else now,
            completed_at=now if status in {JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELED} else None,
            outcome=Outcome(failure=FAILURE) if status is JobStatus.FAILED else Outcome(),
        )
        return Draft(job, body)

    def family(self, *statuses: JobStatus, project: str = PROJECT, **spec: Any) -> list[Draft]:
        """A parent and a child in each of the statuses, as drafts of one submit."""
        children = [self.draft(status, project=project, **spec) for status in statuses]
        status = derive_parent({status: statuses.count(status) for status in statuses})
        parent = replace(self.draft(status, project=project, **spec).job, id=f"{children[0].job.id}-parent")
        family = [Draft(replace(parent, children=len(children)))]
        for index, child in enumerate(children):
            family.append(Draft(replace(child.job, parent_id=parent.id, child_index=index), child.input))
        return family

    def move(self, job: Job, cause: Cause, **members: Any) -> Move:
        """The move of `cause`: a start counts an attempt, a completion brings `RESULT`, a failure `FAILURE`."""
        after = ledger.moved(job, cause, self.clock.now_ms())
        if cause is Cause.STARTED:
            after = replace(after, attempt=job.attempt + 1)
        elif cause is Cause.COMPLETED:
            members = {"result": RESULT, **members}
        elif cause is Cause.FAILED:
            after = replace(after, outcome=replace(after.outcome, failure=FAILURE))
            members = {"data": ledger.failure_data(FAILURE), **members}
        return Move(job, after, KIND_OF[cause], self.clock.now_ms(), **members)

    # -- writing ------------------------------------------------------------------------

    async def submit(self, status: JobStatus = JobStatus.READY, **members: Any) -> Job:
        """Submit a leaf, see `draft`."""
        return await self.store.submit(Submit([self.draft(status, **members)]))

    async def submit_keyed(self, key: str, digest: str, **members: Any) -> Job:
        """Submit a leaf under an idempotency key."""
        return await self.store.submit(Submit([self.draft(**members)], Idempotency(key, digest)))

    async def submit_family(self, *statuses: JobStatus, project: str = PROJECT, **spec: Any) -> tuple[Job, list[Job]]:
        """Submit a parent; answers it and its children."""
        drafts = self.family(*statuses, project=project, **spec)
        return await self.store.submit(Submit(drafts)), [draft.job for draft in drafts[1:]]

    async def cause(self, job: Job, *causes: Cause, **members: Any) -> Job:
        """Let causes happen one after the other, each of which has to apply; answers the job after them.

        `members` go into the last move.
        """
        for number, cause in enumerate(causes, 1):
            move = self.move(job, cause, **(members if number == len(causes) else {}))
            assert await self.store.apply([move]) == [True]
            job = move.after
        return job

    async def complete(self, *jobs: Job) -> list[Job]:
        """Start and complete ready jobs."""
        return [await self.cause(job, Cause.STARTED, Cause.COMPLETED) for job in jobs]

    async def delete(self, job: Job) -> None:
        """Delete an ended job."""
        assert await self.store.apply([ledger.deletion(job, self.clock.now_ms())]) == [True]

    async def project(self, project: str) -> None:
        """Add a project, unless there is one of that id."""
        if project not in {known.id for known in await self.store.projects()}:
            await self.store.put_project(Project(id=project, name=project, created_at=0))

    async def session(
        self, session_id: str, *, project: str = PROJECT, backend: str = BACKEND, **members: Any
    ) -> Session:
        """Add a project, unless there is one, and a session of it; `members` are limits of it and other members."""
        await self.project(project)
        limits = {name: members.pop(name) for name in SessionLimits.__struct_fields__ if name in members}
        session = Session(
            id=session_id,
            project_id=project,
            backend=backend,
            created_at=self.clock.now_ms(),
            limits=SessionLimits(**limits),
            **members,
        )
        await self.store.add_session(session)
        return session

    async def end(self, session: Session, **members: Any) -> Session:
        """End a session; answers it as it then is."""
        return await self.store.end_session(EndSession(session.project_id, session.id, self.clock.now_ms(), **members))

    async def hook(self, hook_id: str, project: str = PROJECT) -> Hook:
        """Add a project, unless there is one, and a hook that is told of every job's end."""
        await self.project(project)
        hook = Hook(id=hook_id, project_id=project, channel="none", target={"to": "me"}, created_at=0)
        await self.store.outbox.add_hook(hook)
        self.routed.append(hook_id)
        return hook

    # -- looking ------------------------------------------------------------------------

    async def now(self, job: Job) -> Job:
        """The job as the store has it; it has to be there."""
        found = await self.store.job(job.project_id, job.id)
        assert found is not None
        return found

    async def statuses(self, jobs: Sequence[Job]) -> list[JobStatus]:
        """Where jobs stand."""
        return [(await self.now(job)).status for job in jobs]

    async def log(self, after: int = 0, **which: Any) -> list[Event]:
        """All events beyond `after`."""
        return await self.store.events(after, limit=ALL, **which)

    async def kinds(self, job: Job) -> list[EventKind]:
        """What the log holds about a job."""
        return [event.kind for event in await self.log(jobs=[job.id])]

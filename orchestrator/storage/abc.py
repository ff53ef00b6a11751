"""The store contract.

A store keeps jobs, their inputs and results, the event log, projects, keys and calibrations. It has
two sides:

* **writes** are operations (`Submit`, `Apply`, `Record`, `EndSession`). Whatever waits is run as one batch in one
  commit; the answer comes after the commit. A cancelled write has an unknown outcome: it may be committed.
* **reads** see committed state only, and always name the project.

Every transition is a guarded write: a `Move` applies only if the job still has the status and the attempt
of `Move.before`. The rules of families (a parent follows its children) are kept by `ledger`, for all stores.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from orchestrator.events import Event, EventKind
from orchestrator.hooks import Delivery
from orchestrator.lifecycle import JobStatus
from orchestrator.model import ApiKey, Characterization, Job, Project, Session, Standing
from orchestrator.storage.outbox import Outbox


class Draft(msgspec.Struct):
    """A job about to be stored, already in the status it starts with; parents have no input.

    Inputs, compiled circuits and results are UTF-8 JSON: text without U+0000.
    """

    job: Job
    input: bytes | None = None


class Idempotency(msgspec.Struct):
    """A client's idempotency key and the digest of the body it came with, scoped to the project."""

    key: str
    digest: str


class Submit(msgspec.Struct):
    """Store drafts (a parent before its children). Answers the first draft's job, or the one of an earlier
    submit with the same idempotency key.

    Raises:
        IdempotencyMismatch: The key was used with another body.
        SessionRefused: The session that a job names does not take it; then none is stored.
    """

    drafts: Sequence[Draft]
    idempotency: Idempotency | None = None


class Move(msgspec.Struct):
    """One guarded change of one job, and its event.

    Attributes:
        before: The job as the caller knows it; its status and attempt are the guard.
        after: The job as it shall be.
        kind: What is recorded. Progress keeps the status; all others follow `lifecycle.transition`.
        result: Encoded `Result`, stored with a completion.
        compiled: Compiled circuit, stored with the move that makes the job ready.
        data: Extra members of the event.
    """

    before: Job
    after: Job
    kind: EventKind
    at: int
    result: bytes | None = None
    compiled: bytes | None = None
    data: dict[str, Any] | None = None


class Apply(msgspec.Struct):
    """Apply moves; answers for each whether it applied. Moves of one operation are not all-or-nothing."""

    moves: Sequence[Move]


class Record(msgspec.Struct):
    """Record an event that moves no job, and what it tells of: a calibration, or where its backend stands from now on.

    The sequence is assigned by the store.
    """

    event: Event
    characterization: Characterization | None = None
    standing: Standing | None = None


class EndSession(msgspec.Struct):
    """End a session, unless it has ended, and cancel queued jobs of it; answers it as it then is.

    Only so many are canceled in one commit: `Session.closing` says that more are left, for the same operation again.

    Attributes:
        ender_id: The key that asked; None if its time is over.

    Raises:
        SessionNotFound: Unknown, or of another project.
    """

    project_id: str
    session_id: str
    at: int
    ender_id: str | None = None


Write = Submit | Apply | Record | EndSession


class JobFilter(msgspec.Struct, frozen=True):
    """What to list; None means any. Children appear only when asked for by `ids` or `parent_id`."""

    ids: Collection[str] | None = None
    parent_id: str | None = None
    statuses: Collection[JobStatus] | None = None
    backends: Collection[str] | None = None
    session_id: str | None = None


class Waiting(msgspec.Struct, frozen=True, gc=False):
    """A leaf job that is submitted or ready, as far as others care.

    Attributes:
        predicted_ms: Predicted execution time.
    """

    backend: str
    id: str
    status: JobStatus
    project_id: str
    parent_id: str | None
    session_id: str | None
    predicted_ms: int | None


class Report(msgspec.Struct, frozen=True):
    """What `verify` found: counts, and one line for each disagreement between log and tables."""

    jobs: int
    events: int
    problems: tuple[str, ...]


class Committed(NamedTuple):
    """An event and its job as it stands after the whole of the event's move; None for events without a job."""

    event: Event
    job: Job | None


OnCommit = Callable[[Sequence[Committed]], None]
#: Which deliveries follow from the events of a batch, in log order. Called inside the transaction, on whatever thread
#: that has; has to be quick and must not raise.
Route = Callable[[Sequence[Committed]], Sequence[Delivery]]
#: Lets ready single jobs begin in the very commit that stores them, by replacing `Draft.job`. Called on the event loop
#: with the drafts of a batch just before it is written; answers what takes that back, should the write fail. Drafts
#: under an idempotency key and of sessions are not offered: whether they are stored is known in the transaction alone.
Claim = Callable[[Sequence[Draft]], Callable[[], None]]


def claimable(operations: Iterable[object]) -> list[Draft]:
    """The drafts of a batch that `Claim` is offered."""
    return [
        draft
        for operation in operations
        if isinstance(operation, Submit) and _certain(operation)
        for draft in operation.drafts
    ]


def _certain(operation: Submit) -> bool:
    """Whether a submit is stored if its batch is."""
    if operation.idempotency is not None:
        return False
    for draft in operation.drafts:  # noqa: SIM110 - `all` over a generator costs twice as much for a single draft
        if draft.job.spec.session_id is not None:
            return False
    return True


def _claim_nothing(drafts: Sequence[Draft]) -> Callable[[], None]:
    return lambda: None


class Store(ABC):
    """See the module. Opened once, closed once, used from one event loop."""

    epoch: str
    outbox: Outbox
    #: Set by the owner of the dispatcher, before the first submit; until then nothing is claimed.
    claim: Claim = staticmethod(_claim_nothing)

    @abstractmethod
    async def open(self, on_commit: OnCommit, route: Route | None = None) -> None:
        """Open or create. `on_commit` is told of each commit, in log order, before its callers are answered;
        it must not raise. What `route` answers for a batch is inserted into the outbox in the batch's own commit.

        Raises:
            StorageRefused: Foreign, corrupt or newer data; nothing was modified.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Write what waits, release everything."""

    # -- writes -------------------------------------------------------------------------

    @abstractmethod
    async def submit(self, operation: Submit) -> Job:
        """Run a `Submit`.

        Raises:
            IdempotencyMismatch, SessionRefused: See `Submit`.
            StorageFull: The disk is full.
            StorageError: An id is taken, or the store cannot write; as of all writes.
        """

    @abstractmethod
    async def apply(self, moves: Sequence[Move]) -> list[bool]:
        """Run an `Apply`."""

    @abstractmethod
    async def put_project(self, project: Project) -> None:
        """Add a project.

        Raises:
            StorageError: The id or the name is taken.
        """

    @abstractmethod
    async def put_key(self, key: ApiKey) -> None:
        """Add a key, or replace name and revocation of the one of the same id.

        Raises:
            StorageError: Another key has this digest, or the project is unknown.
        """

    @abstractmethod
    async def record(self, operation: Record) -> None:
        """Run a `Record`."""

    @abstractmethod
    async def add_session(self, session: Session) -> None:
        """Add a session.

        Raises:
            StorageError: The id is taken, or the project is unknown.
        """

    @abstractmethod
    async def end_session(self, operation: EndSession) -> Session:
        """Run an `EndSession`."""

    @abstractmethod
    async def trim(self, completed_before: int, limit: int) -> int:
        """Remove up to `limit` ended families whose root ended before that time, with their events; raises the horizon.
        As many sessions that ended before it go too, if no job is left of them.

        Answers how many jobs went."""

    # -- reads --------------------------------------------------------------------------

    @abstractmethod
    async def job(self, project_id: str, job_id: str) -> Job | None:
        """One job of the project, unless deleted."""

    @abstractmethod
    async def jobs(self, project_id: str, where: JobFilter, *, limit: int, before: str | None = None) -> list[Job]:
        """Jobs newest first, those older than the id `before`; deleted ones are left out."""

    @abstractmethod
    async def children(self, project_id: str, parent_id: str) -> list[Job]:
        """Children in circuit order."""

    @abstractmethod
    async def child_ids(self, parent_ids: Collection[str]) -> list[str]:
        """Ids of all children of these jobs, deleted ones included."""

    @abstractmethod
    async def input(self, project_id: str, job_id: str) -> tuple[bytes, bytes | None] | None:
        """Input and compiled circuit of a job, unless deleted."""

    @abstractmethod
    async def results(self, project_id: str, job_ids: Sequence[str]) -> dict[str, bytes]:
        """Encoded results of those of the jobs that have one."""

    @abstractmethod
    async def active(
        self, backend: str, status: JobStatus, *, after: str | None, limit: int
    ) -> list[tuple[Job, bytes, bytes | None]]:
        """Leaf jobs of a backend in that status, oldest first, ids beyond `after`: job, input, compiled."""

    @abstractmethod
    async def stranded(self, *, after: str | None, limit: int) -> list[Job]:
        """Leaf jobs recorded as started, of any backend, oldest first, ids beyond `after`: at start, what an
        earlier instance left."""

    @abstractmethod
    async def unended(self, job_ids: Collection[str]) -> set[str]:
        """Those of the jobs, of any project, that have not ended; unknown ones are none of them."""

    @abstractmethod
    async def waiting(self, *, after: tuple[str, str], limit: int) -> list[Waiting]:
        """Leaf jobs that are submitted or ready, by backend and id, those beyond the backend and id `after`."""

    @abstractmethod
    async def events(
        self,
        after: int,
        *,
        limit: int,
        project_id: str | None = None,
        jobs: Collection[str] = (),
        sessions: Collection[str] = (),
        kinds: Collection[str] = (),
    ) -> list[Event]:
        """Events with a sequence beyond `after`, in order; those of the jobs, of jobs of the sessions, or both."""

    @abstractmethod
    def last_sequence(self) -> int:
        """Sequence of the newest committed event."""

    @abstractmethod
    async def horizon(self) -> int:
        """Everything up to this sequence may have been removed by retention.

        A reader of the log asks after it has read: what it got is without holes if it began at the horizon or beyond.
        """

    @abstractmethod
    async def projects(self) -> list[Project]:
        """All projects, oldest first."""

    @abstractmethod
    async def keys(self) -> list[ApiKey]:
        """All keys, revoked ones included."""

    @abstractmethod
    async def session(self, project_id: str, session_id: str) -> Session | None:
        """One session of the project."""

    @abstractmethod
    async def sessions(self, project_id: str, *, active: bool | None = None, limit: int) -> list[Session]:
        """Sessions of the project, newest first; None means any."""

    @abstractmethod
    async def sessions_due(self, at: int, *, limit: int) -> list[Session]:
        """Sessions of all projects to end, or to end again: those that expire by then, and those that are closing."""

    @abstractmethod
    async def next_expiry(self) -> int | None:
        """When the first of the sessions that have not ended expires."""

    @abstractmethod
    async def calibrated(self) -> list[str]:
        """Backends with at least one recorded calibration."""

    @abstractmethod
    async def characterizations(
        self, backend: str, *, start: int | None = None, end: int | None = None, limit: int = 10, offset: int = 0
    ) -> tuple[list[Characterization], int]:
        """Recorded calibrations, newest first, and how many match in all."""

    @abstractmethod
    async def characterization(self, characterization_id: str) -> Characterization | None:
        """One recorded calibration."""

    @abstractmethod
    async def standings(self) -> list[Standing]:
        """Where backends stand, by name; only those of which something was recorded."""

    @abstractmethod
    async def verify(self) -> Report:
        """Fold the event log and compare it with the tables, in one snapshot."""

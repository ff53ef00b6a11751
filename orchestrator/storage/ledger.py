"""How a batch of operations becomes rows and events: one piece of code for every store.

Runs synchronously inside a transaction of the store. `Tables` is what a store must be able to do there;
each call takes many rows, so that a batch costs few statements.

Rules kept here, and nowhere else:

* a move applies only under its guard, and only an applied move gets an event;
* a parent's status is `derive_parent` of its children, settled in the commit that moved a child;
* when a parent fails its active children are canceled, when it is deleted they are deleted (a parent is canceled
  by canceling its children: its status is theirs);
* sessions follow their jobs, and queued jobs their session's end; `sessions` has the rules;
* a job that fails for its cost, and a session that has spent what it may, get an event of the budget;
* sequences are consecutive in commit order;
* what is to be delivered of an event enters the outbox with the event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from typing import Any, Final, Protocol

import msgspec

from orchestrator.errors import IdempotencyMismatch, OrchestratorError
from orchestrator.events import KIND_OF, Event, EventKind
from orchestrator.hooks import Delivery
from orchestrator.lifecycle import ACTIVE, TERMINAL, Cause, JobStatus, derive_parent, path, transition
from orchestrator.model import Characterization, Failure, Job, Outcome, Session, Standing, total
from orchestrator.storage.abc import Apply, Committed, Draft, EndSession, Move, Record, Route, Submit, Write
from orchestrator.storage.sessions import SessionTables, TouchedSessions

replace = msgspec.structs.replace
#: The failure of a job that would cost more than may be spent (reference, section 2).
QUOTA: Final = "QuotaExhaustedError"
_NOT_STARTED: Final = frozenset({JobStatus.SUBMITTED, JobStatus.READY})


class Tables(SessionTables, Protocol):
    """The tables inside one open transaction; all calls are synchronous."""

    def insert_jobs(self, drafts: Sequence[Draft]) -> None:
        """Add jobs and their inputs."""

    def move(self, moves: Sequence[Move]) -> set[str]:
        """Apply moves of distinct jobs under their guards; the ids that moved."""

    def insert_results(self, results: Sequence[tuple[str, bytes]]) -> None:
        """Add encoded results by job id."""

    def set_compiled(self, compiled: Sequence[tuple[str, bytes]]) -> None:
        """Keep compiled circuits by job id."""

    def append_events(self, events: Sequence[Event]) -> None:
        """Add events."""

    def insert_deliveries(self, deliveries: Sequence[Delivery]) -> None:
        """Add rows of the outbox, without those that are there and those of hooks that are gone."""

    def insert_characterization(self, item: Characterization) -> None:
        """Add a recorded calibration."""

    def put_standing(self, item: Standing) -> None:
        """Write where a backend stands, over what was there."""

    def load(self, job_ids: Iterable[str]) -> dict[str, Job]:
        """Jobs by id, whatever their project."""

    def child_counts(self, parent_ids: Iterable[str]) -> dict[str, dict[JobStatus, int]]:
        """How many children stand where, for each parent."""

    def children(self, parent_id: str) -> list[Job]:
        """All children of a parent, in circuit order."""

    def recall(self, project_id: str, key: str) -> tuple[str, str] | None:
        """Digest and job id remembered under an idempotency key."""

    def remember(self, project_id: str, key: str, digest: str, job_id: str) -> None:
        """Remember a digest and a job under an idempotency key."""


#: What one operation of a batch is answered: a job, flags, a session, nothing, or the error that is its answer.
Answer = Job | list[bool] | Session | OrchestratorError | None


def run(
    tables: Tables, operations: Sequence[Write], sequence: int, now: int, route: Route | None = None
) -> tuple[list[Answer], list[Committed]]:
    """Run a batch; `sequence` is the last one used. Answers per operation, and what was recorded, in log order."""
    log = _Log(sequence)
    sessions = TouchedSessions(tables, now)
    answers: list[Answer] = [None] * len(operations)
    _submit(tables, operations, answers, log, sessions)
    flags: dict[int, list[bool]] = {}
    ends: dict[int, str] = {}
    moves: list[tuple[Move, Callable[[bool], None]]] = []
    for index, operation in enumerate(operations):
        if isinstance(operation, Apply):
            flags[index] = applied = [False] * len(operation.moves)
            moves += [(move, partial(applied.__setitem__, place)) for place, move in enumerate(operation.moves)]
        elif isinstance(operation, Record):
            if operation.characterization is not None:
                tables.insert_characterization(operation.characterization)
            if operation.standing is not None:
                tables.put_standing(operation.standing)
            log.number(operation.event)
        elif isinstance(operation, EndSession):
            refusal = answers[index] = sessions.end(operation)
            if refusal is None:
                ends[index] = operation.session_id
    _apply(tables, moves, log, now, sessions)
    queued = sessions.ending()
    for event in sessions.exhaustions:
        log.number(event)
    _apply(tables, [(cancellation(job, now), _ignore) for job in queued], log, now, sessions)
    sessions.write()
    for index, answer in flags.items():
        answers[index] = answer
    for index, session_id in ends.items():
        answers[index] = sessions.answer(session_id)
    if log.entries:
        if route is not None and (deliveries := route(log.entries)):
            tables.insert_deliveries(deliveries)
        tables.append_events([entry.event for entry in log.entries])
    return answers, log.entries


class _Log:
    """Events of one batch; hands out the sequences."""

    def number(self, event: Event) -> None:
        self.sequence += 1
        self.entries.append(Committed(replace(event, sequence=self.sequence), None))

    def __init__(self, sequence: int) -> None:
        self.sequence = sequence
        self.entries: list[Committed] = []

    def add(
        self,
        job: Job,
        kind: EventKind,
        at: int,
        *,
        attempt: int,
        before: JobStatus | None,
        after: JobStatus,
        data: dict[str, Any] | None,
    ) -> None:
        self.sequence += 1
        event = Event(
            sequence=self.sequence,
            kind=kind,
            at=at,
            job_id=job.id,
            parent_id=job.parent_id,
            project_id=job.project_id,
            backend=job.spec.backend,
            attempt=attempt,
            before=before,
            after=after,
            data=data,
            session_id=job.spec.session_id,
        )
        self.entries.append(Committed(event, job))


def _submit(
    tables: Tables, operations: Sequence[Write], answers: list[Answer], log: _Log, sessions: TouchedSessions
) -> None:
    drafts: list[Draft] = []
    replayed: dict[int, str] = {}
    for index, operation in enumerate(operations):
        if not isinstance(operation, Submit):
            continue
        first = operation.drafts[0].job
        if operation.idempotency is not None:
            key, digest = operation.idempotency.key, operation.idempotency.digest
            known = tables.recall(first.project_id, key)
            if known is not None:
                if known[0] == digest:
                    replayed[index] = known[1]
                else:
                    answers[index] = IdempotencyMismatch()
                continue
        if first.spec.session_id is not None or len(operation.drafts) > 1:
            refusal = answers[index] = sessions.admit(operation.drafts)
            if refusal is not None:
                continue
        if operation.idempotency is not None:
            tables.remember(first.project_id, key, digest, first.id)
        answers[index] = first
        drafts += operation.drafts
    if drafts:
        tables.insert_jobs(drafts)
    for draft in drafts:
        _record_submitted(draft.job, log)
    if replayed:
        jobs = tables.load(replayed.values())
        for index, job_id in replayed.items():
            answers[index] = jobs[job_id]


@cache
def _way(status: JobStatus) -> tuple[tuple[EventKind, JobStatus | None, JobStatus], ...]:
    """The events of a job that starts in that status: kind, status before, status after."""
    steps: list[tuple[EventKind, JobStatus | None, JobStatus]] = []
    before: JobStatus | None = None
    for cause in path(None, status):
        after = JobStatus.SUBMITTED if before is None else transition(before, cause)
        steps.append((KIND_OF[cause], before, after))
        before = after
    return tuple(steps)


def _record_submitted(job: Job, log: _Log) -> None:
    failure = job.outcome.failure
    for kind, before, after in _way(job.status):
        data = failure_data(failure) if failure is not None and after is JobStatus.FAILED else None
        attempt = 0 if after in _NOT_STARTED else job.attempt
        log.add(job, kind, job.submitted_at, attempt=attempt, before=before, after=after, data=data)
    if failure is not None:
        _record_refusal(job, job.submitted_at, log)


def _record_refusal(job: Job, at: int, log: _Log) -> None:
    """A job has failed: tell of the budget if that was the reason."""
    failure = job.outcome.failure
    if failure is not None and failure.code == QUOTA:
        status, data = job.status, failure_data(failure)
        log.add(job, EventKind.BUDGET_REFUSED, at, attempt=job.attempt, before=status, after=status, data=data)


def failure_data(failure: Failure) -> dict[str, dict[str, str]]:
    """The event member that tells why a job failed."""
    return {"failure": {"code": failure.code, "message": failure.message}}


def _apply(
    tables: Tables,
    moves: list[tuple[Move, Callable[[bool], None]]],
    log: _Log,
    now: int,
    sessions: TouchedSessions,
) -> None:
    """Apply in rounds: a round holds each job once; its families are settled before the next."""
    while moves:
        now_round: dict[str, tuple[Move, Callable[[bool], None]]] = {}
        later: list[tuple[Move, Callable[[bool], None]]] = []
        for entry in moves:
            job_id = entry[0].before.id
            if job_id in now_round:
                later.append(entry)
            else:
                now_round[job_id] = entry
        moved = tables.move([move for move, _ in now_round.values()])
        applied: list[Move] = []
        for job_id, (move, answer) in now_round.items():
            ok = job_id in moved
            answer(ok)
            if ok:
                applied.append(move)
                after = move.after
                before = move.before.status
                if after.spec.session_id is not None:
                    sessions.moved(after.spec.session_id, move)
                log.add(
                    after, move.kind, move.at, attempt=after.attempt, before=before, after=after.status, data=move.data
                )
                if move.kind is EventKind.JOB_FAILED:
                    _record_refusal(after, move.at, log)
        results = [(move.after.id, move.result) for move in applied if move.result is not None]
        if results:
            tables.insert_results(results)
        compiled = [(move.after.id, move.compiled) for move in applied if move.compiled is not None]
        if compiled:
            tables.set_compiled(compiled)
        _apply(tables, [(move, _ignore) for move in _families(tables, applied, now)], log, now, sessions)
        moves = later


def _ignore(_: bool) -> None:
    """Nobody waits for the answer of a move that follows from another."""


def _families(tables: Tables, applied: Sequence[Move], now: int) -> list[Move]:
    """The moves that follow from applied ones: of parents whose children moved, of children whose parent ended."""
    follow: list[Move] = []
    parents: dict[str, int] = {}
    for move in applied:
        job = move.after
        if job.parent_id is not None and move.before.status is not job.status:
            parents[job.parent_id] = parents.get(job.parent_id, 0) + (job.status in TERMINAL)
        if job.children:
            follow += _cascade(tables, move, now)
    if parents:
        jobs = tables.load(parents)
        counts = tables.child_counts(parents)
        for parent_id, ended in parents.items():
            parent = jobs.get(parent_id)
            if parent is not None and parent.status in ACTIVE:
                follow += _settle(tables, parent, counts[parent_id], ended, now)
    return follow


def _cascade(tables: Tables, move: Move, now: int) -> list[Move]:
    """A parent that failed takes its active children along; a deleted one all of them."""
    if move.kind is EventKind.JOB_DELETED:
        return [deletion(child, now) for child in tables.children(move.after.id)]
    if move.kind is EventKind.JOB_FAILED:
        return [cancellation(child, now) for child in tables.children(move.after.id) if child.status in ACTIVE]
    return []


def _settle(tables: Tables, parent: Job, counts: dict[JobStatus, int], ended: int, now: int) -> list[Move]:
    """The moves that bring a parent to what its children say; a progress event when it only got further."""
    target = derive_parent(counts)
    moves: list[Move] = []
    job = parent
    for cause in path(parent.status, target):
        after = _advance(tables, job, cause, now)
        failure = after.outcome.failure
        data = failure_data(failure) if cause is Cause.FAILED and failure is not None else None
        moves.append(Move(job, after, KIND_OF[cause], now, data=data))
        job = after
    if ended and job.status in ACTIVE:
        done = sum(number for status, number in counts.items() if status in TERMINAL)
        progress = {"done": done, "total": parent.children}
        moves.append(Move(job, job, EventKind.JOB_PROGRESS, now, data=progress))
    return moves


def _advance(tables: Tables, parent: Job, cause: Cause, now: int) -> Job:
    """The parent after `cause`, with what its children know."""
    after = moved(parent, cause, now)
    if after.status not in TERMINAL:
        return after
    children = tables.children(parent.id)
    outcomes = [child.outcome for child in children]
    outcome = replace(after.outcome, cost=total(known.cost for known in outcomes))
    if cause is Cause.COMPLETED:
        spent = sum(known.execution_ms or 0 for known in outcomes)
        outcome = replace(outcome, execution_ms=spent, predicted_execution_ms=predicted_ms(outcomes))
    elif cause is Cause.FAILED:
        failed = (child.outcome.failure for child in children if child.status is JobStatus.FAILED)
        outcome = replace(outcome, failure=next(failed))
    return replace(after, outcome=outcome)


def predicted_ms(outcomes: Iterable[Outcome]) -> int | None:
    """What children take in all, if that is known of each."""
    total = 0
    for outcome in outcomes:
        if outcome.predicted_execution_ms is None:
            return None
        total += outcome.predicted_execution_ms
    return total


def moved(job: Job, cause: Cause, at: int, **changes: Any) -> Job:
    """The job after `cause`, with the times that follow from it, and with other changes that come along.

    Raises:
        IllegalTransition: The table knows no such move.
    """
    status = transition(job.status, cause)
    if cause is Cause.READY:
        return replace(job, status=status, ready_at=at, **changes)
    if cause is Cause.STARTED:
        return replace(job, status=status, started_at=at, **changes)
    if cause is Cause.REQUEUED:
        return replace(job, status=status, ready_at=at, started_at=None, **changes)
    return replace(job, status=status, completed_at=at, **changes)


def cancellation(job: Job, at: int) -> Move:
    """The move that cancels an active job."""
    return Move(job, moved(job, Cause.CANCELED, at), EventKind.JOB_CANCELED, at)


def calibration(item: Characterization, at: int) -> Record:
    """The record of a backend's calibration."""
    data = {"characterization_id": item.id}
    event = Event(sequence=0, kind=EventKind.BACKEND_CALIBRATED, at=at, backend=item.backend, data=data)
    return Record(event, item)


def change(item: Standing, at: int) -> Record:
    """The record of where a backend stands from now on."""
    data = {"status": item.status, "reason": item.reason}
    event = Event(sequence=0, kind=EventKind.BACKEND_CHANGED, at=at, backend=item.backend, data=data)
    return Record(event, standing=item)


def deletion(job: Job, at: int) -> Move:
    """The move that hides a job; an active one has to be canceled first."""
    return Move(job, replace(job, deleted_at=at), EventKind.JOB_DELETED, at)


__all__ = ["Answer", "Tables", "calibration", "cancellation", "change", "deletion", "failure_data", "moved", "run"]

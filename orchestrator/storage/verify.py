"""Fold the event log and compare it with the tables: the proof that the log is the truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from orchestrator.errors import IllegalTransition
from orchestrator.events import CAUSE_OF, Event, EventKind
from orchestrator.lifecycle import TERMINAL, Cause, JobStatus, derive_parent, transition
from orchestrator.model import Job, Session
from orchestrator.storage.abc import Report

#: Problems told in full; beyond that they are counted.
TOLD = 100


class _Folded:
    """What the log says about one job."""

    __slots__ = ("attempt", "deleted", "ended", "status")

    def __init__(self) -> None:
        self.status: JobStatus | None = None
        self.attempt = 0
        self.ended = 0
        self.deleted = False


def verify(
    events: Iterable[Event], jobs: Iterable[tuple[Job, bool]], horizon: int, sessions: Iterable[Session] = ()
) -> Report:
    """Compare the log with the jobs, and the sessions with their jobs; each job comes with whether it has a result."""
    problems: list[str] = []
    folded: dict[str, _Folded] = {}
    count = 0
    sequence = horizon
    for event in events:
        count += 1
        if event.sequence > horizon:
            if event.sequence != sequence + 1:
                problems.append(f"event {event.sequence} follows {sequence}")
            sequence = event.sequence
        problems += _fold(event, folded)
    number = 0
    families: dict[str, dict[JobStatus, int]] = {}
    parents: dict[str, Job] = {}
    running: Counter[str] = Counter()
    for job, has_result in jobs:
        number += 1
        problems += _compare(job, folded.pop(job.id, None), has_result)
        if job.spec.session_id is not None and job.parent_id is None and not job.terminal:
            running[job.spec.session_id] += 1
        if job.children:
            parents[job.id] = job
        if job.parent_id is not None:
            family = families.setdefault(job.parent_id, {})
            family[job.status] = family.get(job.status, 0) + 1
    problems += [f"job {job_id}: has events but no row" for job_id in folded]
    for parent_id, parent in parents.items():
        problems += _family(parent, families.pop(parent_id, {}))
    problems += [f"job {parent_id}: has children but no row" for parent_id in families]
    for session in sessions:
        if running[session.id] != session.active_jobs:
            problems.append(f"session {session.id}: {running[session.id]} active jobs, not {session.active_jobs}")
    return Report(jobs=number, events=count, problems=tuple(problems[:TOLD]) + _rest(problems))


def _rest(problems: list[str]) -> tuple[str, ...]:
    return (f"and {len(problems) - TOLD} more",) if len(problems) > TOLD else ()


def _fold(event: Event, folded: dict[str, _Folded]) -> Iterator[str]:
    if event.job_id is None:
        return
    state = folded.setdefault(event.job_id, _Folded())
    here = f"event {event.sequence} ({event.kind}) of job {event.job_id}"
    if event.before is not state.status:
        yield f"{here}: begins at {event.before}, the log stands at {state.status}"
    cause = CAUSE_OF.get(event.kind)
    expected = event.before
    if cause is Cause.SUBMITTED and event.before is None:
        expected = JobStatus.SUBMITTED
    elif cause is not None and event.before is not None:
        try:
            expected = transition(event.before, cause)
        except IllegalTransition as error:
            yield f"{here}: {error}"
    if event.after is not expected:
        yield f"{here}: ends at {event.after}, not {expected}"
    if event.attempt < state.attempt:
        yield f"{here}: written by attempt {event.attempt} after {state.attempt}"
    state.status, state.attempt = event.after, event.attempt
    state.ended += cause is not None and event.after in TERMINAL
    if state.ended > 1:
        yield f"{here}: the job ended before"
    state.deleted |= event.kind is EventKind.JOB_DELETED


def _compare(job: Job, state: _Folded | None, has_result: bool) -> Iterator[str]:
    here = f"job {job.id}"
    if state is None:
        yield f"{here}: has no events"
        return
    if job.status is not state.status:
        yield f"{here}: row says {job.status}, the log {state.status}"
    if job.attempt != state.attempt:
        yield f"{here}: row says attempt {job.attempt}, the log {state.attempt}"
    if (job.deleted_at is not None) != state.deleted:
        yield f"{here}: row and log disagree on its deletion"
    if (job.completed_at is not None) != job.terminal:
        yield f"{here}: {job.status} with completed_at {job.completed_at}"
    wants_result = job.status is JobStatus.COMPLETED and not job.children and not job.spec.dry_run
    if has_result != wants_result:
        yield f"{here}: {job.status} {'with' if has_result else 'without'} a result"


def _family(parent: Job, counts: dict[JobStatus, int]) -> Iterator[str]:
    total = sum(counts.values())
    if total != parent.children:
        yield f"job {parent.id}: {total} children of {parent.children}"
    elif derive_parent(counts) is not parent.status:
        yield f"job {parent.id}: {parent.status}, its children say {derive_parent(counts)}"

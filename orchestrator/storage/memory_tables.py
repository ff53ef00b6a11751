"""`ledger.Tables` over plain dictionaries, with an undo journal instead of a transaction.

The ledger writes while it computes, so whatever raises half-way (a job id used twice, a calibration recorded
twice) has to be taken back: each change leaves its inverse in the journal, and `rollback` plays it backwards.
Every index is kept by one pair of functions, `_file` and `_unfile`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Final

from orchestrator.errors import StorageError
from orchestrator.events import Event
from orchestrator.hooks import Delivery
from orchestrator.lifecycle import ACTIVE, JobStatus
from orchestrator.model import Characterization, Job, Session, Standing
from orchestrator.storage.abc import Draft, JobFilter, Move
from orchestrator.storage.memory_outbox import MemoryOutbox

_QUEUED: Final = frozenset({JobStatus.SUBMITTED, JobStatus.READY})


def _merged(ascending: Iterable[list[int]], after: int) -> list[int]:
    return sorted(number for numbers in ascending for number in numbers[bisect_right(numbers, after) :])


class MemoryTables:
    """The tables and their indexes; readers may look, only the ledger and `discard` change them.

    Attributes:
        events: By sequence, in order of sequence.
        history: Sequences of a job's events, ascending.
        roots: Ids of a project's jobs that are no children, ascending.
        queues: Ids of active jobs without children of their own, ascending, by backend and status.
        families: Ids of a parent's children.
        sessions: By id; `members` are the ids of a session's jobs, ascending, `courses` the sequences of its events.
    """

    def __init__(self, outbox: MemoryOutbox) -> None:
        self._outbox = outbox
        self.jobs: dict[str, Job] = {}
        self.inputs: dict[str, bytes] = {}
        self.compiled: dict[str, bytes] = {}
        self.results: dict[str, bytes] = {}
        self.events: dict[int, Event] = {}
        self.characterizations: dict[str, Characterization] = {}
        self.standings: dict[str, Standing] = {}
        self.history: dict[str, list[int]] = {}
        self.roots: dict[str, list[str]] = {}
        self.queues: dict[tuple[str, JobStatus], list[str]] = {}
        self.families: dict[str, list[str]] = {}
        self.sessions: dict[str, Session] = {}
        self.members: dict[str, list[str]] = {}
        self.courses: dict[str, list[int]] = {}
        self._counts: dict[str, dict[JobStatus, int]] = {}
        self._idempotency: dict[tuple[str, str], tuple[str, str]] = {}
        self._remembered: dict[str, tuple[str, str]] = {}
        self._undo: list[Callable[[], object]] = []

    # -- the transaction ----------------------------------------------------------------

    def commit(self) -> None:
        """Keep what was done since the last commit."""
        self._undo.clear()

    def rollback(self) -> None:
        """Take back what was done since the last commit."""
        while self._undo:
            self._undo.pop()()

    # -- ledger.Tables ------------------------------------------------------------------

    def insert_jobs(self, drafts: Sequence[Draft]) -> None:
        for draft in drafts:
            job = draft.job
            if job.id in self.jobs:
                raise StorageError(f"job {job.id} exists")
            self._undo.append(partial(self.discard, (job.id,)))
            self.jobs[job.id] = job
            if draft.input is not None:
                self.inputs[job.id] = draft.input
            if job.parent_id is None:
                insort(self.roots.setdefault(job.project_id, []), job.id)
            else:
                self.families.setdefault(job.parent_id, []).append(job.id)
            if job.spec.session_id is not None:
                insort(self.members.setdefault(job.spec.session_id, []), job.id)
            self._file(job)

    def move(self, moves: Sequence[Move]) -> set[str]:
        moved = set()
        for move in moves:
            job = self.jobs.get(move.before.id)
            if job is None or job.deleted_at is not None:
                continue
            if job.status is move.before.status and job.attempt == move.before.attempt:
                self._undo.append(partial(self._replace, move.after, job))
                self._replace(job, move.after)
                moved.add(job.id)
        return moved

    def insert_results(self, results: Sequence[tuple[str, bytes]]) -> None:
        for job_id, body in results:
            self._undo.append(partial(self.results.pop, job_id))
            self.results[job_id] = body

    def set_compiled(self, compiled: Sequence[tuple[str, bytes]]) -> None:
        for job_id, body in compiled:
            self._undo.append(partial(self._restore_compiled, job_id, self.compiled.get(job_id)))
            self.compiled[job_id] = body

    def append_events(self, events: Sequence[Event]) -> None:
        """The ledger's last step: nothing after it raises, so it needs no inverse."""
        for event in events:
            self.events[event.sequence] = event
            if event.job_id is not None:
                self.history.setdefault(event.job_id, []).append(event.sequence)
            if event.session_id is not None:
                self.courses.setdefault(event.session_id, []).append(event.sequence)

    def insert_deliveries(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            if self._outbox.insert(delivery):
                self._undo.append(partial(self._outbox.discard, delivery))

    def insert_characterization(self, item: Characterization) -> None:
        if item.id in self.characterizations:
            raise StorageError(f"characterization {item.id} exists")
        self._undo.append(partial(self.characterizations.pop, item.id))
        self.characterizations[item.id] = item

    def put_standing(self, item: Standing) -> None:
        before = self.standings.get(item.backend)
        if before is None:
            self._undo.append(partial(self.standings.pop, item.backend))
        else:
            self._undo.append(partial(self.standings.__setitem__, item.backend, before))
        self.standings[item.backend] = item

    def load(self, job_ids: Iterable[str]) -> dict[str, Job]:
        return {job_id: self.jobs[job_id] for job_id in job_ids if job_id in self.jobs}

    def child_counts(self, parent_ids: Iterable[str]) -> dict[str, dict[JobStatus, int]]:
        return {parent_id: dict(self._counts.get(parent_id, {})) for parent_id in parent_ids}

    def children(self, parent_id: str) -> list[Job]:
        found = [self.jobs[job_id] for job_id in self.families.get(parent_id, ())]
        return sorted(found, key=lambda child: child.child_index or 0)

    def recall(self, project_id: str, key: str) -> tuple[str, str] | None:
        return self._idempotency.get((project_id, key))

    def remember(self, project_id: str, key: str, digest: str, job_id: str) -> None:
        self._undo.append(partial(self._forget, job_id))
        self._idempotency[project_id, key] = digest, job_id
        self._remembered[job_id] = project_id, key

    def load_sessions(self, session_ids: Iterable[str]) -> dict[str, Session]:
        return {session_id: self.sessions[session_id] for session_id in session_ids if session_id in self.sessions}

    def put_sessions(self, sessions: Sequence[Session]) -> None:
        for session in sessions:
            self._undo.append(partial(self.sessions.__setitem__, session.id, self.sessions[session.id]))
            self.sessions[session.id] = session

    def queued_in_session(self, session_id: str, limit: int) -> list[Job]:
        jobs = (self.jobs[job_id] for job_id in self.members.get(session_id, ()))
        return list(islice((job for job in jobs if job.status in _QUEUED and not job.children), limit))

    # -- reading ------------------------------------------------------------------------

    def newest_first(self, project_id: str, where: JobFilter, before: str | None) -> Iterable[str]:
        """Ids among which the jobs to list are, newest first."""
        if where.ids is not None:
            chosen = sorted(set(where.ids))
        elif where.parent_id is not None:
            chosen = sorted(self.families.get(where.parent_id, ()))
        elif where.session_id is not None:
            chosen = self.members.get(where.session_id, [])
        else:
            chosen = self.roots.get(project_id, [])
        end = len(chosen) if before is None else bisect_left(chosen, before)
        return map(chosen.__getitem__, range(end - 1, -1, -1))

    def log(self, after: int, last: int, jobs: Collection[str], sessions: Collection[str]) -> Iterator[Event]:
        """Events beyond `after` up to `last`, of the jobs, of the sessions, of both or of all."""
        sequences: Iterable[int] = range(after + 1, last + 1)
        if jobs:
            sequences = _merged((self.history.get(job_id, []) for job_id in set(jobs)), after)
        if sessions:
            courses = _merged((self.courses.get(session_id, []) for session_id in set(sessions)), after)
            sequences = sorted({*sequences} & {*courses}) if jobs else courses
        return (self.events[sequence] for sequence in sequences if sequence in self.events)

    # -- removal ------------------------------------------------------------------------

    def discard(self, job_ids: Collection[str]) -> None:
        """Remove jobs with everything that belongs to them. A family has to go as a whole."""
        projects, sessions = set(), set()
        for job_id in job_ids:
            job = self.jobs.pop(job_id)
            self._unfile(job)
            for table in (self.inputs, self.compiled, self.results):
                table.pop(job_id, None)
            for sequence in self.history.pop(job_id, ()):
                del self.events[sequence]
            self._forget(job_id)
            if job.spec.session_id is not None:
                sessions.add(job.spec.session_id)
            if job.parent_id is None:
                projects.add(job.project_id)
            else:
                self.families.pop(job.parent_id, None)
                self._counts.pop(job.parent_id, None)
        for project_id in projects:
            self.roots[project_id] = [job_id for job_id in self.roots[project_id] if job_id in self.jobs]
        for session_id in sessions:
            self.members[session_id] = [job_id for job_id in self.members[session_id] if job_id in self.jobs]
            course = self.courses.get(session_id, [])
            self.courses[session_id] = [sequence for sequence in course if sequence in self.events]

    def left_behind(self, ended_before: int) -> Iterator[str]:
        """Ids of sessions that ended before that time and have no jobs."""
        for session in self.sessions.values():
            if session.ended_at is not None and session.ended_at < ended_before and not self.members.get(session.id):
                yield session.id

    def discard_sessions(self, session_ids: Iterable[str]) -> None:
        """Remove sessions that have no jobs."""
        for session_id in session_ids:
            for table in (self.sessions, self.members):
                table.pop(session_id, None)
            if not self.courses.get(session_id):  # its budget's event is of no job, and stays
                self.courses.pop(session_id, None)

    # -- indexes ------------------------------------------------------------------------

    def _replace(self, before: Job, after: Job) -> None:
        self.jobs[after.id] = after
        if before.status is not after.status:
            self._unfile(before)
            self._file(after)

    def _file(self, job: Job) -> None:
        if job.status in ACTIVE and not job.children:
            insort(self.queues.setdefault((job.backend, job.status), []), job.id)
        if job.parent_id is not None:
            counts = self._counts.setdefault(job.parent_id, {})
            counts[job.status] = counts.get(job.status, 0) + 1

    def _unfile(self, job: Job) -> None:
        if job.status in ACTIVE and not job.children:
            queue = self.queues[job.backend, job.status]
            del queue[bisect_left(queue, job.id)]
        if job.parent_id in self._counts:
            self._counts[job.parent_id][job.status] -= 1

    def _forget(self, job_id: str) -> None:
        if job_id in self._remembered:
            del self._idempotency[self._remembered.pop(job_id)]

    def _restore_compiled(self, job_id: str, body: bytes | None) -> None:
        if body is None:
            del self.compiled[job_id]
        else:
            self.compiled[job_id] = body

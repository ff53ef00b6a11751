"""The memory store: the whole contract, kept for as long as the process lives.

For tests, for trying things out and for embedders who need no durability. Every write yields to the loop before
it runs, so that nobody comes to rely on an answer that a store on disk would not give at once.
"""

from __future__ import annotations

import asyncio
import secrets
from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from math import inf
from typing import Any, Final

from orchestrator.clock import Clock
from orchestrator.errors import OrchestratorError, StorageError
from orchestrator.events import Event
from orchestrator.lifecycle import JobStatus
from orchestrator.model import ApiKey, Characterization, Job, Project, Session, Standing
from orchestrator.storage import ledger
from orchestrator.storage.abc import (
    Apply,
    EndSession,
    JobFilter,
    Move,
    OnCommit,
    Record,
    Report,
    Route,
    Store,
    Submit,
    Waiting,
    Write,
    claimable,
)
from orchestrator.storage.memory_outbox import MemoryOutbox
from orchestrator.storage.memory_tables import MemoryTables
from orchestrator.storage.verify import verify

_WAITING: Final = frozenset({JobStatus.SUBMITTED, JobStatus.READY})


class MemoryStore(Store):
    """Everything in dictionaries; a new store is a new log with an epoch of its own."""

    def __init__(self, clock: Clock) -> None:
        self.epoch = secrets.token_hex(8)
        self._clock = clock
        self.outbox = outbox = MemoryOutbox(self._turn)
        self._tables = MemoryTables(outbox)
        self._projects: dict[str, Project] = {}
        self._keys: dict[str, ApiKey] = {}
        self._sequence = 0
        self._horizon = 0
        self._on_commit: OnCommit | None = None
        self._route: Route | None = None

    async def open(self, on_commit: OnCommit, route: Route | None = None) -> None:
        self._on_commit = on_commit
        self._route = route

    async def aclose(self) -> None:
        if self._on_commit is not None:
            await self._turn()
            self._on_commit = None

    async def _turn(self) -> OnCommit:
        """Let others run first; writes go on in the order they came.

        Raises:
            StorageError: The store is closed.
        """
        on_commit = self._on_commit
        if on_commit is None:
            raise StorageError("the store is closed")
        await asyncio.sleep(0)
        return on_commit

    # -- writes -------------------------------------------------------------------------

    async def _write(self, operation: Write) -> Any:
        on_commit = await self._turn()
        unclaim = self.claim(claimable([operation]))
        try:
            now = self._clock.now_ms()
            (answer,), entries = ledger.run(self._tables, [operation], self._sequence, now, self._route)
        except BaseException:
            self._tables.rollback()
            unclaim()
            raise
        self._tables.commit()
        if entries:
            self._sequence = entries[-1].event.sequence
            on_commit(entries)
        if isinstance(answer, OrchestratorError):
            raise answer
        return answer

    async def submit(self, operation: Submit) -> Job:
        job: Job = await self._write(operation)
        return job

    async def apply(self, moves: Sequence[Move]) -> list[bool]:
        applied: list[bool] = await self._write(Apply(moves))
        return applied

    async def record(self, operation: Record) -> None:
        await self._write(operation)

    async def add_session(self, session: Session) -> None:
        await self._turn()
        if session.id in self._tables.sessions or session.project_id not in self._projects:
            raise StorageError(f"session {session.id} exists, or is of an unknown project")
        self._tables.sessions[session.id] = session

    async def end_session(self, operation: EndSession) -> Session:
        session: Session = await self._write(operation)
        return session

    async def put_project(self, project: Project) -> None:
        await self._turn()
        if any(project.id == known.id or project.name == known.name for known in self._projects.values()):
            raise StorageError(f"project {project.name} exists")
        self._projects[project.id] = project

    async def put_key(self, key: ApiKey) -> None:
        await self._turn()
        if key.project_id not in self._projects:
            raise StorageError(f"key {key.id} is of an unknown project")
        if any(key.digest == known.digest and key.id != known.id for known in self._keys.values()):
            raise StorageError(f"key {key.id} equals another one")
        self._keys[key.id] = key

    async def trim(self, completed_before: int, limit: int) -> int:
        await self._turn()
        tables = self._tables
        gone: list[str] = []
        for root in islice(self._ended(completed_before), limit):
            gone += [root, *tables.families.get(root, ())]
        newest = (tables.history[job_id][-1] for job_id in gone)
        self._horizon = max(self._horizon, *newest, 0)
        tables.discard(gone)
        tables.discard_sessions(list(islice(tables.left_behind(completed_before), limit)))
        return len(gone)

    def _ended(self, completed_before: int) -> Iterator[str]:
        for job in self._tables.jobs.values():
            if job.parent_id is None and job.completed_at is not None and job.completed_at < completed_before:
                yield job.id

    # -- reads --------------------------------------------------------------------------

    def _visible(self, project_id: str, job_id: str) -> Job | None:
        job = self._tables.jobs.get(job_id)
        return job if job is not None and job.project_id == project_id and job.deleted_at is None else None

    async def job(self, project_id: str, job_id: str) -> Job | None:
        await self._turn()
        return self._visible(project_id, job_id)

    async def jobs(self, project_id: str, where: JobFilter, *, limit: int, before: str | None = None) -> list[Job]:
        await self._turn()
        found = (self._visible(project_id, job_id) for job_id in self._tables.newest_first(project_id, where, before))
        return list(islice((job for job in found if job is not None and _matches(job, where)), limit))

    async def children(self, project_id: str, parent_id: str) -> list[Job]:
        await self._turn()
        return [job for job in self._tables.children(parent_id) if self._visible(project_id, job.id)]

    async def child_ids(self, parent_ids: Collection[str]) -> list[str]:
        await self._turn()
        return [child for parent in parent_ids for child in self._tables.families.get(parent, ())]

    async def input(self, project_id: str, job_id: str) -> tuple[bytes, bytes | None] | None:
        await self._turn()
        body = self._tables.inputs.get(job_id)
        if body is None or self._visible(project_id, job_id) is None:
            return None
        return body, self._tables.compiled.get(job_id)

    async def results(self, project_id: str, job_ids: Sequence[str]) -> dict[str, bytes]:
        await self._turn()
        found = self._tables.results
        return {job_id: found[job_id] for job_id in job_ids if job_id in found and self._visible(project_id, job_id)}

    async def active(
        self, backend: str, status: JobStatus, *, after: str | None, limit: int
    ) -> list[tuple[Job, bytes, bytes | None]]:
        await self._turn()
        tables = self._tables
        queue = tables.queues.get((backend, status), [])
        begin = bisect_right(queue, after or "")
        return [
            (tables.jobs[id_], tables.inputs[id_], tables.compiled.get(id_)) for id_ in queue[begin : begin + limit]
        ]

    async def stranded(self, *, after: str | None, limit: int) -> list[Job]:
        await self._turn()
        queues = (queue for (_, status), queue in self._tables.queues.items() if status is JobStatus.STARTED)
        found = sorted(job_id for queue in queues for job_id in queue[bisect_right(queue, after or "") :])
        return [self._tables.jobs[job_id] for job_id in found[:limit]]

    async def unended(self, job_ids: Collection[str]) -> set[str]:
        await self._turn()
        known = self._tables.jobs
        return {job_id for job_id in job_ids if job_id in known and known[job_id].completed_at is None}

    async def waiting(self, *, after: tuple[str, str], limit: int) -> list[Waiting]:
        await self._turn()
        queues = ((key, queue) for key, queue in self._tables.queues.items() if key[1] in _WAITING)
        ids = sorted((backend, job_id) for (backend, _), queue in queues for job_id in queue)
        found = ids[bisect_right(ids, after) :][:limit]
        return [_waiting(self._tables.jobs[job_id]) for _, job_id in found]

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
        await self._turn()
        log = self._tables.log(after, self._sequence, jobs, sessions)
        found = (event for event in log if not kinds or event.kind in kinds)
        if project_id is not None:
            # Events of backends belong to no project and are for everyone, but not among the events of chosen jobs.
            seen = {project_id} if jobs or sessions else {project_id, None}
            found = (event for event in found if event.project_id in seen)
        return list(islice(found, limit))

    def last_sequence(self) -> int:
        return self._sequence

    async def horizon(self) -> int:
        await self._turn()
        return self._horizon

    async def projects(self) -> list[Project]:
        await self._turn()
        return sorted(self._projects.values(), key=lambda project: project.id)

    async def keys(self) -> list[ApiKey]:
        await self._turn()
        return sorted(self._keys.values(), key=lambda key: key.id)

    async def session(self, project_id: str, session_id: str) -> Session | None:
        await self._turn()
        found = self._tables.sessions.get(session_id)
        return found if found is not None and found.project_id == project_id else None

    async def sessions(self, project_id: str, *, active: bool | None = None, limit: int) -> list[Session]:
        await self._turn()
        found = (session for session in self._tables.sessions.values() if session.project_id == project_id)
        wanted = (session for session in found if active is None or session.active is active)
        return sorted(wanted, key=lambda session: session.id, reverse=True)[:limit]

    async def sessions_due(self, at: int, *, limit: int) -> list[Session]:
        await self._turn()
        sessions = self._tables.sessions.values()
        due = [session for session in sessions if session.closing or (session.active and _expires(session) <= at)]
        return sorted(due, key=_expires)[:limit]

    async def next_expiry(self) -> int | None:
        await self._turn()
        expiring = (session.expires_at for session in self._tables.sessions.values() if session.active)
        return min((at for at in expiring if at is not None), default=None)

    async def calibrated(self) -> list[str]:
        await self._turn()
        return sorted({item.backend for item in self._tables.characterizations.values()})

    async def characterizations(
        self, backend: str, *, start: int | None = None, end: int | None = None, limit: int = 10, offset: int = 0
    ) -> tuple[list[Characterization], int]:
        await self._turn()
        found = [
            item
            for item in self._tables.characterizations.values()
            if item.backend == backend
            and (start is None or item.recorded_at >= start)
            and (end is None or item.recorded_at < end)
        ]
        found.sort(key=lambda item: (item.recorded_at, item.id), reverse=True)
        return found[offset : offset + limit], len(found)

    async def characterization(self, characterization_id: str) -> Characterization | None:
        await self._turn()
        return self._tables.characterizations.get(characterization_id)

    async def standings(self) -> list[Standing]:
        await self._turn()
        return sorted(self._tables.standings.values(), key=lambda item: item.backend)

    async def verify(self) -> Report:
        await self._turn()
        tables = self._tables
        jobs = ((job, job.id in tables.results) for job in tables.jobs.values())
        return verify(tables.events.values(), jobs, self._horizon, tables.sessions.values())


def _waiting(job: Job) -> Waiting:
    spec, predicted_ms = job.spec, job.outcome.predicted_execution_ms
    return Waiting(spec.backend, job.id, job.status, job.project_id, job.parent_id, spec.session_id, predicted_ms)


def _expires(session: Session) -> float:
    return inf if session.expires_at is None else session.expires_at


def _matches(job: Job, where: JobFilter) -> bool:
    return (
        (where.ids is not None or where.parent_id is not None or job.parent_id is None)
        and (where.parent_id is None or job.parent_id == where.parent_id)
        and (where.statuses is None or job.status in where.statuses)
        and (where.backends is None or job.backend in where.backends)
        and (where.session_id is None or job.spec.session_id == where.session_id)
    )

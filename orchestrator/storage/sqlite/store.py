"""The SQLite store: reads on connections of their own, all writes through the `Writer`."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio
import msgspec

from orchestrator.clock import Clock
from orchestrator.errors import StorageError, StorageFull, StorageRefused
from orchestrator.events import Event
from orchestrator.lifecycle import JobStatus
from orchestrator.model import ApiKey, Characterization, Job, Project, Session, Standing
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
)
from orchestrator.storage.sqlite import header, queries, rows
from orchestrator.storage.sqlite.connection import CLOSE_LIMIT_S, Connection, connect_reader, connect_writer
from orchestrator.storage.sqlite.fresh import FreshResults
from orchestrator.storage.sqlite.migrate import available, migrate
from orchestrator.storage.sqlite.outbox import SqliteOutbox
from orchestrator.storage.sqlite.reading import array, bodies, fetch, fold, head, of_sessions
from orchestrator.storage.sqlite.retention import trim
from orchestrator.storage.sqlite.writer import Writer

T = TypeVar("T")
READERS: Final = 2
_WRITE = queries.load("write")
_characterization = msgspec.json.Decoder(Characterization).decode


class SqliteStore(Store):
    """One file, one writer.

    Args:
        path: The database file; made if missing.
        synchronous: ``FULL`` (a success is on disk before it is answered) or ``NORMAL`` (for comparison only: a
            power cut may lose answered writes).
    """

    def __init__(self, path: Path, clock: Clock, *, synchronous: str = "FULL") -> None:
        if synchronous not in {"FULL", "NORMAL"}:
            raise ValueError("synchronous is FULL or NORMAL")
        self.path = path
        self.epoch = ""
        self._clock = clock
        self._synchronous = synchronous
        self._connections: list[Connection] = []
        self._readers: list[Connection] = []
        self._turn = 0
        self._fresh = FreshResults()
        self.outbox = SqliteOutbox(self._read, self._call)

    async def open(self, on_commit: OnCommit, route: Route | None = None) -> None:
        try:
            header.check(self.path, max(available()))
            connection = await connect_writer(self.path, synchronous=self._synchronous)
            self._connections.append(connection)
            await connection.run(migrate)
            self.epoch, sequence = await connection.run(head)
            for _ in range(READERS):
                self._connections.append(await connect_reader(self.path))
        except BaseException as error:
            await self._close_connections()
            if isinstance(error, sqlite3.Error | OSError):
                raise _refusal(error) from error
            raise
        self._readers = self._connections[1:]
        self._writer = Writer(
            connection,
            sequence=sequence,
            now=self._clock.now_ms,
            on_commit=on_commit,
            route=route,
            fresh=self._fresh,
            claim=lambda drafts: self.claim(drafts),  # noqa: PLW0108 - it is set later than this
        )
        self._task = asyncio.create_task(self._writer.run(), name="sqlite writer")

    async def aclose(self) -> None:
        with anyio.CancelScope(shield=True):
            try:
                self._writer.close()
                _, pending = await asyncio.wait([self._task], timeout=CLOSE_LIMIT_S)
                for task in pending:
                    task.cancel()
            finally:
                await self._close_connections()

    async def _close_connections(self) -> None:
        """Close all, even when cancelled meanwhile."""
        self._readers = []
        cancelled: asyncio.CancelledError | None = None
        while self._connections:
            try:
                await self._connections.pop().aclose()
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled

    async def _read(self, function: Callable[..., T], *arguments: Any) -> T:
        if not self._readers:
            raise StorageError("the store is closed")
        self._turn = (self._turn + 1) % len(self._readers)
        try:
            return await self._readers[self._turn].run(function, *arguments)
        except sqlite3.Error as error:
            raise StorageError(f"the read failed: {error}") from error

    # -- writes -------------------------------------------------------------------------

    async def submit(self, operation: Submit) -> Job:
        job: Job = await self._writer.write(operation)
        return job

    async def apply(self, moves: Sequence[Move]) -> list[bool]:
        applied: list[bool] = await self._writer.write(Apply(moves))
        return applied

    async def record(self, operation: Record) -> None:
        await self._writer.write(operation)

    async def put_project(self, project: Project) -> None:
        await self._execute("put_project", (project.id, project.name, project.created_at))

    async def put_key(self, key: ApiKey) -> None:
        await self._execute("put_key", (key.id, key.project_id, key.name, key.digest, key.created_at, key.revoked_at))

    async def add_session(self, session: Session) -> None:
        await self._execute("add_session", rows.session_row(session))

    async def end_session(self, operation: EndSession) -> Session:
        session: Session = await self._writer.write(operation)
        return session

    async def _call(self, call: Callable[[sqlite3.Connection], Any]) -> Any:
        return await self._writer.write(call)

    async def _execute(self, name: str, arguments: tuple[Any, ...]) -> None:
        await self._writer.write(lambda connection: connection.execute(_WRITE[name], arguments).rowcount)

    async def trim(self, completed_before: int, limit: int) -> int:
        removed: int = await self._writer.write(lambda connection: trim(connection, completed_before, limit))
        self._fresh.clear()
        return removed

    # -- reads --------------------------------------------------------------------------

    async def job(self, project_id: str, job_id: str) -> Job | None:
        found = await self._read(fetch, "job", (job_id, project_id))
        return rows.job(found[0]) if found else None

    async def jobs(self, project_id: str, where: JobFilter, *, limit: int, before: str | None = None) -> list[Job]:
        arguments = {
            "project": project_id,
            "before": before,
            "limit": limit,
            "ids": array(where.ids),
            "parent": where.parent_id,
            "statuses": array(where.statuses),
            "backends": array(where.backends),
            "session": where.session_id,
        }
        name = "listed" if where.session_id is None else "listed_by_session"
        name = name if where.parent_id is None else "listed_by_parent"
        found = await self._read(fetch, name if where.ids is None else "listed_by_ids", arguments)
        return [rows.job(row) for row in found]

    async def children(self, project_id: str, parent_id: str) -> list[Job]:
        found = await self._read(fetch, "children", (parent_id,))
        return [job for job in map(rows.job, found) if job.project_id == project_id and job.deleted_at is None]

    async def child_ids(self, parent_ids: Collection[str]) -> list[str]:
        return [row[0] for row in await self._read(fetch, "child_ids", (array(parent_ids),))]

    async def input(self, project_id: str, job_id: str) -> tuple[bytes, bytes | None] | None:
        found = await self._read(fetch, "input", (job_id, project_id))
        return bodies(found[0]) if found else None

    async def results(self, project_id: str, job_ids: Sequence[str]) -> dict[str, bytes]:
        if self._readers and (fresh := self._fresh.of(project_id, job_ids)) is not None:
            return fresh
        found = await self._read(fetch, "results", (project_id, array(job_ids)))
        return {row[0]: rows.unpack(row[1]) for row in found}

    async def active(
        self, backend: str, status: JobStatus, *, after: str | None, limit: int
    ) -> list[tuple[Job, bytes, bytes | None]]:
        found = await self._read(fetch, "active", (backend, after or "", status, limit))
        return [(rows.job(row), *bodies(row[rows.JOB_COLUMNS :])) for row in found]

    async def stranded(self, *, after: str | None, limit: int) -> list[Job]:
        return [rows.job(row) for row in await self._read(fetch, "stranded", (after or "", limit))]

    async def unended(self, job_ids: Collection[str]) -> set[str]:
        return {row[0] for row in await self._read(fetch, "unended", (array(job_ids),))}

    async def waiting(self, *, after: tuple[str, str], limit: int) -> list[Waiting]:
        return [rows.waiting(row) for row in await self._read(fetch, "waiting", (*after, limit))]

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
        if project_id is None and not jobs and not sessions and not kinds:
            found = await self._read(fetch, "events", (after, limit))
        else:
            arguments = {
                "after": after,
                "limit": limit,
                "project": project_id,
                "jobs": array(jobs),
                "sessions": array(sessions) if sessions else None,
                "kinds": array(kinds) if kinds else None,
            }
            if sessions and not jobs:
                found = await self._read(of_sessions, set(sessions), arguments)
            else:
                found = await self._read(fetch, "events_of_jobs" if jobs else "events_filtered", arguments)
        return [rows.event(row) for row in found]

    def last_sequence(self) -> int:
        return self._writer.sequence

    async def horizon(self) -> int:
        found = await self._read(fetch, "meta", ("horizon",))
        return int(found[0][0])

    async def projects(self) -> list[Project]:
        found = await self._read(fetch, "projects", ())
        return [Project(id=row[0], name=row[1], created_at=row[2]) for row in found]

    async def keys(self) -> list[ApiKey]:
        found = await self._read(fetch, "keys", ())
        names = ApiKey.__struct_fields__
        return [ApiKey(**dict(zip(names, row, strict=True))) for row in found]

    async def session(self, project_id: str, session_id: str) -> Session | None:
        found = await self._read(fetch, "session", (session_id, project_id))
        return rows.session(found[0][0]) if found else None

    async def sessions(self, project_id: str, *, active: bool | None = None, limit: int) -> list[Session]:
        name = {None: "sessions", True: "sessions_active", False: "sessions_ended"}[active]
        return [rows.session(row[0]) for row in await self._read(fetch, name, (project_id, limit))]

    async def sessions_due(self, at: int, *, limit: int) -> list[Session]:
        found = await self._read(fetch, "sessions_expired", (at, limit))
        found += await self._read(fetch, "sessions_closing", (limit,))
        return [rows.session(row[0]) for row in found[:limit]]

    async def next_expiry(self) -> int | None:
        found: int | None = (await self._read(fetch, "next_expiry", ()))[0][0]
        return found

    async def calibrated(self) -> list[str]:
        return [row[0] for row in await self._read(fetch, "calibrated", ())]

    async def characterizations(
        self, backend: str, *, start: int | None = None, end: int | None = None, limit: int = 10, offset: int = 0
    ) -> tuple[list[Characterization], int]:
        arguments = {"backend": backend, "start": start, "end": end, "limit": limit, "offset": offset}
        found = await self._read(fetch, "characterizations", arguments)
        total = await self._read(fetch, "count_characterizations", arguments)
        return [_characterization(row[0]) for row in found], total[0][0]

    async def characterization(self, characterization_id: str) -> Characterization | None:
        found = await self._read(fetch, "characterization", (characterization_id,))
        return _characterization(found[0][0]) if found else None

    async def standings(self) -> list[Standing]:
        names = Standing.__struct_fields__
        return [Standing(**dict(zip(names, row, strict=True))) for row in await self._read(fetch, "standings", ())]

    async def verify(self) -> Report:
        if not self._readers:
            raise StorageError("the store is closed")
        # Its own connection: a long fold must not hold up the readers.
        connection = await connect_reader(self.path)
        try:
            return await connection.run(fold)
        except sqlite3.Error as error:
            raise StorageError(f"the read failed: {error}") from error
        finally:
            await connection.aclose()


def _refusal(error: sqlite3.Error | OSError) -> StorageError:
    """Why the file could not be opened: it is damaged, or the machine does not let us."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CANTOPEN) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StorageFull()
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}:
        return StorageRefused(f"the database is damaged: {error}")
    return StorageError(f"the database cannot be opened: {error}")

"""What was, or is about to be, submitted to a remote: durable before the request leaves.

An intent says: these local jobs are one remote job, which carries this token. It is written before the submission,
gets the remote's id after it, and goes when its jobs have ended. Whatever happens between any two of these steps, the
token finds the remote job again. An intent is never changed otherwise: jobs that are left of a family are another one.
Which of its jobs have ended meanwhile is the store's to know, and is asked of it.

Writes wait for each other's sync, not for one each: whoever comes first writes for all that wait. What may be lost in
a crash (the token finds a remote job again; an intent too many harms nothing) waits a moment for others to come along.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import anyio
import anyio.to_thread
import msgspec
import structlog

from orchestrator.backends.abc import Clock

log = structlog.get_logger()

DATABASE: Final = "intents.db"
#: How long what may be lost waits for a write that may not.
PATIENCE_S: Final = 0.1
#: Pause before writing again to a disk that could not take it.
WRITE_PAUSE_S: Final = 1.0

_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
    "CREATE TABLE IF NOT EXISTS intents (token TEXT PRIMARY KEY, backend TEXT NOT NULL, jobs TEXT NOT NULL,"
    " created_ms INTEGER NOT NULL, remote_id TEXT) STRICT",
)


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """One remote job, meant or made.

    Attributes:
        token: The mark it carries at the remote.
        backend: Local name.
        jobs: Local jobs, in circuit order.
        created_ms: Before the first request; local wall time.
        remote_id: The remote's id, once it is known.
    """

    token: str
    backend: str
    jobs: tuple[str, ...]
    created_ms: int
    remote_id: str | None = None


class _Write:
    def __init__(self, sql: str, values: Sequence[Any]) -> None:
        self.sql, self.values = sql, values
        self.done = False


class Intents:
    """The table of intents; `open` first, `aclose` in the end.

    Attributes:
        instance: Marks this file among all; part of the name of the metadata entry that holds a token.
    """

    def __init__(self, clock: Clock) -> None:
        self.instance = ""
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._lock = anyio.Lock(fast_acquire=True)
        self._pending: list[_Write] = []

    async def open(self, folder: Path | None) -> None:
        """Open the file in that folder, or a table in memory where there is none.

        Raises:
            sqlite3.Error: It is none of ours, or cannot be opened.
        """
        self._connection = await anyio.to_thread.run_sync(_connect, folder)
        self.instance, _ = await anyio.to_thread.run_sync(_read, self._connection)

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise anyio.ClosedResourceError
        return self._connection

    async def of(self, backend: str) -> list[Intent]:
        """What the file holds of a backend now; another adapter may have served it a moment ago, from the same file."""
        async with self._lock:
            _, intents = await anyio.to_thread.run_sync(_read, self._opened())
        return [intent for intent in intents if intent.backend == backend]

    async def aclose(self) -> None:
        """Write what still waits, and close the file."""
        with anyio.CancelScope(shield=True):
            async with self._lock:
                if self._connection is not None:
                    pending, self._pending = self._pending, []
                    written = await anyio.to_thread.run_sync(_close, self._connection, pending)
                    self._connection = None
                    for write in pending:
                        write.done = written

    async def add(self, intent: Intent) -> None:
        """Durable when this returns: now the request may leave."""
        values = (intent.token, intent.backend, msgspec.json.encode(intent.jobs).decode(), intent.created_ms)
        await self._write(
            "INSERT OR IGNORE INTO intents (token, backend, jobs, created_ms) VALUES (?, ?, ?, ?)", values
        )

    async def accepted(self, token: str, remote_id: str) -> None:
        """The remote made the job."""
        sql = "UPDATE intents SET remote_id = ? WHERE token = ?"
        await self._write(sql, (remote_id, token), patience_s=PATIENCE_S)

    async def remove(self, token: str) -> None:
        """All is over, or nothing came of it."""
        await self._write("DELETE FROM intents WHERE token = ?", (token,), patience_s=PATIENCE_S)

    async def _write(self, sql: str, values: Sequence[Any], *, patience_s: float = 0.0) -> None:
        """Commit, together with what else waits; tried again for as long as the disk does not take it.

        Raises:
            anyio.ClosedResourceError: The file was closed before.
        """
        self._opened()
        write = _Write(sql, values)
        self._pending.append(write)
        if patience_s:
            await self._clock.sleep(patience_s)
        while not write.done:
            async with self._lock:
                if write.done:
                    return
                connection, batch = self._opened(), list(self._pending)
                try:
                    # Shielded, as calls in threads are: a commit under way ends before its caller is canceled.
                    await anyio.to_thread.run_sync(_commit, connection, batch)
                except sqlite3.Error as error:
                    log.warning("intents cannot be written; waiting", reason=str(error))
                else:
                    del self._pending[: len(batch)]
                    for one in batch:
                        one.done = True
            if not write.done:
                await self._clock.sleep(WRITE_PAUSE_S)


def _connect(folder: Path | None) -> sqlite3.Connection:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = ":memory:" if folder is None else str(folder / DATABASE)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA:
            connection.execute(statement)
        connection.execute("INSERT OR IGNORE INTO meta VALUES ('instance', ?)", (uuid4().hex[:8],))
        connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def _read(connection: sqlite3.Connection) -> tuple[str, list[Intent]]:
    [(instance,)] = connection.execute("SELECT value FROM meta WHERE name = 'instance'")
    rows = connection.execute("SELECT token, backend, jobs, created_ms, remote_id FROM intents ORDER BY rowid")
    return instance, [
        Intent(
            token=token,
            backend=backend,
            jobs=msgspec.json.decode(jobs, type=tuple[str, ...]),
            created_ms=created_ms,
            remote_id=remote_id,
        )
        for token, backend, jobs, created_ms, remote_id in rows
    ]


def _close(connection: sqlite3.Connection, pending: Sequence[_Write]) -> bool:
    """Write what waits, and close; whether it is written."""
    try:
        _commit(connection, pending)
    except sqlite3.Error as error:
        log.warning("intents not written", jobs=len(pending), reason=str(error))
        return False
    else:
        return True
    finally:
        connection.close()


def _commit(connection: sqlite3.Connection, batch: Sequence[_Write]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for write in batch:
            connection.execute(write.sql, write.values)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise

"""The seam to aiosqlite: whole synchronous callables on a connection's own thread.

aiosqlite offers statements one by one, each its own hop; a transaction has to be one hop. It does have the
hop as `Connection._execute`, which this module alone uses (aiosqlite is pinned; a test holds the seam).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import aiosqlite
import anyio

from orchestrator.storage.sqlite.header import APPLICATION_ID

T = TypeVar("T")

CLOSE_LIMIT_S: Final = 5.0


class Connection:
    """One SQLite connection on one thread; `run` is the only way in."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call ``function(sqlite3 connection, *arguments)`` on the connection's thread.

        A cancelled call still runs to its end there.
        """
        raw = self._connection._conn
        return await self._connection._execute(function, raw, *arguments)  # type: ignore[no-any-return,no-untyped-call]

    async def aclose(self) -> None:
        """Close and end the thread; shielded, since a thread left behind would keep the interpreter alive."""
        with anyio.move_on_after(CLOSE_LIMIT_S, shield=True):
            await self._connection.close()


async def connect_writer(path: Path, *, synchronous: str) -> Connection:
    """The one connection that writes; creates the file."""
    return await _connect(_uri(path, "rwc"), _prepare_writer, synchronous)


async def connect_reader(path: Path) -> Connection:
    """A connection that only reads."""
    return await _connect(_uri(path, "ro"), _prepare_reader)


def _uri(path: Path, mode: str) -> str:
    return f"{path.absolute().as_uri()}?mode={mode}"


async def _connect(uri: str, prepare: Callable[..., None], *arguments: Any) -> Connection:
    opening = aiosqlite.connect(uri, uri=True, isolation_level=None)
    with anyio.CancelScope(shield=True):
        try:
            connection = Connection(await opening)
        except BaseException:
            # aiosqlite tells its thread to end, but the thread still talks to the loop, which may close any moment.
            opening._thread.join(CLOSE_LIMIT_S)
            raise
        try:
            await connection.run(prepare, *arguments)
        except BaseException:
            await connection.aclose()
            raise
    return connection


def _prepare_writer(connection: sqlite3.Connection, synchronous: str) -> None:
    connection.execute("PRAGMA busy_timeout = 5000")
    if connection.execute("PRAGMA application_id").fetchone()[0] == 0:
        # A new file: our mark comes first, while it still goes into the file and not into the write-ahead log.
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA cache_size = -16384")
    connection.execute("PRAGMA mmap_size = 0")


def _prepare_reader(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA busy_timeout = 5000")
    connection.execute("PRAGMA query_only = 1")
    connection.execute("PRAGMA cache_size = -8192")
    connection.execute("PRAGMA mmap_size = 0")

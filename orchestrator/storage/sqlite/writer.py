"""Group commit: one task owns the write connection and commits once for all that waits.

Callers put an operation in line and wait for its answer. The task takes everything in line (bounded), runs it as
one synchronous function in one hop on the connection's thread, and answers all after the commit. It never
waits for more: when idle, a single operation is committed at once; under load, the next batch gathers while
the last one syncs. If a batch fails it is rolled back and its operations are tried one by one, so that one
bad operation fails alone.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import structlog

from orchestrator.errors import StorageError, StorageFull
from orchestrator.storage import ledger
from orchestrator.storage.abc import (
    Apply,
    Claim,
    Committed,
    EndSession,
    OnCommit,
    Record,
    Route,
    Submit,
    Write,
    claimable,
)
from orchestrator.storage.sqlite.connection import Connection
from orchestrator.storage.sqlite.fresh import FreshResults
from orchestrator.storage.sqlite.tables import SqliteTables

T = TypeVar("T")
log = structlog.get_logger()

#: Operations that the ledger runs; the others are calls.
_LEDGER: Final = (Submit, Apply, Record, EndSession)
MAX_OPERATIONS: Final = 1000
MAX_BYTES: Final = 4 * 1024 * 1024
Call = Callable[[sqlite3.Connection], Any]


class Writer:
    """The writing half of the SQLite store.

    Args:
        sequence: The last sequence in the log.
        now: Wall clock, Unix milliseconds.
        on_commit, route: See `Store.open`; `claim`: see `Claim`.
        fresh: Remembers what was committed.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        sequence: int,
        now: Callable[[], int],
        on_commit: OnCommit,
        claim: Claim,
        fresh: FreshResults,
        route: Route | None = None,
    ) -> None:
        self.sequence = sequence
        self._connection = connection
        self._now = now
        self._on_commit = on_commit
        self._route = route
        self._claim = claim
        self._fresh = fresh
        self._line: deque[tuple[Write | Call, asyncio.Future[Any]]] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._broken = ""

    async def write(self, operation: Write | Call) -> Any:
        """Run one operation; answers after its commit.

        Cancelling the call does not take the operation back: its outcome is then unknown.

        Raises:
            StorageError: The store is closed, or the write failed; `StorageFull` when the disk is full.
        """
        if self._closing:
            raise StorageError("the store is closed")
        if self._broken:
            raise StorageError(self._broken)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._line.append((operation, future))
        self._wake.set()
        return await future

    def close(self) -> None:
        """Write what is in line, then let `run` end."""
        self._closing = True
        self._wake.set()

    async def run(self) -> None:
        """The writer's loop; ends after `close`, once nothing is in line. Whoever still waits then is told."""
        batch: list[tuple[Write | Call, asyncio.Future[Any]]] = []
        try:
            while not self._closing or self._line:
                await self._wake.wait()
                self._wake.clear()
                while self._line:
                    batch = self._take()
                    await self._commit(batch)
        finally:
            for _, future in (*batch, *self._line):
                _settle(future, StorageError("the store was closed meanwhile: the outcome is unknown"))

    def _take(self) -> list[tuple[Write | Call, asyncio.Future[Any]]]:
        batch: list[tuple[Write | Call, asyncio.Future[Any]]] = []
        size = 0
        while self._line and len(batch) < MAX_OPERATIONS and size < MAX_BYTES:
            batch.append(self._line.popleft())
            size += _size(batch[-1][0])
        return batch

    async def _commit(self, batch: list[tuple[Write | Call, asyncio.Future[Any]]]) -> None:
        if self._broken:
            for _, future in batch:
                _settle(future, StorageError(self._broken))
            return
        operations = [operation for operation, _ in batch]
        unclaim = self._claim(claimable(operations))
        try:
            answers, entries = await self._connection.run(_run, operations, self.sequence, self._now(), self._route)
        except Exception as error:
            unclaim()
            self._notice(error)
            if len(batch) > 1 and not self._broken:
                for entry in batch:
                    await self._commit([entry])
                return
            answer = _storage_error(error) if isinstance(error, sqlite3.Error) else error
            # Without the traceback: its frames hold the bodies of the batch, and the caller gets the error itself.
            log.warning("write failed", operations=len(batch), error=repr(answer))
            for _, future in batch:
                _settle(future, answer)
            return
        self._fresh.notice(operations, answers)
        if entries:
            self.sequence = entries[-1].event.sequence
            self._tell(entries)
        for (_, future), answer in zip(batch, answers, strict=True):
            _settle(future, answer)

    def _tell(self, entries: Sequence[Committed]) -> None:
        """What is committed is answered, even if the listener breaks."""
        try:
            self._on_commit(entries)
        except Exception:
            log.exception("listener failed", events=len(entries))

    def _notice(self, error: Exception) -> None:
        """After a failed sync the file's state is unknown: stop writing, for good; retrying could lose data."""
        code = getattr(error, "sqlite_errorcode", 0)
        if code & 0xFF in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            self._broken = f"the database cannot be written: {error}"


def _settle(future: asyncio.Future[Any], answer: object) -> None:
    """Answer a caller, unless it has gone or was answered."""
    if future.done():
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)


def _storage_error(error: sqlite3.Error) -> StorageError:
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
        return StorageFull()
    return StorageError(f"the write failed: {error}")


def _size(operation: Write | Call) -> int:
    """Bytes an operation brings into a batch, roughly."""
    if isinstance(operation, Submit):
        return sum([len(draft.input or b"") + 512 for draft in operation.drafts])
    if isinstance(operation, Apply):
        return sum([len(move.result or b"") + len(move.compiled or b"") + 256 for move in operation.moves])
    return 512


def _run(
    connection: sqlite3.Connection,
    operations: Sequence[Write | Call],
    sequence: int,
    now: int,
    route: Route | None,
) -> tuple[list[Any], list[Committed]]:
    """One transaction, on the connection's thread."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        writes = [operation for operation in operations if isinstance(operation, _LEDGER)]
        answers, entries = ledger.run(SqliteTables(connection), writes, sequence, now, route)
        if len(writes) == len(operations):
            connection.execute("COMMIT")
            return list(answers), entries
        remaining = iter(answers)
        merged: list[Any] = []
        for operation in operations:
            if isinstance(operation, _LEDGER):
                merged.append(next(remaining))
            else:
                merged.append(operation(connection))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return merged, entries

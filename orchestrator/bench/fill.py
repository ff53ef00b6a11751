"""A store with many finished jobs, made fast: copies of one real job's rows, by SQL alone."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from orchestrator.bench.workload import REQUEST, NoopAdapter
from orchestrator.datafolder import DATABASE
from orchestrator.service import Orchestrator

_CHUNK: Final = 20_000
#: What differs from one copy to the next; ``:id`` is the job's that is copied, and `n.i` counts the copies.
_ID: Final = "substr(:id, 1, 24) || printf('%012x', n.i)"
_COPIED: Final = {
    "jobs": {"id": _ID},
    "inputs": {"job_id": _ID},
    "results": {"job_id": _ID},
    "events": {"job_id": _ID, "sequence": "sequence + n.i * :events"},
}


async def fill(folder: Path, finished: int) -> None:
    """Make a data folder with that many finished jobs; `verify` finds nothing wrong with it."""
    async with Orchestrator.open(folder, adapters=[NoopAdapter()]) as orchestrator:
        job = await orchestrator.submit(REQUEST)
        await orchestrator.wait(job.id)
    _copy(folder / DATABASE, job.id, finished - 1)


def _copy(path: Path, job_id: str, copies: int) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        (events,) = connection.execute("SELECT count(*) FROM events WHERE job_id = ?", (job_id,)).fetchone()
        statements = [_statement(connection, table, changed) for table, changed in _COPIED.items()]
        for first in range(1, copies + 1, _CHUNK):
            last = min(copies, first + _CHUNK - 1)
            connection.execute("BEGIN IMMEDIATE")
            for statement in statements:
                connection.execute(statement, {"id": job_id, "first": first, "last": last, "events": events})
            connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _statement(connection: sqlite3.Connection, table: str, changed: dict[str, str]) -> str:
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    values = ", ".join(changed.get(column, f"{table}.{column}") for column in columns)
    key = "id" if "id" in changed else "job_id"
    copies = "WITH RECURSIVE n (i) AS (SELECT :first UNION ALL SELECT i + 1 FROM n WHERE i < :last)"
    return f"{copies} INSERT INTO {table} SELECT {values} FROM n CROSS JOIN {table} WHERE {table}.{key} = :id"  # noqa: S608 - our own names

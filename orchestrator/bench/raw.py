"""The raw limit: what plain `sqlite3` writes on this disk, with nothing around it."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Final

BATCH: Final = 100
#: A row of the event log, but for its sequence.
_ROW: Final = (
    "job.completed",
    1_767_225_600_000,
    "019b76da-a800-7000-8000-000000000000",
    None,
    "019b76da-a800-7001-8000-000000000000",
    "bench.noop",
    1,
    "started",
    "completed",
    '{"execution_ms":0}',
)
_COLUMNS: Final = "kind, at, job_id, parent_id, project_id, backend, attempt, before, after, data"


def rows_per_second(path: Path, seconds: float, *, synchronous: str = "FULL") -> float:
    """Rows a second, 100 to a commit, into a new file: rows like those of the event log, a table without indexes."""
    insert = f"INSERT INTO log ({_COLUMNS}) VALUES ({', '.join('?' * len(_ROW))})"  # noqa: S608 - our own names
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute(f"CREATE TABLE log (sequence INTEGER PRIMARY KEY, {_COLUMNS})")
        begun, written = time.perf_counter(), 0
        while (elapsed := time.perf_counter() - begun) < seconds:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(insert, [_ROW] * BATCH)
            connection.execute("COMMIT")
            written += BATCH
        return written / elapsed


def fsync_ms(path: Path, number: int = 50) -> float:
    """Median time of one small write and its sync, milliseconds."""
    times = []
    with path.open("wb", buffering=0) as file:
        for _ in range(number):
            file.write(bytes(4096))
            begun = time.perf_counter()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - begun)
    return 1e3 * sorted(times)[number // 2]

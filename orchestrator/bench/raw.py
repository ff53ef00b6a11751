"""The raw limit: what plain `sqlite3` writes on this disk, with nothing around it."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Final

from orchestrator.storage.sqlite.migrate import migrate

BATCH: Final = 100
#: The rows of one life cycle, but for sequence and job: kind, at, project_id, backend, attempt, before, after.
_PROJECT: Final = "019b76da-a800-7000-8000-000000000000"
_ROWS: Final = (
    ("job.submitted", 1_767_225_600_000, _PROJECT, "bench.noop", 0, None, "submitted"),
    ("job.ready", 1_767_225_600_000, _PROJECT, "bench.noop", 0, "submitted", "ready"),
    ("job.started", 1_767_225_600_001, _PROJECT, "bench.noop", 1, "ready", "started"),
    ("job.completed", 1_767_225_600_002, _PROJECT, "bench.noop", 1, "started", "completed"),
)
_INSERT: Final = (
    "INSERT INTO events (job_id, kind, at, project_id, backend, attempt, before, after) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)


def rows_per_second(path: Path, seconds: float, *, synchronous: str = "FULL") -> float:
    """Rows a second into the event log of a new store, its index included, 100 to a commit."""
    numbers = count()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        migrate(connection)
        begun, written = time.perf_counter(), 0
        while (elapsed := time.perf_counter() - begun) < seconds:
            jobs = [f"019b76da-a800-7001-8000-{next(numbers):012x}" for _ in range(BATCH // len(_ROWS))]
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(_INSERT, [(job, *row) for job in jobs for row in _ROWS])
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

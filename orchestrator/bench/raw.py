"""The raw limit: what plain `sqlite3` writes on this disk, with nothing around it."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any, Final

from orchestrator.bench.workload import BACKEND, BELL, RESULT
from orchestrator.circuits import ir
from orchestrator.storage.sqlite.migrate import migrate
from orchestrator.storage.sqlite.rows import encode

_PROJECT: Final = "019b76da-a800-7000-8000-000000000000"
_AT: Final = 1_767_225_600_000
_SPEC: Final = '{"backend":"bench.noop","seed":1506836036,"stats":{"qubits":2,"declared":2,"gates_1q":1,"gates_2q":1}}'
_INPUT: Final = ir.dumps(BELL).decode()
_RESULT: Final = encode(RESULT).decode()
_STEPS: Final = (
    (0, None, "submitted"),
    (0, "submitted", "ready"),
    (1, "ready", "started"),
    (1, "started", "completed"),
)

#: What one life cycle leaves behind: a job, its input, its result and four events.
ROWS_A_JOB: Final = 3 + len(_STEPS)
#: Jobs to a commit: about a hundred rows.
JOBS_A_COMMIT: Final = 14

_INSERTS: Final = {
    "jobs": "id, project_id, children, backend, status, attempt, failed_attempts, submitted_at, ready_at, started_at,"
    " completed_at, spec",
    "inputs": "job_id, body",
    "results": "job_id, body",
    "events": "job_id, kind, at, project_id, backend, attempt, before, after",
}


def rows_per_second(path: Path, seconds: float, *, synchronous: str = "FULL") -> float:
    """Rows a second into the tables of a new store, about 100 to a commit: those that life cycles leave behind.

    Each row is written once, as it is in the end, in the order of the jobs; a life cycle has to write half of
    them again, and in three commits.
    """
    statements = {table: _insert(table, columns) for table, columns in _INSERTS.items()}
    numbers = count()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        migrate(connection)
        begun, written, elapsed = time.perf_counter(), 0, 0.0
        while elapsed < seconds:
            ids = [f"019b76da-a800-7001-8000-{next(numbers):012x}" for _ in range(JOBS_A_COMMIT)]
            connection.execute("BEGIN IMMEDIATE")
            for table, rows in _rows(ids).items():
                connection.executemany(statements[table], rows)
            connection.execute("COMMIT")
            written += JOBS_A_COMMIT * ROWS_A_JOB
            elapsed = time.perf_counter() - begun
        return written / elapsed


def _insert(table: str, columns: str) -> str:
    marks = ", ".join("?" * len(columns.split(",")))
    return f"INSERT INTO {table} ({columns}) VALUES ({marks})"  # noqa: S608 - our own names


def _rows(ids: list[str]) -> dict[str, list[tuple[Any, ...]]]:
    return {
        "jobs": [(job, _PROJECT, 0, BACKEND, "completed", 1, 0, _AT, _AT, _AT, _AT, _SPEC) for job in ids],
        "inputs": [(job, _INPUT) for job in ids],
        "results": [(job, _RESULT) for job in ids],
        "events": [
            (job, f"job.{after}", _AT, _PROJECT, BACKEND, attempt, before, after)
            for job in ids
            for attempt, before, after in _STEPS
        ],
    }


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

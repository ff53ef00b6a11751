"""`verify` against damage planted in the tables behind the store's back."""
# ruff: noqa: S608  (the statements are ours)

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.lifecycle import Cause, JobStatus
from orchestrator.storage.abc import Report
from orchestrator.storage.sqlite.store import SqliteStore
from orchestrator.storage.verify import TOLD
from orchestrator.testing.clock import ManualClock
from orchestrator.testing.stores import Opened

S = JobStatus


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A completed, a started, a deleted job and a family of which one child runs: ids job-1 to job-5 and the parent."""
    path, clock = tmp_path / "orchestrator.db", ManualClock()
    async with Opened(SqliteStore(path, clock), clock) as opened:
        await opened.complete(await opened.submit())
        await opened.cause(await opened.submit(), Cause.STARTED)
        await opened.delete(await opened.cause(await opened.submit(), Cause.CANCELED))
        _, (child, _) = await opened.submit_family(S.READY, S.READY)
        await opened.cause(child, Cause.STARTED)
    return path


async def report(path: Path, sql: str) -> Report:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(sql)
    store = SqliteStore(path, ManualClock())
    await store.open(lambda _: None)
    try:
        return await store.verify()
    finally:
        await store.aclose()


DONE, RUNS, GONE, CHILD = (f"'job-{number:08d}'" for number in (1, 2, 3, 4))
PARENT = "'job-00000004-parent'"
AGAIN = "SELECT sequence + 100, kind, at, job_id, parent_id, project_id, backend, attempt, 'started', after, data, NULL"


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("DELETE FROM events WHERE sequence = 2", "event 3 follows 1"),
        (f"DELETE FROM events WHERE job_id = {DONE}", "has no events"),
        (f"UPDATE jobs SET status = 'ready' WHERE id = {RUNS}", "row says ready, the log started"),
        (f"UPDATE jobs SET attempt = 9 WHERE id = {RUNS}", "row says attempt 9, the log 1"),
        (f"UPDATE jobs SET completed_at = 1 WHERE id = {RUNS}", "started with completed_at 1"),
        (f"UPDATE jobs SET completed_at = NULL WHERE id = {DONE}", "completed with completed_at None"),
        (f"UPDATE jobs SET deleted_at = 1 WHERE id = {DONE}", "disagree on its deletion"),
        (f"UPDATE jobs SET deleted_at = NULL WHERE id = {GONE}", "disagree on its deletion"),
        (f"DELETE FROM results WHERE job_id = {DONE}", "completed without a result"),
        (f"INSERT INTO results VALUES ({RUNS}, '{{}}')", "started with a result"),
        (f"UPDATE events SET after = 'failed' WHERE job_id = {DONE} AND after = 'completed'", "ends at failed"),
        (f"UPDATE events SET before = 'ready' WHERE job_id = {DONE} AND after = 'completed'", "cannot be completed"),
        (f"UPDATE events SET attempt = 5 WHERE job_id = {DONE} AND after = 'started'", "written by attempt 1 after 5"),
        (f"INSERT INTO events {AGAIN} FROM events WHERE job_id = {DONE} AND after = 'completed'", "ended before"),
        (f"DELETE FROM jobs WHERE id = {CHILD}", "1 children of 2"),
        (f"DELETE FROM jobs WHERE id = {CHILD}", "has events but no row"),
        (f"DELETE FROM jobs WHERE id = {PARENT}", "has children but no row"),
        (f"UPDATE jobs SET status = 'canceled' WHERE parent_id = {PARENT}", "started, its children say canceled"),
    ],
)
async def test_damage_is_told(path: Path, sql: str, told: str) -> None:
    """Each way in which log and tables can disagree is told in a line that names the job or the event."""
    problems = (await report(path, sql)).problems
    assert any(told in problem for problem in problems), problems


async def test_sound_tables_are_sound(path: Path) -> None:
    """Undamaged, the same tables have nothing to tell."""
    assert await report(path, "SELECT 1") == Report(jobs=6, events=19, problems=())


async def test_much_damage_is_counted(path: Path) -> None:
    """Beyond the first hundred problems only their number is told."""
    numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {TOLD + 50})"
    row = "100 + i, 'job.ready', 0, 'x' || i, '', '', '', 0, 'ready', 'ready', NULL, NULL"
    sql = f"{numbers} INSERT INTO events SELECT {row} FROM n"
    problems = (await report(path, sql)).problems
    assert len(problems) == TOLD + 1
    assert problems[-1].startswith("and ")

"""What the SQLite store does with files: its own, strangers', damaged and newer ones."""
# ruff: noqa: ASYNC221, ASYNC240  (the loop of a test has nothing else to do)

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.errors import StorageError, StorageRefused
from orchestrator.events import EventKind
from orchestrator.storage.abc import Draft, Submit
from orchestrator.storage.sqlite import migrate, queries
from orchestrator.storage.sqlite.header import APPLICATION_ID
from orchestrator.storage.sqlite.store import SqliteStore
from orchestrator.testing.clock import ManualClock
from orchestrator.testing.stores import Opened
from orchestrator.testing.stores.opened import replace


def opened(path: Path) -> Opened:
    clock = ManualClock()
    return Opened(SqliteStore(path, clock), clock)


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A database of ours with two completed jobs, closed."""
    path = tmp_path / "orchestrator.db"
    async with opened(path) as store:
        await store.complete(await store.submit(), await store.submit(body=b'"' + b"x" * 9000 + b'"'))
    return path


def schema(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    return connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name").fetchall()


async def refuse(path: Path) -> None:
    """Opening has to be refused, and to leave the folder as it was, byte for byte."""
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    store = SqliteStore(path, ManualClock())
    with pytest.raises(StorageRefused):
        await store.open(lambda _: None)
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before


def of_another_program(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE notes (body TEXT)")
        connection.commit()


def with_another_mark(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA application_id = 7")


def with_a_pending_log(path: Path) -> None:
    """A stranger's database that was killed: its last commit stands in the write-ahead log only."""
    original = path.with_name("original")
    with closing(sqlite3.connect(original)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE notes (body TEXT)")
        connection.commit()
        shutil.copy(original, path)
        shutil.copy(f"{original}-wal", f"{path}-wal")


def no_database(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04" + bytes(5000))


def a_stub(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0")


@pytest.mark.parametrize("make", [of_another_program, with_another_mark, with_a_pending_log, no_database, a_stub])
async def test_foreign_files_are_refused_untouched(make: Callable[[Path], None], tmp_path: Path) -> None:
    """A file that is not ours is refused and stays byte-identical, whatever it is."""
    make(tmp_path / "orchestrator.db")
    await refuse(tmp_path / "orchestrator.db")


async def test_newer_schema_is_refused_untouched(path: Path) -> None:
    """A database of a newer release is refused and stays byte-identical."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {max(migrate.available()) + 1}")
    await refuse(path)


@pytest.mark.parametrize("begin", [0, 20, 100])
async def test_damaged_head_is_refused_untouched(path: Path, begin: int) -> None:
    """Noise in the first page is noticed, from the magic to the schema."""
    content = bytearray(path.read_bytes())
    content[begin : begin + 2000] = b"\xa5" * 2000
    path.write_bytes(content)
    await refuse(path)


async def test_truncated_file_is_refused_untouched(path: Path) -> None:
    """A file that lost its end is noticed."""
    os.truncate(path, path.stat().st_size // 8192 * 4096)
    await refuse(path)


async def test_damage_anywhere_is_refused_or_reported(path: Path) -> None:
    """Whatever page is damaged: refused untouched, or told by errors of ours and by nothing else."""
    content = path.read_bytes()
    for begin in range(4096, len(content), 4096):
        path.write_bytes(content[:begin] + b"\xa5" * 4096 + content[begin + 4096 :])
        store = SqliteStore(path, ManualClock())
        try:
            await store.open(lambda _: None)
        except StorageRefused:
            assert path.read_bytes()[begin:] == (b"\xa5" * 4096 + content[begin + 4096 :])
            continue
        try:
            await store.verify()
        except StorageError:
            continue
        finally:
            await store.aclose()


async def test_unusable_place_is_told(tmp_path: Path) -> None:
    """A folder that is missing, or a folder in place of the file, is an error of ours."""
    for place in (tmp_path / "missing" / "orchestrator.db", tmp_path):
        with pytest.raises(StorageError):
            await SqliteStore(place, ManualClock()).open(lambda _: None)


async def test_empty_file_is_a_new_store(tmp_path: Path) -> None:
    """A file that was made but never written, by a start killed at once, is taken."""
    (tmp_path / "orchestrator.db").touch()
    async with opened(tmp_path / "orchestrator.db") as store:
        await store.submit()


async def test_reopening_goes_on(path: Path) -> None:
    """A reopened store has the same epoch and jobs, and numbers on; another file has another epoch."""
    async with opened(path) as first:
        epoch, last, log = first.store.epoch, first.store.last_sequence(), await first.log()
    assert len(log) == last == 8
    async with opened(path) as again:
        assert (again.store.epoch, again.store.last_sequence(), await again.log()) == (epoch, last, log)
        job = again.draft().job
        await again.store.submit(Submit([Draft(replace(job, id="job-new"), b"{}")]))
        assert again.store.last_sequence() == last + 2
    async with opened(path.with_name("other.db")) as other:
        assert other.store.epoch != epoch
        assert other.store.last_sequence() == 0


async def test_mark_is_in_the_file_from_the_start(tmp_path: Path) -> None:
    """The mark stands in the file itself while all else is still in the log, so that a killed first start is known."""
    path = tmp_path / "orchestrator.db"
    async with opened(path) as store:
        await store.submit()
        shutil.copy(path, tmp_path / "killed.db")
        shutil.copy(f"{path}-wal", tmp_path / "killed.db-wal")
    assert int.from_bytes((tmp_path / "killed.db").read_bytes()[68:72], "big") == APPLICATION_ID
    async with opened(tmp_path / "killed.db") as survivor:
        assert [event.kind for event in await survivor.log()] == [EventKind.JOB_SUBMITTED, EventKind.JOB_READY]


async def test_durability_settings(tmp_path: Path) -> None:
    """Commits are synced in full unless asked otherwise; readers cannot write; no mmap."""
    clock = ManualClock()
    for arguments, level in (({}, 2), ({"synchronous": "NORMAL"}, 1)):
        store = SqliteStore(tmp_path / "orchestrator.db", clock, **arguments)
        async with Opened(store, clock):
            writer, reader = store._connections[:2]
            found = {
                name: await writer.run(lambda raw, name: raw.execute(f"PRAGMA {name}").fetchone()[0], name)
                for name in ("synchronous", "journal_mode", "foreign_keys", "mmap_size", "busy_timeout")
            }
            assert found == {
                "synchronous": level,
                "journal_mode": "wal",
                "foreign_keys": 1,
                "mmap_size": 0,
                "busy_timeout": 5000,
            }
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                await reader.run(lambda raw: raw.execute("DELETE FROM jobs"))
    with pytest.raises(ValueError, match="FULL or NORMAL"):
        SqliteStore(tmp_path / "orchestrator.db", clock, synchronous="OFF")


# -- migrations -----------------------------------------------------------------------------


async def test_schema_is_the_sum_of_the_migrations(path: Path) -> None:
    """The numbered files, run in order, make the schema; their numbers have no holes."""
    steps = migrate.available()
    assert list(steps) == list(range(1, len(steps) + 1))
    with closing(sqlite3.connect(":memory:")) as fresh, closing(sqlite3.connect(path)) as ours:
        for sql in steps.values():
            fresh.executescript(sql)
        assert schema(fresh) == schema(ours)
        assert ours.execute("PRAGMA user_version").fetchone() == (max(steps),)


async def test_failed_migration_leaves_the_old_schema(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A migration whose last statement fails leaves nothing of it."""
    steps = migrate.available()
    newest = max(steps)
    steps = {**steps, newest + 1: "CREATE TABLE extra (id);\nINSERT INTO nowhere VALUES (1);\n"}
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        before = schema(connection)
        monkeypatch.setattr(migrate, "available", lambda: steps)
        with pytest.raises(sqlite3.OperationalError, match="nowhere"):
            migrate.migrate(connection)
        assert not connection.in_transaction
        assert schema(connection) == before
        assert connection.execute("PRAGMA user_version").fetchone() == (newest,)


KILLED = """
import os, signal, sqlite3, sys
from orchestrator.storage.abc import Draft, Submit
from orchestrator.storage.sqlite import migrate
steps = migrate.available()
steps = {**steps, max(steps) + 1: "CREATE TABLE extra (id);\\nDELETE FROM jobs;\\nSELECT die();\\n"}
migrate.available = lambda: steps
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.create_function("die", 0, lambda: os.kill(os.getpid(), signal.SIGKILL))
migrate.migrate(connection)
"""


async def test_killed_migration_leaves_the_old_schema(path: Path) -> None:
    """A process killed in the middle of a migration leaves the old database."""
    run = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False, timeout=60)
    assert run.returncode == -signal.SIGKILL
    async with opened(path) as store:
        assert (await store.store.verify()).jobs == 2
    with closing(sqlite3.connect(path)) as connection:
        assert "extra" not in dict(schema(connection))


# -- queries --------------------------------------------------------------------------------

#: Statements that have to look at everything, and those over tables that stay small.
SCANNING = {
    "verify_events",
    "verify_jobs",
    "projects",
    "keys",
    "calibrated",
    "hooks",
    "hooks_waiting",
    "verify_sessions",
    "standings",
}


async def test_no_query_scans_a_table(path: Path) -> None:
    """Every statement finds its rows by an index, so that a million finished jobs slow nothing down."""
    with closing(sqlite3.connect(path)) as connection:
        every = [(group, name) for group in ("read", "write", "outbox") for name in queries.load(group)]
        for group, name in every:
            sql = queries.repeated(group, name, 2)
            names = ["ids", "parent", "project", "before", "statuses", "backends", "session", "limit", "after"]
            names += ["jobs", "sessions", "kinds", "backend", "start", "end", "offset", "hook"]
            arguments = dict.fromkeys(names) if ":" in sql else [None] * (1 if "?1" in sql else sql.count("?"))
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", arguments)]
            given = ("VIRTUAL", "CONSTANT ROW", "SCAN moves", "SCAN routed")  # rows that came with the statement
            scans = [step for step in plan if step.startswith("SCAN") and not any(word in step for word in given)]
            if name not in SCANNING:
                small = ("jobs_active", "sessions_closing")  # partial indexes that hold what is under way
                assert all(any(index in step for index in small) for step in scans), (name, plan)
            if name in {"pending", "dead", "bury", "revive_dead"}:  # not by way of all that was delivered
                assert any("INDEX deliveries_" in step for step in plan), (name, plan)

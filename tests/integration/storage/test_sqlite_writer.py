"""Group commit, failures of the disk, and the seam to aiosqlite."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import StorageError, StorageFull
from orchestrator.lifecycle import JobStatus
from orchestrator.storage.abc import Committed, Draft, Submit
from orchestrator.storage.sqlite import fresh
from orchestrator.storage.sqlite import writer as writing
from orchestrator.storage.sqlite.connection import connect_reader, connect_writer
from orchestrator.storage.sqlite.store import SqliteStore
from orchestrator.testing.clock import ManualClock
from orchestrator.testing.stores import Opened


def make(tmp_path: Path) -> Opened:
    clock = ManualClock()
    return Opened(SqliteStore(tmp_path / "orchestrator.db", clock), clock)


def store_of(opened: Opened) -> SqliteStore:
    assert isinstance(opened.store, SqliteStore)
    return opened.store


def writer(opened: Opened) -> writing.Writer:
    return store_of(opened)._writer


def count_batches(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the batches that are run from now on."""
    sizes: list[int] = []
    run = writing._run

    def counted(raw: sqlite3.Connection, operations: Sequence[Any], *rest: Any) -> Any:
        sizes.append(len(operations))
        return run(raw, operations, *rest)

    monkeypatch.setattr(writing, "_run", counted)
    return sizes


# -- group commit ---------------------------------------------------------------------------


async def test_what_waits_is_committed_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hundred writes at once are one commit; a lone write is one of its own, at once."""
    async with make(tmp_path) as opened:
        sizes = count_batches(opened, monkeypatch)
        await asyncio.gather(*(opened.submit() for _ in range(200)))
        await opened.submit()
        assert sizes == [200, 1]


async def test_batches_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch takes at most its number of operations, and stops at its number of bytes."""
    async with make(tmp_path) as opened:
        sizes = count_batches(opened, monkeypatch)
        await asyncio.gather(*(opened.submit() for _ in range(writing.MAX_OPERATIONS + 5)))
        assert sizes == [writing.MAX_OPERATIONS, 5]
        sizes.clear()
        body = b'"' + b"x" * (writing.MAX_BYTES // 2) + b'"'
        await asyncio.gather(*(opened.submit(body=body) for _ in range(5)))
        assert sizes == [2, 2, 1]


async def test_a_bad_operation_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever an operation of a batch raises, SQLite's errors or others, the rest of the batch is committed."""
    async with make(tmp_path) as opened:
        taken = opened.draft()
        await opened.store.submit(Submit([taken]))
        sizes = count_batches(opened, monkeypatch)
        bad = [Submit([taken]), Submit([Draft(opened.draft().job, b"\xff is no text")]), Submit([])]
        calls = [opened.submit(), *map(opened.store.submit, bad), opened.submit(JobStatus.SUBMITTED)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert [isinstance(answer, Exception) for answer in answers] == [False, True, True, True, False]
        assert isinstance(answers[1], StorageError)
        assert sizes == [5, 1, 1, 1, 1, 1]
        assert len(await opened.log()) == 5


async def test_a_listener_that_breaks_keeps_no_one_waiting(tmp_path: Path) -> None:
    """What is committed is answered, even if `on_commit` raises."""

    def listener(_: Sequence[Committed]) -> None:
        raise LookupError

    opened = make(tmp_path)
    await opened.store.open(listener)
    jobs = [await opened.submit() for _ in range(2)]
    assert [await opened.now(job) for job in jobs] == jobs
    await opened.store.aclose()


# -- failures of the disk -------------------------------------------------------------------


async def test_full_disk_refuses_and_resumes(tmp_path: Path) -> None:
    """A full disk is told as such, nothing of the request stays, reads go on, and so do writes once there is room."""
    body = b'"' + random.Random(1).randbytes(200_000).hex().encode() + b'"'
    async with make(tmp_path) as opened:
        first = await opened.submit()
        last = opened.store.last_sequence()
        pages = await writer(opened).write(lambda raw: raw.execute("PRAGMA page_count").fetchone()[0])
        await writer(opened).write(lambda raw: raw.execute(f"PRAGMA max_page_count = {pages + 2}").fetchone())
        answers = await asyncio.gather(*(opened.submit(body=body) for _ in range(3)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [StorageFull] * 3
        assert opened.store.last_sequence() == last
        assert await opened.now(first) == first
        await writer(opened).write(lambda raw: raw.execute("PRAGMA max_page_count = 1000000").fetchone())
        await opened.complete(first, await opened.submit(body=body))


async def test_a_failed_sync_stops_all_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an input/output error nothing is written any more: not the line behind, not what comes later."""
    async with make(tmp_path) as opened:
        job = await opened.submit()
        calls = 0

        def fail(*_: object) -> None:
            nonlocal calls
            calls += 1
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            raise error

        monkeypatch.setattr(writing, "MAX_OPERATIONS", 2)
        monkeypatch.setattr(writing, "_run", fail)
        answers = await asyncio.gather(*(opened.submit() for _ in range(5)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [StorageError] * 5
        monkeypatch.undo()
        with pytest.raises(StorageError, match="cannot be written"):
            await opened.submit()
        assert calls == 1
        assert await opened.now(job) == job


# -- interruption and closing ---------------------------------------------------------------


def ended(before: Sequence[threading.Thread]) -> bool:
    """Whether all threads begun since have ended, given a moment."""
    others = [thread for thread in threading.enumerate() if thread not in before]
    for thread in others:
        thread.join(5)
    return not any(thread.is_alive() for thread in others)


async def test_closing_leaves_no_thread(tmp_path: Path) -> None:
    """A closed store has ended its threads, and can be closed twice."""
    before = threading.enumerate()
    async with make(tmp_path) as opened:
        assert len(threading.enumerate()) > len(before)
        await opened.submit()
    await opened.store.aclose()
    assert ended(before)


async def test_cancelled_opening_leaves_no_thread(tmp_path: Path) -> None:
    """Opening, cancelled at whatever turn of the loop, leaves nothing behind, and the file can be opened."""
    before = threading.enumerate()
    for turns in range(60):
        opened = make(tmp_path)
        task = asyncio.create_task(opened.store.open(lambda _: None))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        (answer,) = await asyncio.gather(task, return_exceptions=True)
        if answer is None:
            await opened.store.aclose()
    assert ended(before)
    async with make(tmp_path) as opened:
        await opened.submit()


async def test_cancelled_closing_closes(tmp_path: Path) -> None:
    """Closing, cancelled at whatever turn of the loop, still ends every thread."""
    before = threading.enumerate()
    for turns in range(1, 20):
        opened = make(tmp_path)
        await opened.store.open(lambda _: None)
        task = asyncio.create_task(opened.store.aclose())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert ended(before)


# -- the seam -------------------------------------------------------------------------------


async def test_a_callable_runs_whole_on_one_other_thread(tmp_path: Path) -> None:
    """`Connection.run` calls the function once, on the connection's own thread, the same each time."""
    connection = await connect_writer(tmp_path / "seam.db", synchronous="FULL")
    try:

        def whole(raw: sqlite3.Connection, number: int) -> tuple[int, int, bool]:
            raw.execute("BEGIN IMMEDIATE")
            raw.execute("CREATE TABLE IF NOT EXISTS t (n)")
            raw.execute("INSERT INTO t VALUES (?)", (number,))
            inside = raw.in_transaction
            raw.execute("COMMIT")
            return number, threading.get_ident(), inside

        answers = await asyncio.gather(*(connection.run(whole, number) for number in range(20)))
        assert [(number, inside) for number, _, inside in answers] == [(number, True) for number in range(20)]
        threads = {thread for _, thread, _ in answers}
        assert len(threads) == 1
        assert threads != {threading.get_ident()}
    finally:
        await connection.aclose()


async def test_a_cancelled_call_runs_to_its_end(tmp_path: Path) -> None:
    """Cancelling the caller does not stop the function, and the connection stays usable."""
    connection = await connect_writer(tmp_path / "seam.db", synchronous="FULL")
    try:
        begun, go, done = asyncio.Event(), threading.Event(), threading.Event()
        loop = asyncio.get_running_loop()

        def slow(_: sqlite3.Connection) -> None:
            loop.call_soon_threadsafe(begun.set)
            go.wait(5)
            done.set()

        task = asyncio.create_task(connection.run(slow))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go.set()
        assert await connection.run(lambda raw: raw.execute("SELECT 1").fetchone()) == (1,)
        assert done.is_set()
    finally:
        await connection.aclose()


async def test_errors_pass_the_seam(tmp_path: Path) -> None:
    """What the function raises reaches the caller as it is, and a reader of a missing file raises."""
    connection = await connect_writer(tmp_path / "seam.db", synchronous="FULL")
    try:
        with pytest.raises(ZeroDivisionError):
            await connection.run(lambda _: 1 // 0)
    finally:
        await connection.aclose()
    with pytest.raises(sqlite3.OperationalError):
        await connect_reader(tmp_path / "missing.db")


async def test_results_of_the_last_commits_are_read_from_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No read for who has just heard of an end; never of another project's, a deleted, or a forgotten job."""
    async with make(tmp_path) as opened:
        store = opened.store
        reads: list[str] = []
        reading = store_of(opened)._read

        async def read(function: Any, name: str, *arguments: Any) -> Any:
            reads.append(name)
            return await reading(function, name, *arguments)

        monkeypatch.setattr(store, "_read", read)
        first, second = await opened.submit(), await opened.submit()
        await opened.complete(first, second)
        assert set(await store.results(first.project_id, [first.id])) == {first.id}
        assert reads == []
        assert await store.results("another", [first.id]) == {}
        assert reads == ["results"]
        monkeypatch.setattr(fresh, "GENERATION", 1)
        for _ in range(2):
            third = await opened.submit()
            await opened.complete(third)
        assert len(await store.results(first.project_id, [third.id])) == 1
        assert reads == ["results"]
        assert len(await store.results(first.project_id, [first.id, second.id, third.id])) == 3
        assert reads == ["results"] * 2
        job = await store.job(third.project_id, third.id)
        assert job is not None
        await opened.delete(job)
        assert await store.results(third.project_id, [third.id]) == {}

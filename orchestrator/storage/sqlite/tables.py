"""`ledger.Tables` on an open SQLite transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Final

from orchestrator.events import Event
from orchestrator.hooks import Delivery
from orchestrator.lifecycle import JobStatus
from orchestrator.model import Characterization, Job, Session, Standing
from orchestrator.storage.abc import Draft, Move
from orchestrator.storage.sqlite import queries, rows
from orchestrator.storage.sqlite.outbox import delivery_row

_WRITE = queries.load("write")
_READ = queries.load("read")
#: Most rows a statement takes; with smaller powers of two for the rest there are few statements to keep prepared.
_ROWS: Final = 64


class SqliteTables:
    """Many rows a statement; used on the writer's thread only."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute
        self._executemany = connection.executemany

    def _each(self, name: str, table: Sequence[tuple[Any, ...]], group: str = "write") -> list[Any]:
        """Run a statement over rows, many at a time; what it returns."""
        found: list[Any] = []
        done = 0
        while left := len(table) - done:
            number = min(_ROWS, 1 << left.bit_length() - 1)
            values = tuple(chain.from_iterable(table[done : done + number]))
            found += self._execute(queries.repeated(group, name, number), values).fetchall()
            done += number
        return found

    def insert_jobs(self, drafts: Sequence[Draft]) -> None:
        self._each("insert_jobs", [rows.job_row(draft.job) for draft in drafts])
        self._each(
            "insert_inputs", [(draft.job.id, rows.pack(draft.input)) for draft in drafts if draft.input is not None]
        )

    def move(self, moves: Sequence[Move]) -> set[str]:
        tables: dict[str, list[tuple[Any, ...]]] = {}
        for move in moves:
            tables.setdefault(_statement(move), []).append(rows.move_row(move))
        return {row[0] for name, table in tables.items() for row in self._each(name, table)}

    def insert_results(self, results: Sequence[tuple[str, bytes]]) -> None:
        self._each("insert_results", [(job_id, rows.pack(body)) for job_id, body in results])

    def set_compiled(self, compiled: Sequence[tuple[str, bytes]]) -> None:
        self._executemany(_WRITE["set_compiled"], [(rows.pack(body), job_id) for job_id, body in compiled])

    def append_events(self, events: Sequence[Event]) -> None:
        self._each("insert_events", [rows.event_row(event) for event in events])

    def insert_deliveries(self, deliveries: Sequence[Delivery]) -> None:
        self._each("insert_deliveries", [delivery_row(delivery) for delivery in deliveries], "outbox")

    def insert_characterization(self, item: Characterization) -> None:
        body = rows.encode(item).decode()
        self._execute(_WRITE["put_characterization"], (item.id, item.backend, item.recorded_at, body))

    def put_standing(self, item: Standing) -> None:
        self._execute(_WRITE["put_standing"], (item.backend, item.status, item.reason, item.paused))

    def load(self, job_ids: Iterable[str]) -> dict[str, Job]:
        found = self._execute(_READ["load"], (rows.encode(list(job_ids)).decode(),)).fetchall()
        return {row[0]: rows.job(row) for row in found}

    def child_counts(self, parent_ids: Iterable[str]) -> dict[str, dict[JobStatus, int]]:
        counts: dict[str, dict[JobStatus, int]] = {parent_id: {} for parent_id in parent_ids}
        for parent_id, status, number in self._execute(
            _WRITE["child_counts"], (rows.encode(list(counts)).decode(),)
        ).fetchall():
            counts[parent_id][JobStatus(status)] = number
        return counts

    def children(self, parent_id: str) -> list[Job]:
        return [rows.job(row) for row in self._execute(_READ["children"], (parent_id,)).fetchall()]

    def load_sessions(self, session_ids: Iterable[str]) -> dict[str, Session]:
        found = self._execute(_WRITE["load_sessions"], (rows.encode(list(session_ids)).decode(),)).fetchall()
        return {session.id: session for session in (rows.session(row[0]) for row in found)}

    def put_sessions(self, sessions: Sequence[Session]) -> None:
        self._executemany(_WRITE["put_session"], [rows.session_row(session) for session in sessions])

    def queued_in_session(self, session_id: str, limit: int) -> list[Job]:
        return [rows.job(row) for row in self._execute(_WRITE["queued_in_session"], (session_id, limit)).fetchall()]

    def recall(self, project_id: str, key: str) -> tuple[str, str] | None:
        found: tuple[str, str] | None = self._execute(_WRITE["recall"], (project_id, key)).fetchone()
        return found

    def remember(self, project_id: str, key: str, digest: str, job_id: str) -> None:
        self._execute(_WRITE["remember"], (project_id, key, digest, job_id))


def _statement(move: Move) -> str:
    """The cheapest statement that writes all that a move changes."""
    before, after = move.before, move.after
    if after.deleted_at != before.deleted_at:
        return "move_deleting"
    return "move" if after.completed_at == before.completed_at else "move_to_end"

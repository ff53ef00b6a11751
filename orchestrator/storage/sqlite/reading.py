"""What runs on a reader's thread: each a whole read, that leaves no statement open."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from operator import itemgetter
from typing import Any

from orchestrator.storage.abc import Report
from orchestrator.storage.sqlite import queries, rows
from orchestrator.storage.verify import verify

_READ = queries.load("read")


def fetch(connection: sqlite3.Connection, name: str, arguments: Any) -> list[Any]:
    """All rows at once: an open cursor would pin the write-ahead log."""
    return connection.execute(_READ[name], arguments).fetchall()


def of_sessions(connection: sqlite3.Connection, sessions: Collection[str], arguments: dict[str, Any]) -> list[Any]:
    """Rows of the next events of sessions: each by its index, which several at once would have to sort to their end."""
    found = [
        row for session in sessions for row in fetch(connection, "events_of_session", arguments | {"session": session})
    ]
    return sorted(found, key=itemgetter(0))[: arguments["limit"]]


def array(values: Collection[str] | None) -> str | None:
    """A JSON array, as ``json_each`` takes it; None means any."""
    return None if values is None else rows.encode(list(values)).decode()


def bodies(row: Sequence[Any]) -> tuple[bytes, bytes | None]:
    """Input and compiled circuit of a row that has both columns."""
    return rows.unpack(row[0]), None if row[1] is None else rows.unpack(row[1])


def head(connection: sqlite3.Connection) -> tuple[str, int]:
    """Epoch and last sequence; the horizon counts, in case everything was trimmed."""
    epoch = fetch(connection, "meta", ("epoch",))[0][0]
    horizon = fetch(connection, "meta", ("horizon",))[0][0]
    return epoch, max(horizon, fetch(connection, "last_sequence", ())[0][0])


def fold(connection: sqlite3.Connection) -> Report:
    """In one read transaction: a snapshot, whatever is written meanwhile."""
    connection.execute("BEGIN")
    try:
        events = connection.execute(_READ["verify_events"])
        jobs = connection.execute(_READ["verify_jobs"])
        horizon = fetch(connection, "meta", ("horizon",))[0][0]
        sessions = [rows.session(row[0]) for row in fetch(connection, "verify_sessions", ())]
        found = ((rows.job(row), bool(row[rows.JOB_COLUMNS])) for row in jobs)
        return verify(map(rows.event, events), found, horizon, sessions)
    finally:
        connection.execute("ROLLBACK")

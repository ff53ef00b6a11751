"""Removal of what retention no longer keeps: a family goes as a whole, with its events."""

from __future__ import annotations

import sqlite3

from orchestrator.storage.sqlite import queries, rows

_READ = queries.load("read")
_WRITE = queries.load("write")


def trim(connection: sqlite3.Connection, completed_before: int, limit: int) -> int:
    """Remove up to `limit` families whose root ended before that time; answers how many jobs went.

    The horizon rises to the newest event removed: `verify` folds from there, and a cursor before it has expired.
    """
    roots = connection.execute(_WRITE["trimmed_roots"], (completed_before, limit)).fetchall()
    if not roots:
        connection.execute(_WRITE["trim_sessions"], (completed_before, limit))
        return 0
    jobs = connection.execute(_WRITE["trimmed_jobs"], (_ids(roots),)).fetchall()
    gone = _ids(jobs)
    newest = connection.execute(_WRITE["trimmed_horizon"], (gone,)).fetchone()[0]
    horizon = connection.execute(_READ["meta"], ("horizon",)).fetchone()[0]
    for name in ("delete_events", "delete_results", "delete_inputs", "delete_idempotency", "delete_jobs"):
        connection.execute(_WRITE[name], (gone,))
    connection.execute(_WRITE["set_meta"], ("horizon", max(horizon, newest)))
    connection.execute(_WRITE["trim_sessions"], (completed_before, limit))
    return len(jobs)


def _ids(found: list[tuple[str]]) -> str:
    return rows.encode([row[0] for row in found]).decode()

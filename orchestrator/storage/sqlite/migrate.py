"""Numbered migrations: the schema is the sum of the files, applied in order, all in one transaction."""

from __future__ import annotations

import re
import secrets
import sqlite3
from importlib.resources import files

from orchestrator.storage.sqlite import migrations
from orchestrator.storage.sqlite.header import refuse_newer

_NUMBERED = re.compile(r"^(\d{4})_\w+\.sql$")


def available() -> dict[int, str]:
    """The migrations of this release: number -> SQL."""
    found = {}
    for file in files(migrations).iterdir():
        if match := _NUMBERED.match(file.name):
            found[int(match[1])] = file.read_text(encoding="utf-8")
    return dict(sorted(found.items()))


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the database to this release's schema; a killed migration leaves the old one.

    Raises:
        StorageRefused: The database was written by a newer release.
    """
    steps = available()
    newest = max(steps)
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    refuse_newer(version, newest)
    if version == newest:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for number, sql in steps.items():
            if number > version:
                for statement in _statements(sql):
                    connection.execute(statement)
        if version == 0:
            connection.execute("INSERT INTO meta (name, value) VALUES ('epoch', ?)", (secrets.token_hex(8),))
            connection.execute("INSERT INTO meta (name, value) VALUES ('horizon', 0)")
        connection.execute(f"PRAGMA user_version = {newest}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _statements(sql: str) -> list[str]:
    """The statements of a script (`executescript` would commit the open transaction)."""
    found, pending = [], ""
    for line in sql.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            found.append(pending)
            pending = ""
    return found

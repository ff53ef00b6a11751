"""``orchestrator verify``: the proof that the tables equal the event log."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import click

from orchestrator.cli import DONE, NO
from orchestrator.cli.options import data_option, json_option
from orchestrator.datafolder import DATABASE
from orchestrator.errors import StorageError, StorageRefused
from orchestrator.storage.abc import Report


@click.command()
@data_option
@json_option
def command(data: Path, as_json: bool) -> int:
    """Fold the event log and compare it with the tables; exit 1 if they differ.

    Reads one snapshot of the store, and changes nothing: a server may run meanwhile.
    """
    path = data / DATABASE
    if not path.is_file():
        raise StorageRefused(f"there is no store at {path}")
    report = asyncio.run(_verified(path))
    if as_json:
        import msgspec  # noqa: PLC0415

        click.echo(msgspec.json.encode(report))
    else:
        for problem in report.problems:
            click.echo(problem)
        verdict = f"{len(report.problems)} problems" if report.problems else "the tables equal the log"
        click.echo(f"{report.jobs:,} jobs, {report.events:,} events: {verdict}")
    return NO if report.problems else DONE


async def _verified(path: Path) -> Report:
    from orchestrator.storage.sqlite import header  # noqa: PLC0415
    from orchestrator.storage.sqlite.connection import connect_reader  # noqa: PLC0415
    from orchestrator.storage.sqlite.migrate import available  # noqa: PLC0415
    from orchestrator.storage.sqlite.reading import fold  # noqa: PLC0415

    header.check(path, max(available()))
    try:
        connection = await connect_reader(path)
        try:
            return await connection.run(fold)
        finally:
            await connection.aclose()
    except sqlite3.Error as error:
        raise StorageError(f"the store cannot be read: {error}") from error

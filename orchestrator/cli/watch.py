"""``orchestrator watch``: jobs, or a whole project, live."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import click

from orchestrator.cli import DONE, NO
from orchestrator.cli.options import Target, json_option, target_options


@click.command()
@click.argument("job_ids", metavar="[ID]...", nargs=-1)
@click.option("--cursor", help="Without ids: print events, a line each, after this cursor, 'earliest' or 'latest'.")
@click.option("--session", "sessions", metavar="ID", multiple=True, help="Without ids: only jobs of this session.")
@target_options
@json_option
def command(
    job_ids: tuple[str, ...], target: Target, cursor: str | None, sessions: tuple[str, ...], as_json: bool
) -> int:
    """Watch jobs until all have ended; exit 1 unless all completed.

    Without ids: a live table of what runs, waits and has just ended in the project, or in sessions, until interrupted.
    In a pipe, or from a --cursor on, a line for each event; with --json each line is one frame of the feed.
    """
    if job_ids:
        return asyncio.run(_jobs(target, job_ids, as_json=as_json))
    asyncio.run(_project(target, cursor, sessions, as_json=as_json))
    return DONE


async def _jobs(target: Target, job_ids: tuple[str, ...], *, as_json: bool) -> int:
    from orchestrator.cli.board import Board  # noqa: PLC0415 - brings rich
    from orchestrator.cli.following import families, follow, view  # noqa: PLC0415 - brings rich
    from orchestrator.lifecycle import JobStatus  # noqa: PLC0415

    async with target.client(run=True) as client:
        jobs = await families(client, job_ids)
        with view(Board(jobs), as_json=as_json) as show:
            await follow(client, jobs, show)
        ended = [await client.get(job_id) for job_id in job_ids]
    return DONE if all(job.status is JobStatus.COMPLETED for job in ended) else NO


async def _project(target: Target, cursor: str | None, sessions: tuple[str, ...], *, as_json: bool) -> None:
    from orchestrator.cli.board import Board  # noqa: PLC0415 - brings rich
    from orchestrator.cli.following import documents, lines  # noqa: PLC0415 - brings rich
    from orchestrator.cli.output import console  # noqa: PLC0415 - brings rich
    from orchestrator.cli.overview import watch  # noqa: PLC0415 - brings rich

    async with target.client(run=True) as client:
        if cursor is None and not as_json and console().is_terminal:
            await watch(client, sessions)
            return
        async with aclosing(client.events(cursor or "latest", sessions=sessions)) as frames:
            with documents(Board()) if as_json else lines(Board()) as show:
                async for frame in frames:
                    show(frame)

"""``orchestrator jobs``: list jobs, or show one with its results."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click
import msgspec

from orchestrator.cli import DONE
from orchestrator.cli.options import Target, json_option, target_options

if TYPE_CHECKING:
    from rich.text import Text


@click.command()
@click.argument("job_id", metavar="[ID]", required=False)
@click.option("--status", help="Only jobs of this status.")
@click.option("--backend", help="Only jobs of this backend.")
@click.option("--limit", type=click.IntRange(1, 200), default=25, show_default=True)
@click.option("--after", metavar="CURSOR", help="Go on where a page ended: its `next`.")
@target_options
@json_option
def command(
    *,
    job_id: str | None,
    target: Target,
    status: str | None,
    backend: str | None,
    limit: int,
    after: str | None,
    as_json: bool,
) -> int:
    """List jobs, newest first; or show one with its results, and exit 1 if it failed or was canceled."""
    if job_id is not None:
        return asyncio.run(_one(target, job_id, as_json=as_json))
    return asyncio.run(_listing(target, status, backend, limit, after, as_json=as_json))


async def _one(target: Target, job_id: str, *, as_json: bool) -> int:
    from orchestrator.cli.report import outcome, tell  # noqa: PLC0415 - brings rich

    async with target.client() as client:
        return tell(*await outcome(client, job_id), as_json=as_json)


async def _listing(
    target: Target, status: str | None, backend: str | None, limit: int, after: str | None, *, as_json: bool
) -> int:
    from orchestrator.cli.output import badge, clock_time, duration, emit, table  # noqa: PLC0415 - brings rich

    async with target.client(run=backend is not None) as client:
        page = await client.jobs(status=status, backend=backend, limit=limit, after=after)
        if as_json:
            emit(msgspec.structs.replace(page, jobs=await client.with_costs(page.jobs)))
            return DONE
    rows: list[list[str | Text]] = [
        [
            job.id,
            badge(job.status),
            job.backend,
            job.name or "",
            f"{job.shots:,}",
            clock_time(job.submitted_at),
            duration(job.execution_duration_ms),
        ]
        for job in page.jobs
    ]
    table(
        ["id", "state", "backend", "name", "shots", "submitted (UTC)", "took"],
        rows,
        optional=["shots", "submitted (UTC)", "took", "name"],
    )
    if page.next is not None:
        click.echo(f"more: --after {page.next}", err=True)
    return DONE

"""``orchestrator cancel``: stop jobs."""

from __future__ import annotations

import asyncio

import click

from orchestrator.cli import DONE, NO
from orchestrator.cli.options import Target, json_option, target_options


@click.command()
@click.argument("job_ids", metavar="ID...", nargs=-1, required=True)
@target_options
@json_option
def command(job_ids: tuple[str, ...], target: Target, as_json: bool) -> int:
    """Cancel jobs, and tell how each stands; exit 1 if one had ended otherwise before.

    An unknown id refuses all.
    """
    return asyncio.run(_cancel(target, job_ids, as_json=as_json))


async def _cancel(target: Target, job_ids: tuple[str, ...], *, as_json: bool) -> int:
    from orchestrator.cli.output import badge, console, emit  # noqa: PLC0415 - brings rich
    from orchestrator.lifecycle import JobStatus  # noqa: PLC0415

    async with target.client() as client:
        await client.cancel(job_ids)
        jobs = [await client.get(job_id) for job_id in job_ids]
    if as_json:
        emit({"jobs": [{"id": job.id, "status": job.status} for job in jobs]})
    else:
        for job in jobs:
            console().print(job.id, badge(job.status), soft_wrap=True)
    return DONE if all(job.status is JobStatus.CANCELED for job in jobs) else NO

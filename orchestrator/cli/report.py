"""One job in full: what it was, what became of it, and its histogram."""

from __future__ import annotations

from typing import Any

from rich.padding import Padding
from rich.text import Text

from orchestrator.cli import DONE, NO
from orchestrator.cli.histogram import Histogram
from orchestrator.cli.output import amount, badge, console, duration, emit
from orchestrator.client import Client, JobInfo
from orchestrator.lifecycle import JobStatus
from orchestrator.model import Result


async def outcome(client: Client, job_id: str) -> tuple[JobInfo, list[tuple[JobInfo, Result]]]:
    """A job, and the results of its circuits if it has any."""
    (job,) = await client.with_costs([await client.get(job_id)])
    if job.status is not JobStatus.COMPLETED or job.results is None:
        return job, []
    leaves = [await client.get(child) for child in job.child_job_ids or ()] or [job]
    return job, [(leaf, await client.measured(leaf)) for leaf in leaves]


def document(job: JobInfo, results: list[tuple[JobInfo, Result]]) -> dict[str, Any]:
    """A job and its results for scripts."""
    return {"job": job, "results": [{"id": leaf.id, "name": leaf.name, "result": result} for leaf, result in results]}


def tell(job: JobInfo, results: list[tuple[JobInfo, Result]], *, as_json: bool) -> int:
    """Print it; answers the exit code: whether the job is on its way or completed."""
    if as_json:
        emit(document(job, results))
    else:
        _print(job, results)
    return NO if job.status in {JobStatus.FAILED, JobStatus.CANCELED} else DONE


def _print(job: JobInfo, results: list[tuple[JobInfo, Result]]) -> None:
    out = console()
    plain = out.options.ascii_only
    head = Text.assemble((job.name or "job", "bold"), f"  {job.id}  ") + badge(job.status, plain=plain)
    out.print(head, soft_wrap=True)
    facts = [job.backend, f"{job.shots:,} shots", f"noise {job.noise.model}" if job.noise else ""]
    took = duration(job.execution_duration_ms)
    facts.append(f"took {took}" if took else "")
    facts.append(_cost(job))
    out.print(Text("  ".join(filter(None, facts)), style="bright_black"))
    if job.failure is not None:
        out.print(Text(f"{job.failure.code}: {job.failure.message}", style="red"))
    for leaf, result in results:
        if leaf.id != job.id:
            out.print(Text(leaf.name or leaf.id, style="bold"))
        out.print(Padding(Histogram(result), (0, 0, 0, 2)))


def _cost(job: JobInfo) -> str:
    """What a job cost, or is expected to; nothing of what is free."""
    if job.terminal:
        return f"cost {amount(job.cost)}" if job.cost and job.cost.value else ""
    return f"expected to cost {amount(job.estimated_cost)}" if job.estimated_cost else ""

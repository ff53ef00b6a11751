"""``GET /results/v1``: the results of many jobs in one answer, for programs that follow many jobs at once.

The vendor contract has one route a job and a format. An orchestrator that stands in front of this one asks here
instead: what a job came to, as the domain keeps it, parents with their children.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from aiohttp import web

from orchestrator.api.endpoint import Access, Call, Route, reply
from orchestrator.api.query import Query, refuse
from orchestrator.lifecycle import JobStatus
from orchestrator.model import Job

PATH: Final = "/results/v1"
MAX_IDS: Final = 200
#: An answer with more bytes of results than this leaves the other jobs to the next request.
ENOUGH: Final = 4 * 1024 * 1024
#: Results read from the store at once.
_PART: Final = 100


async def results(call: Call) -> web.Response:
    """What became of the jobs that are named: unknown ones are left out, and those that no longer fit are `left`."""
    ids = list(dict.fromkeys(Query(call).texts("id")))
    if not 1 <= len(ids) <= MAX_IDS:
        raise refuse("id", f"name 1 to {MAX_IDS} jobs", "id_out_of_range")
    orchestrator, project = call.orchestrator, call.project
    page = await orchestrator.list_jobs(project=project, ids=ids, limit=len(ids))
    known = {job.id: job for job in page.jobs}
    answers: list[dict[str, Any]] = []
    size = 0
    asked = iter(ids)
    for job_id in asked:
        if (job := known.get(job_id)) is None:
            continue
        children = await orchestrator.children(job.id, project=project) if job.children else []
        bodies = await _bodies(call, children or [job])
        size += sum(map(len, bodies.values()))
        answer = _answer(job, bodies)
        if children:
            answer["children"] = [_answer(child, bodies) for child in children]
        answers.append(answer)
        if size > ENOUGH:
            break
    return reply({"jobs": answers, "left": [job_id for job_id in asked if job_id in known]})


async def _bodies(call: Call, jobs: Sequence[Job]) -> dict[str, bytes]:
    """Results as the store keeps them, encoded, by job; a dry run has none to show."""
    ids = [job.id for job in jobs if job.status is JobStatus.COMPLETED and not job.spec.dry_run]
    found: dict[str, bytes] = {}
    for begin in range(0, len(ids), _PART):
        found |= await call.orchestrator.store.results(call.project, ids[begin : begin + _PART])
    return found


def _answer(job: Job, bodies: dict[str, bytes]) -> dict[str, Any]:
    outcome, body = job.outcome, bodies.get(job.id)
    return {
        "id": job.id,
        "status": job.status,
        "failure": outcome.failure,
        "warnings": outcome.warnings,
        "result": None if body is None else msgspec.Raw(body),
    }


ROUTES: Final = (Route("GET", PATH, Access.KEY, results),)

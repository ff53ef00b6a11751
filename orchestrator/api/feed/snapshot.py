"""Where things stand, for a reader whose events are gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from orchestrator.lifecycle import ACTIVE
from orchestrator.model import Job
from orchestrator.subscription import Selection

if TYPE_CHECKING:
    from orchestrator.service import Orchestrator

#: Jobs told at most; `GET /v0.4/jobs` knows the others.
LIMIT: Final = 1_000


async def snapshot(orchestrator: Orchestrator, selection: Selection) -> dict[str, Any]:
    """The chosen jobs with their children, or else all active ones of the project, and the backends.

    A chosen job, or one of a chosen session, that is not there is unknown, or was removed. ``truncated`` tells that not
    all jobs found place.
    """
    chosen = bool(selection.jobs or selection.sessions)
    jobs: list[Job] = []
    found, truncated = await _roots(orchestrator, selection)
    for job in found:
        family = [job]
        if job.children and len(jobs) + job.children < LIMIT:
            family += await orchestrator.store.children(job.project_id, job.id)
        elif job.children:
            truncated = True
        jobs += family
    wanted = [job for job in jobs if not selection.backends or job.backend in selection.backends]
    names = selection.backends or (() if chosen else orchestrator.backends.names())
    return {
        "jobs": [_job(job) for job in wanted[:LIMIT]],
        "backends": [_backend(orchestrator, name) for name in names if name in orchestrator.backends.names()],
        "truncated": truncated or len(wanted) > LIMIT,
    }


async def _roots(orchestrator: Orchestrator, selection: Selection) -> tuple[list[Job], bool]:
    """Jobs to tell of, their children aside, and whether there are more."""
    project, ids = selection.project_id, sorted(selection.jobs) or None
    if not selection.sessions:
        statuses = None if ids else ACTIVE
        page = await orchestrator.list_jobs(project=project, ids=ids, statuses=statuses, limit=LIMIT)
        return page.jobs, page.next is not None
    found: list[Job] = []
    truncated = False
    for session_id in sorted(selection.sessions):
        page = await orchestrator.list_jobs(project=project, ids=ids, session_id=session_id, limit=LIMIT)
        found += page.jobs
        truncated |= page.next is not None
        if len(found) > LIMIT:
            return found[:LIMIT], True
    return found, truncated


def _job(job: Job) -> dict[str, Any]:
    failure = job.outcome.failure
    return {
        "id": job.id,
        "parent_id": job.parent_id,
        "backend": job.backend,
        "status": job.status,
        "attempt": job.attempt,
        "children": job.children,
        "submitted_at": job.submitted_at,
        "started_at": job.started_at,
        "completed_at": job.completed_at,
        "failure": None if failure is None else {"code": failure.code, "message": failure.message},
    }


def _backend(orchestrator: Orchestrator, name: str) -> dict[str, Any]:
    state = orchestrator.backends.state(name)
    return {
        "backend": name,
        "status": state.status,
        "reason": state.reason,
        "queued": state.queued,
        "characterization_id": state.characterization_id,
    }

"""Where things stand, for a reader whose events are gone."""

from __future__ import annotations

from typing import Any, Final

from orchestrator.backends.registry import Backends
from orchestrator.lifecycle import ACTIVE
from orchestrator.model import Job
from orchestrator.storage.abc import JobFilter, Store
from orchestrator.subscription import Selection

#: Jobs told at most; `GET /v0.4/jobs` knows the others.
LIMIT: Final = 1_000


async def snapshot(store: Store, backends: Backends, selection: Selection) -> dict[str, Any]:
    """The chosen jobs with their children, or else all active ones of the project, and the backends.

    A chosen job, or one of a chosen session, that is not there is unknown, or was removed. ``truncated`` tells that not
    all jobs found place.
    """
    chosen = bool(selection.jobs or selection.sessions)
    jobs: list[Job] = []
    found, truncated = await _roots(store, selection)
    for job in found:
        family = [job]
        if job.children and len(jobs) + job.children < LIMIT:
            family += await store.children(job.project_id, job.id)
        elif job.children:
            truncated = True
        jobs += family
    wanted = [job for job in jobs if not selection.backends or job.backend in selection.backends]
    names = selection.backends or (() if chosen else backends.names())
    return {
        "jobs": [_job(job) for job in wanted[:LIMIT]],
        "backends": [_backend(backends, name) for name in names if name in backends.names()],
        "truncated": truncated or len(wanted) > LIMIT,
    }


async def _roots(store: Store, selection: Selection) -> tuple[list[Job], bool]:
    """Jobs to tell of, their children aside, and whether there are more."""
    ids = sorted(selection.jobs) or None
    if not selection.sessions:
        return await _listed(store, selection, JobFilter(ids, statuses=None if ids else ACTIVE))
    found: list[Job] = []
    truncated = False
    for session_id in sorted(selection.sessions):
        jobs, more = await _listed(store, selection, JobFilter(ids, session_id=session_id))
        found += jobs
        truncated |= more
        if len(found) > LIMIT:
            return found[:LIMIT], True
    return found, truncated


async def _listed(store: Store, selection: Selection, where: JobFilter) -> tuple[list[Job], bool]:
    jobs = await store.jobs(selection.project_id or "", where, limit=LIMIT + 1)
    return jobs[:LIMIT], len(jobs) > LIMIT


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


def _backend(backends: Backends, name: str) -> dict[str, Any]:
    state = backends.state(name)
    return {
        "backend": name,
        "status": state.status,
        "reason": state.reason,
        "queued": state.queued,
        "characterization_id": state.characterization_id,
    }

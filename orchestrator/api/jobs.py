"""What both versions do alike with jobs: cancel, delete, results, and the questions their bodies raise."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from aiohttp import web

from orchestrator.api.endpoint import Access, Call, Route, decoder, reply, reply_bytes
from orchestrator.api.payloads import PROBABILITIES, render, render_aggregate
from orchestrator.api.query import Query, refuse
from orchestrator.errors import InvalidRequest
from orchestrator.lifecycle import JobStatus
from orchestrator.model import Job, JobRequest, Page
from orchestrator.storage.abc import Idempotency

if TYPE_CHECKING:
    from orchestrator.service import Orchestrator

MAX_IDS: Final = 1_000
_MAX_IDEMPOTENCY_KEY: Final = 255
#: Cursors of lists are ids; they mark a place in time, whoever's job it was.
_CURSOR: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Ids(msgspec.Struct, kw_only=True):
    """The body of cancel and delete of many."""

    ids: Annotated[list[str], msgspec.Meta(min_length=1, max_length=MAX_IDS)]


_decode_ids = decoder(Ids)


async def cancel_one(call: Call) -> web.Response:
    """Cancel; a job that has ended stays as it is and the answer is the same."""
    job_id = call.part("id")
    await call.orchestrator.cancel([job_id], project=call.project)
    return reply({"id": job_id, "status": "canceled"})


async def cancel_many(call: Call) -> web.Response:
    """Cancel several, or none if one of them is unknown."""
    ids = (await call.read(_decode_ids)).ids
    await call.orchestrator.cancel(ids, project=call.project)
    return reply({"ids": ids, "status": "canceled"})


async def delete_one(call: Call) -> web.Response:
    """Delete; an active job is canceled first."""
    job_id = call.part("id")
    await call.orchestrator.delete([job_id], project=call.project)
    return reply({"id": job_id, "status": "deleted"})


async def delete_many(call: Call) -> web.Response:
    """Delete several, or none if one of them is unknown."""
    ids = (await call.read(_decode_ids)).ids
    await call.orchestrator.delete(ids, project=call.project)
    return reply({"ids": ids, "status": "deleted"})


async def probabilities(call: Call) -> web.Response:
    """Probabilities of a job; for a parent those of its children in circuit order."""
    orchestrator, job_id, project = call.orchestrator, call.part("id"), call.project
    job = await orchestrator.get(job_id, project=project)
    if job.children:
        return reply_bytes(await render_aggregate(await orchestrator.child_results(job_id, project=project)))
    return reply_bytes(await render(PROBABILITIES, job, await orchestrator.fetch_result(job_id, project=project)))


#: Routes that are the same in both versions.
ROUTES: Final = (
    Route("PUT", "/jobs/status/cancel", Access.KEY, cancel_many),
    Route("PUT", "/jobs/{id}/status/cancel", Access.KEY, cancel_one),
    Route("DELETE", "/jobs", Access.KEY, delete_many),
    Route("DELETE", "/jobs/{id}", Access.KEY, delete_one),
)


async def submit(call: Call, read: Callable[[bytes], JobRequest]) -> Job:
    """Submit the request in the body.

    Raises:
        InvalidRequest: The body, or what the backend says of it; names the member.
    """
    key = call.request.headers.get("Idempotency-Key")
    idempotency: Idempotency | None = None

    def decode(body: bytes) -> JobRequest:
        nonlocal idempotency
        if key is not None:
            idempotency = Idempotency(key, hashlib.sha256(body).hexdigest())
        return read(body)

    if key is not None and not 1 <= len(key) <= _MAX_IDEMPOTENCY_KEY:
        raise InvalidRequest(
            f"Idempotency-Key may have {_MAX_IDEMPOTENCY_KEY} characters",
            fields=("Idempotency-Key",),
            source="headers",
        )
    request = await call.read(decode, bulk="input")
    began = time.perf_counter()
    job = await call.orchestrator.submit(accepted(call, request), project=call.project, idempotency=idempotency)
    call.context.telemetry.submit_latency.observe(time.perf_counter() - began)
    return job


def accepted(call: Call, request: JobRequest) -> JobRequest:
    """The request with its submitter."""
    submitter = "" if call.principal is None else call.principal.key_id
    return msgspec.structs.replace(request, submitter_id=submitter)


async def page_of(
    call: Call,
    *,
    ids: Sequence[str],
    statuses: Collection[JobStatus] | None,
    limit: int,
    before: str | None,
    parent_id: str | None = None,
    backends: Sequence[str] | None = None,
    session_id: str | None = None,
) -> Page:
    """One page of the project's jobs.

    Raises:
        InvalidRequest: The cursor is not one of ours.
    """
    if before is not None and not _CURSOR.fullmatch(before):
        raise InvalidRequest(
            "next is not a cursor of this list", code="invalid_cursor", fields=("next",), source="query"
        )
    return await call.orchestrator.list_jobs(
        project=call.project,
        ids=ids or None,
        parent_id=parent_id,
        statuses=statuses,
        backends=backends,
        session_id=session_id,
        limit=limit,
        before=before,
    )


async def child_ids(orchestrator: Orchestrator, job: Job) -> list[str]:
    """Ids of a job's children in circuit order."""
    if not job.children:
        return []
    return [child.id for child in await orchestrator.children(job.id, project=job.project_id)]


def statuses_asked(query: Query, words: Mapping[str, tuple[JobStatus, ...]]) -> tuple[JobStatus, ...] | None:
    """The statuses that ``status`` asks for, in a version's words; None where it asks for none.

    Raises:
        InvalidRequest: It is none of the words.
    """
    word = query.text("status")
    if word is None:
        return None
    statuses = words.get(word)
    if statuses is None:
        raise refuse("status", f"status must be one of {', '.join(words)}")
    return statuses


def listed(call: Call, page: Page, jobs: list[dict[str, Any]]) -> web.Response:
    """The answer of a listing; on the last page cirq-ionq stops only if ``next`` is absent (reference, section 17)."""
    body: dict[str, Any] = {"jobs": jobs}
    if page.next is not None or not (from_cirq(call.request) or call.request.body_exists):
        body["next"] = page.next
    return reply(body)


def from_cirq(request: web.Request) -> bool:
    """Whether cirq-ionq asks: it stops paging, and reads failures, in its own way (reference, section 17)."""
    return request.headers.get("User-Agent", "").startswith("cirq/")

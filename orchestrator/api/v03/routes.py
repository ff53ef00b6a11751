"""The routes of v0.3 (reference, sections 4.1, 9 and 13)."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web

from orchestrator.api import calibrations
from orchestrator.api import jobs as shared
from orchestrator.api.backends import MAX_CHARACTERIZATIONS, named_backend
from orchestrator.api.calibrations import means
from orchestrator.api.endpoint import Access, Call, Route, Surface, reply, reply_bytes
from orchestrator.api.errors import Forbidden, NotFound
from orchestrator.api.query import MAX_PAGE, PAGE, Query, with_fallback
from orchestrator.api.times import seconds
from orchestrator.api.v03 import wire
from orchestrator.backends.abc import Capabilities
from orchestrator.errors import InvalidRequest
from orchestrator.model import BackendState, Characterization


async def create(call: Call) -> web.Response:
    """Accept a job; the answer leaves after the commit."""
    try:
        return reply_bytes(wire.created(await shared.submit(call, wire.read_create)))
    except InvalidRequest as error:
        raise wire.renamed(error) from None


async def get(call: Call) -> web.Response:
    """One job; ``exclude[]`` and ``include[]`` choose members."""
    job = await call.orchestrator.get(call.part("id"), project=call.project)
    body = wire.job_body(job, await shared.child_ids(call.orchestrator, job))
    query = Query(call)
    excluded, included = query.texts("exclude[]", "exclude"), query.texts("include[]", "include")
    kept = set(included) | {"id", "status", "request"} if included else set(body)
    return reply({name: value for name, value in body.items() if name in kept - set(excluded)})


async def listing(call: Call) -> web.Response:
    """Jobs, newest first."""
    query = await with_fallback(call)
    ids = query.texts("id", "ids")
    page = await shared.page_of(
        call,
        ids=ids,
        statuses=shared.statuses_asked(query, wire.STATUSES),
        limit=query.clamped("limit", PAGE, MAX_PAGE),
        before=query.text("next"),
    )
    jobs = [wire.job_body(job, await shared.child_ids(call.orchestrator, job) if ids else ()) for job in page.jobs]
    return shared.listed(call, page, jobs)


def backend_body(can: Capabilities, state: BackendState, *, known_caller: bool) -> dict[str, Any]:
    """A backend: what it can and how it is."""
    body: dict[str, Any] = {
        "backend": can.backend,
        "status": "unavailable" if state.status == "retired" else state.status,  # this version knows two
        "degraded": False,
        "qubits": can.qubits,
        "average_queue_time": state.average_queue_ms,
        "last_updated": seconds(state.updated_at),
    }
    if state.characterization_id is not None:
        body["characterization_url"] = f"/characterizations/{state.characterization_id}"
    if can.noise_models:
        body["noise_models"] = list(can.noise_models)
    if known_caller:
        body["has_access"] = True
    return body


def _backend(call: Call, name: str) -> dict[str, Any]:
    known = call.orchestrator.backends
    return backend_body(known.capabilities(name), known.state(name), known_caller=call.principal is not None)


async def backends(call: Call) -> web.Response:
    """All backends, or those of a status; no key is needed."""
    status = Query(call).text("status")
    bodies = [_backend(call, name) for name in call.orchestrator.backends.names()]
    return reply([body for body in bodies if status is None or body["status"] == status])


async def backend(call: Call) -> web.Response:
    """One backend; no key is needed."""
    return reply(_backend(call, named_backend(call)))


def characterization_body(recorded: Characterization) -> dict[str, Any]:
    """A recorded calibration; times in seconds."""
    return {
        "id": recorded.id,
        "backend": recorded.backend,
        "date": seconds(recorded.recorded_at),
        "qubits": recorded.qubits,
        "connectivity": recorded.connectivity,
        "fidelity": means(recorded.fidelity),
        "timing": recorded.timing,
    }


async def characterizations(call: Call) -> web.Response:
    """Recorded calibrations of a backend, newest first, between two Unix times in milliseconds."""
    query = Query(call)
    start, end = (query.number(name, 0) if query.text(name) else None for name in ("start", "end"))
    found, pages = await call.orchestrator.backends.characterizations(
        named_backend(call),
        start_ms=start,
        end_ms=end,
        limit=query.clamped("limit", MAX_CHARACTERIZATIONS, MAX_CHARACTERIZATIONS),
        page=query.within("page", 1, 1, 10**9),
    )
    return reply({"characterizations": [characterization_body(recorded) for recorded in found], "pages": pages})


async def current_characterization(call: Call) -> web.Response:
    """The newest calibration of a backend."""
    found, _ = await call.orchestrator.backends.characterizations(named_backend(call), limit=1)
    if not found:
        raise NotFound("characterization not found")
    return reply(characterization_body(found[0]))


async def characterization(call: Call) -> web.Response:
    """One recorded calibration of any backend."""
    found = await call.orchestrator.backends.characterization(None, call.part("id"))
    if found is None:
        raise NotFound("characterization not found")
    return reply(characterization_body(found))


async def report(call: Call) -> web.Response:
    """An organization's report: keys here belong to projects, none is entitled."""
    raise Forbidden("this key may not see the organization's report")


SURFACE: Final = Surface(
    wire.PREFIX,
    (
        Route("POST", "/jobs", Access.KEY, create),
        Route("GET", "/jobs", Access.KEY, listing),
        Route("GET", "/jobs/{id}", Access.KEY, get),
        Route("GET", "/jobs/{id}/results", Access.KEY, shared.probabilities),
        *shared.ROUTES,
        Route("GET", "/backends", Access.OPEN, backends),
        Route("GET", "/backends/{backend}", Access.OPEN, backend),
        Route("GET", "/characterizations/backends/{backend}", Access.OPEN, characterizations),
        Route("GET", "/characterizations/backends/{backend}/current", Access.OPEN, current_characterization),
        Route("GET", "/characterizations/{id}", Access.KEY, characterization),
        *calibrations.ROUTES,
        Route("GET", "/report/organizations/{organization}", Access.KEY, report),
    ),
)

"""The admin routes, served on the Unix socket in the data folder to whoever may open it.

``project`` in a query is a name or an id; without it the first project is meant. Jobs look as in v0.4; other records
are answered as the domain's own structs (decode them with `msgspec.json.decode(body, type=...)`), but for the times
of projects and keys, which are ISO 8601. Everything that commands need:

========================================  =====================================================
``GET /projects``, ``POST /projects``     all projects; add one: ``{"name"}`` -> `Project`
``GET /keys``, ``POST /keys``             a project's keys; add one: ``{"name"}`` -> ``{"key", "secret"}``
``DELETE /keys/{id}``                     revoke -> the key
``POST /jobs``                            submit a v0.4 body -> `Job`
``GET /jobs``                             ``status``, ``backend``, ``limit``, ``next`` -> ``{"jobs", "next"}``
``GET /jobs/{id}``                        a job, with its children's ids
``GET /jobs/{id}/result``                 `Result`, once completed
``GET /jobs/{id}/cost``                   ``{"cost", "estimated_cost"}``, as far as known
``POST /jobs/cancel``, ``/jobs/delete``   ``{"ids"}`` -> ``{"ids", "answers"}``; ``{"ids"}``
``GET /backends``                         list of ``{"capabilities", "state"}``
``/backends/{backend}``, ``/adapters``    pause, drain, enable, disable, restart: see `orchestrator.api.fleet`
``POST /verify``                          `orchestrator.storage.abc.Report`
``GET /events/v1``                        the feed, as on the TCP port
``/hooks/v1``                             notification rules, as on the TCP port
========================================  =====================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web

from orchestrator.api import fleet, health, hooks
from orchestrator.api.endpoint import Access, Call, Context, Route, Surface, decoder, install, reply
from orchestrator.api.feed import routes as feed
from orchestrator.api.feed.hub import Hub
from orchestrator.api.jobs import Ids
from orchestrator.api.query import PAGE, Query, refuse
from orchestrator.api.strict import Reader
from orchestrator.api.times import iso
from orchestrator.api.v04 import jobs as v04
from orchestrator.api.v04.wire import STATUSES, cost_body, read_create
from orchestrator.model import ApiKey, Project
from orchestrator.telemetry import Telemetry

if TYPE_CHECKING:
    from orchestrator.service import Orchestrator

_MAX_PAGE: Final = 1_000


class _Named(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    name: str = ""


_decode_named = decoder(_Named)
_decode_ids = decoder(Ids)


def project_of(call: Call) -> str:
    """The project a call is about.

    Raises:
        ProjectNotFound: There is none of that name or id.
    """
    name = Query(call).text("project")
    return call.orchestrator.project.id if name is None else call.orchestrator.accounts.project(name).id


def key_body(key: ApiKey) -> dict[str, Any]:
    """A key, without the digest of its secret."""
    body: dict[str, Any] = msgspec.to_builtins(key)
    del body["digest"]
    return body | {"created_at": iso(key.created_at), "revoked_at": iso(key.revoked_at)}


def project_body(project: Project) -> dict[str, Any]:
    """A project."""
    body: dict[str, Any] = msgspec.to_builtins(project)
    return body | {"created_at": iso(project.created_at)}


async def projects(call: Call) -> web.Response:
    """All projects."""
    return reply([project_body(project) for project in call.orchestrator.accounts.projects()])


async def add_project(call: Call) -> web.Response:
    """Add a project."""
    project = await call.orchestrator.accounts.add_project((await call.read(_decode_named)).name)
    return reply(project_body(project), 201)


async def keys(call: Call) -> web.Response:
    """A project's keys."""
    return reply([key_body(key) for key in call.orchestrator.accounts.keys(project_of(call))])


async def add_key(call: Call) -> web.Response:
    """Add a key; the only time its secret is told."""
    named = await call.read_optional(_decode_named, _Named())
    key, secret = await call.orchestrator.accounts.add_key(project_of(call), named.name)
    return reply({"key": key_body(key), "secret": secret}, 201)


async def revoke_key(call: Call) -> web.Response:
    """Revoke a key."""
    return reply(key_body(await call.orchestrator.accounts.revoke_key(call.part("id"), project=project_of(call))))


async def submit(call: Call) -> web.Response:
    """Submit a job."""
    request = await call.read(read_create, bulk="input")
    return reply(await call.orchestrator.submit(request, project=project_of(call)), 201)


async def listing(call: Call) -> web.Response:
    """Jobs, newest first."""
    query = Query(call)
    word = query.text("status")
    if word is not None and word not in STATUSES:
        raise refuse("status", f"status must be one of {', '.join(STATUSES)}")
    backend = query.text("backend")
    page = await call.orchestrator.list_jobs(
        project=project_of(call),
        statuses=None if word is None else STATUSES[word],
        backends=None if backend is None else [call.orchestrator.backends.resolve(backend)],
        limit=query.clamped("limit", PAGE, _MAX_PAGE),
        before=query.text("next"),
    )
    return reply({"jobs": [v04.body(call, job) for job in page.jobs], "next": page.next})


async def job(call: Call) -> web.Response:
    """One job."""
    return reply(await v04.full(call, await call.orchestrator.get(call.part("id"), project=project_of(call))))


async def result(call: Call) -> web.Response:
    """A completed job's result."""
    return reply(await call.orchestrator.fetch_result(call.part("id"), project=project_of(call)))


async def cost(call: Call) -> web.Response:
    """What a job cost."""
    return reply(cost_body(await call.orchestrator.get(call.part("id"), project=project_of(call))))


async def cancel(call: Call) -> web.Response:
    """Cancel jobs; tells for each what became of it."""
    ids = (await call.read(_decode_ids)).ids
    answers = await call.orchestrator.cancel(ids, project=project_of(call))
    return reply({"ids": ids, "answers": answers})


async def delete(call: Call) -> web.Response:
    """Delete jobs."""
    ids = (await call.read(_decode_ids)).ids
    await call.orchestrator.delete(ids, project=project_of(call))
    return reply({"ids": ids})


async def backends(call: Call) -> web.Response:
    """All backends: what they can and how they are."""
    known = call.orchestrator.backends
    return reply([{"capabilities": known.capabilities(name), "state": known.state(name)} for name in known.names()])


async def verify(call: Call) -> web.Response:
    """Fold the event log and compare it with the tables."""
    return reply(await call.orchestrator.verify())


ROUTES: Final = (
    Route("GET", "/projects", Access.OWNER, projects),
    Route("POST", "/projects", Access.OWNER, add_project),
    Route("GET", "/keys", Access.OWNER, keys),
    Route("POST", "/keys", Access.OWNER, add_key),
    Route("DELETE", "/keys/{id}", Access.OWNER, revoke_key),
    Route("POST", "/jobs", Access.OWNER, submit),
    Route("GET", "/jobs", Access.OWNER, listing),
    Route("GET", "/jobs/{id}", Access.OWNER, job),
    Route("GET", "/jobs/{id}/result", Access.OWNER, result),
    Route("GET", "/jobs/{id}/cost", Access.OWNER, cost),
    Route("POST", "/jobs/cancel", Access.OWNER, cancel),
    Route("POST", "/jobs/delete", Access.OWNER, delete),
    Route("GET", "/backends", Access.OWNER, backends),
    Route("POST", "/verify", Access.OWNER, verify),
    *fleet.ROUTES,
    *health.ROUTES,
)


def create_admin_app(orchestrator: Orchestrator, *, telemetry: Telemetry) -> web.Application:
    """The application of the admin socket. Serve it nowhere else: it asks nobody for a key."""
    hub = Hub(orchestrator)
    context = Context(orchestrator, telemetry, Reader())
    app = web.Application()
    events = feed.routes(Access.OWNER, hub, project_of)
    install(
        app.router, (Surface("", (*ROUTES, *events, *hooks.routes(Access.OWNER, project_of)), vendor=False),), context
    )

    async def shutdown(_app: web.Application) -> None:
        await hub.aclose()

    app.on_shutdown.append(shutdown)
    return app

"""The routes of v0.4 (reference, section 4.1)."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from orchestrator.api import calibrations
from orchestrator.api import jobs as shared
from orchestrator.api.endpoint import Access, Call, Route, Surface, reply
from orchestrator.api.errors import Forbidden, Unauthorized
from orchestrator.api.v04 import backends, jobs, results, sessions
from orchestrator.api.v04.wire import PREFIX


async def whoami(call: Call) -> web.Response:
    """The key that asks."""
    caller = call.principal
    if caller is None:
        raise Unauthorized
    return reply({"key_id": caller.key_id, "key_name": caller.key_name, "project_id": caller.project_id})


async def usage(call: Call) -> web.Response:
    """Usage of an organization: keys here belong to projects, none is entitled."""
    raise Forbidden("this key may not see the organization's usage")


SURFACE: Final = Surface(
    PREFIX,
    (
        Route("POST", "/jobs", Access.KEY, jobs.create),
        Route("GET", "/jobs", Access.KEY, jobs.listing),
        Route("GET", "/jobs/estimate", Access.KEY, jobs.estimate),
        Route("GET", "/jobs/{id}", Access.KEY, jobs.get),
        Route("GET", "/jobs/{id}/cost", Access.KEY, jobs.cost),
        Route("POST", "/jobs/{id}/clone", Access.KEY, jobs.clone),
        Route("POST", "/jobs/{id}/move", Access.KEY, jobs.move),
        *shared.ROUTES,
        *results.ROUTES,
        *sessions.ROUTES,
        *backends.ROUTES,
        *calibrations.ROUTES,
        Route("GET", "/whoami", Access.KEY, whoami),
        Route("GET", "/organizations/{organization}/usage", Access.KEY, usage),
    ),
)

"""Sessions in v0.4 (reference, section 12): open, list, look, end, and the jobs of one.

Two clients read more than is documented: ``state`` and ``usage_time`` (seconds) are theirs. An organization is
a project here.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
from aiohttp import web

from orchestrator.api.endpoint import Access, Call, Route, decoder, reply
from orchestrator.api.query import Query, refuse
from orchestrator.api.submission import Lax, whole
from orchestrator.api.times import iso
from orchestrator.api.v04 import jobs
from orchestrator.errors import InvalidRequest
from orchestrator.model import Cost, Session

#: A duration as people write it to qiskit-ionq: ``30``, ``"30"``, ``"10m"``, ``"2h"``.
_DURATION: Final = re.compile(r"([0-9]{1,9}) ?(m|min|h)?")
_MINUTES: Final = {None: 1, "m": 1, "min": 1, "h": 60}
_AMOUNT: Final = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?")
_FLAGS: Final = {"true": True, "false": False}


class _CostLimit(msgspec.Struct, kw_only=True):
    value: Lax
    unit: str = "usd"


class _Settings(msgspec.Struct, kw_only=True):
    job_count_limit: Lax | None = None
    duration_limit_min: Lax | None = None
    cost_limit: _CostLimit | None = None


class _New(msgspec.Struct, kw_only=True):
    """The body of ``POST /sessions``; unknown members are ignored."""

    backend: str
    settings: _Settings | None = None


_decode_new = decoder(_New)


async def create(call: Call) -> web.Response:
    """Open a session on a backend."""
    wanted = await call.read(_decode_new)
    limits = wanted.settings or _Settings()
    session = await call.orchestrator.sessions.create(
        wanted.backend.removeprefix("ionq_"),  # qiskit-ionq sends its own name of the simulator
        job_count_limit=_whole(limits.job_count_limit, "settings.job_count_limit"),
        duration_limit_min=_minutes(limits.duration_limit_min),
        cost_limit=_cost(limits.cost_limit),
        creator_id=_caller(call),
        project=call.project,
    )
    return reply(session_body(session), 201)


def _caller(call: Call) -> str | None:
    return None if call.principal is None else call.principal.key_id


def _whole(value: Lax | None, field: str) -> int | None:
    return None if value is None else whole(value, field)


def _minutes(value: Lax | None) -> int | None:
    field = "settings.duration_limit_min"
    if isinstance(value, str):
        found = _DURATION.fullmatch(value)
        if found is None:
            message = f'{field} must be a whole number of minutes, or a text such as "10m" or "2h"'
            raise InvalidRequest(message, code="wrong_type", fields=(field,))
        return int(found[1]) * _MINUTES[found[2]]
    return _whole(value, field)


def _cost(limit: _CostLimit | None) -> Cost | None:
    if limit is None:
        return None
    value = limit.value
    if isinstance(value, str):
        if not _AMOUNT.fullmatch(value):
            field = "settings.cost_limit.value"
            raise InvalidRequest(f"{field} must be a number", code="wrong_type", fields=(field,))
        value = float(value)
    return Cost(value=value, unit=limit.unit)


async def listing(call: Call) -> web.Response:
    """The project's sessions, newest first; ``active`` chooses those that have not ended, or have."""
    text = Query(call).text("active")
    active = None if text is None else _FLAGS.get(text.lower())
    if text is not None and active is None:
        raise refuse("active", "active must be true or false", "wrong_type")
    found = await call.orchestrator.sessions.list(active=active, project=call.project)
    return reply({"organization_id": call.project, "sessions": [session_body(session) for session in found]})


async def get(call: Call) -> web.Response:
    """One session."""
    return reply(session_body(await call.orchestrator.sessions.get(call.part("id"), project=call.project)))


async def end(call: Call) -> web.Response:
    """End a session; one that has ended stays as it is."""
    sessions = call.orchestrator.sessions
    return reply(session_body(await sessions.end(call.part("id"), ender_id=_caller(call), project=call.project)))


async def session_jobs(call: Call) -> web.Response:
    """A session's jobs, as ``GET /jobs`` lists them."""
    session = await call.orchestrator.sessions.get(call.part("id"), project=call.project)
    return await jobs.page(call, session_id=session.id)


def session_body(session: Session) -> dict[str, Any]:
    """A session; of its settings only those that were given."""
    limits = session.limits
    cost = limits.cost_limit
    settings = {
        "job_count_limit": limits.job_count_limit,
        "duration_limit_min": limits.duration_limit_min,
        "cost_limit": None if cost is None else {"value": cost.value, "unit": cost.unit},
        "expires_at": iso(session.expires_at),
    }
    return {
        "id": session.id,
        "created_at": iso(session.created_at),
        "organization_id": session.project_id,
        "backend": session.backend,
        "project_id": session.project_id,
        "creator_id": session.creator_id,
        "started_at": iso(session.started_at),
        "ended_at": iso(session.ended_at),
        "ender_id": session.ender_id,
        "active": session.active,
        "status": session.status,
        "state": session.status,
        "usage_time": session.used_ms / 1000,
        "settings": {name: value for name, value in settings.items() if value is not None},
    }


ROUTES: Final = (
    Route("POST", "/sessions", Access.KEY, create),
    Route("GET", "/sessions", Access.KEY, listing),
    Route("GET", "/sessions/{id}", Access.KEY, get),
    Route("POST", "/sessions/{id}/end", Access.KEY, end),
    Route("GET", "/sessions/{id}/jobs", Access.KEY, session_jobs),
)

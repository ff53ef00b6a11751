"""``/events/v1``: the committed events of a project, in order, over a websocket or as server-sent events.

``docs/feed.md`` tells clients all about it. Both transports take the same query and tell the same frames; see
`frames` for those and `hub.Close` for how a feed ends.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from aiohttp import HttpVersion11, web

from orchestrator.api.endpoint import REQUEST_ID, Access, Call, Route, check_origin, reply, reply_bytes, shared
from orchestrator.api.errors import Unauthorized
from orchestrator.api.feed.connection import Connection, EventStream, WebSocket
from orchestrator.api.feed.hub import FAREWELL_S, Feed, Hub
from orchestrator.api.feed.tickets import VALID_S, Tickets
from orchestrator.api.query import Query, refuse
from orchestrator.errors import CursorExpired, InvalidRequest
from orchestrator.events import Cursor
from orchestrator.subscription import EARLIEST, LATEST, Selection, Start

if TYPE_CHECKING:
    from orchestrator.accounts import Principal

PATH: Final = "/events/v1"
_TICKETS: Final = f"{PATH}/tickets"
_MAX_FILTER: Final = 1_000
#: History is read session by session.
_MAX_SESSIONS: Final = 100
_PARAMETERS: Final = frozenset({"cursor", "queue", "job", "session", "kind", "backend"})
#: What scripts of other origins' pages may send, and for how long a browser may remember that.
_PREFLIGHT: Final = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "Authorization, Last-Event-ID",
    "Access-Control-Max-Age": "600",
}


def routes(
    access: Access, hub: Hub, project_of: Callable[[Call], str], tickets: Tickets | None = None
) -> tuple[Route, ...]:
    """The feed, its schema and, where there are keys, its tickets.

    Args:
        access: Who may open the feed and ask for tickets.
        hub: Serves the feeds.
        project_of: Whose events a call gets.
        tickets: Those that open a feed here without a key.
    """

    parameters = _PARAMETERS | {"project" if tickets is None else "ticket"}

    async def feed(call: Call) -> web.StreamResponse:
        check_origin(call.request, call.context.origins)
        principal = call.principal = _admitted(call, tickets)
        if unknown := sorted(set(call.request.query) - parameters):  # a filter left out in silence is a wrong answer
            raise refuse(unknown[0], f"a feed has no parameter {unknown[0]}", "unknown_field")
        selection = _wishes(call, project_of(call))
        cursor = call.request.headers.get("Last-Event-ID") or Query(call).text("cursor") or LATEST
        start, resume = Start(0), None
        try:
            start = await call.orchestrator.event_log.start(cursor)
        except CursorExpired as error:
            resume = error.resume
        connection = _connection(call)
        key_id = None if principal is None else principal.key_id
        response = await connection.open()
        queue = Query(call).flag("queue")
        await hub.serve(Feed(connection, selection, start, key_id, queue=queue, resume=resume))
        return response

    async def ticket(call: Call) -> web.Response:
        if tickets is None or call.principal is None:
            raise Unauthorized
        return reply({"ticket": tickets.issue(call.principal), "expires_in_s": VALID_S}, 201)

    if tickets is None:
        return Route("GET", PATH, access, feed), _SCHEMA
    return (
        Route("GET", PATH, Access.OPEN, feed, pages=True),
        Route("POST", _TICKETS, access, ticket, pages=True),
        *(Route("OPTIONS", path, Access.OPEN, preflight, pages=True) for path in (PATH, _TICKETS)),
        _SCHEMA,
    )


async def preflight(call: Call) -> web.Response:
    """What a browser asks before a script of another origin's page may send a key."""
    return web.Response(status=204, headers=_PREFLIGHT)


async def schema(call: Call) -> web.Response:
    """The JSON Schema of the frames."""
    return reply_bytes(schema_bytes())


_SCHEMA: Final = Route("GET", f"{PATH}/schema", Access.OPEN, schema)


@cache
def schema_bytes() -> bytes:
    """The JSON Schema of everything a feed says."""
    return files(__package__).joinpath("schema.json").read_bytes()


def _admitted(call: Call, tickets: Tickets | None) -> Principal | None:
    """Who asks: by header, or by ticket where those count.

    Raises:
        Unauthorized: Neither is good.
    """
    if tickets is None or call.principal is not None:
        return call.principal
    text = call.request.query.get("ticket")
    principal = None if text is None else tickets.redeem(text)
    if principal is None:
        raise Unauthorized
    return principal


def _connection(call: Call) -> Connection:
    """The transport a client asks for.

    Raises:
        InvalidRequest: Neither a good websocket handshake nor server-sent events over HTTP/1.1.
    """
    request = call.request
    headers = {REQUEST_ID: call.request_id, **shared(request, call.context.origins)}
    if request.headers.get("Upgrade", "").lower() == "websocket":
        if not web.WebSocketResponse().can_prepare(request):
            raise InvalidRequest("this is no websocket handshake", code="invalid_http", source="headers")
        return WebSocket(request, headers, FAREWELL_S)
    if "text/event-stream" in request.headers.get("Accept", "") and request.version >= HttpVersion11:
        return EventStream(request, headers)
    message = "open a websocket here, or accept text/event-stream over HTTP/1.1"
    raise InvalidRequest(message, fields=("Upgrade", "Accept"), source="headers")


def _wishes(call: Call, project_id: str) -> Selection:
    """Which events are asked for.

    Raises:
        InvalidRequest: Something cannot be.
    """
    query = Query(call)
    if call.request.query.get("cursor") == "":  # a client that has lost its place would miss what came meanwhile
        raise refuse("cursor", "cursor must not be empty")
    if (query.text("queue") or "false").lower() not in {"true", "false"}:
        raise refuse("queue", "queue must be true or false")
    cursor = query.text("cursor") or LATEST
    if cursor not in {EARLIEST, LATEST}:
        Cursor.parse(cursor)
    jobs, sessions = query.texts("job"), query.texts("session")
    if len(jobs) > _MAX_FILTER:
        raise refuse("job", f"a feed follows at most {_MAX_FILTER:,} chosen jobs", "job_out_of_range")
    if len(sessions) > _MAX_SESSIONS:
        raise refuse("session", f"a feed follows at most {_MAX_SESSIONS} chosen sessions", "session_out_of_range")
    try:
        return Selection.of(
            project_id,
            jobs=jobs,
            sessions=sessions,
            kinds=query.texts("kind"),
            backends=query.texts("backend"),
            resolve=call.orchestrator.backends.resolve,
        )
    except InvalidRequest as error:
        error.source = "query"
        raise

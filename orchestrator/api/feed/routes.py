"""``GET /events/v1``: the committed events of a project, in order, over a websocket.

Query: ``cursor`` (one of ours, ``earliest`` or ``latest``), ``job`` and ``kind``, both repeatable. Frames are
described in `frames`, close codes in `hub.Close`. Programs authenticate by header, like everywhere.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Final
from urllib.parse import urlsplit

import anyio
import structlog
from aiohttp import web

from orchestrator.api.endpoint import REQUEST_ID, Access, Call, Handler, Route
from orchestrator.api.errors import OriginNotAllowed
from orchestrator.api.feed.frames import Frames
from orchestrator.api.feed.hub import CLOSE_S, Close, Feed, Hub
from orchestrator.api.query import Query, refuse
from orchestrator.errors import CursorExpired, Unavailable
from orchestrator.events import Cursor, EventKind
from orchestrator.subscription import EARLIEST, LATEST, FeedItem

log = structlog.get_logger()

PATH: Final = "/events/v1"
_HEARTBEAT_S: Final = 15.0
_MAX_MESSAGE: Final = 65_536
_MAX_FILTER: Final = 1_000
_KINDS: Final = frozenset(map(str, EventKind))


def route(access: Access, hub: Hub, frames: Frames, project_of: Callable[[Call], str]) -> Route:
    """The feed as a route.

    Args:
        access: Who may open it.
        hub: Knows the open feeds.
        frames: Encodes what is sent.
        project_of: Whose events a call gets.
    """
    return Route("GET", PATH, access, _handler(hub, frames, project_of))


def _handler(hub: Hub, frames: Frames, project_of: Callable[[Call], str]) -> Handler:
    async def feed(call: Call) -> web.StreamResponse:
        _check_origin(call)
        project = project_of(call)
        cursor, jobs, kinds = _wishes(Query(call))
        async with aclosing(call.orchestrator.events(cursor, project=project, jobs=jobs, kinds=kinds)) as items:
            first: FeedItem | CursorExpired
            try:
                first = await anext(items)  # before the upgrade: a cursor that is not ours is a plain 400
            except CursorExpired as error:
                first = error
            socket = web.WebSocketResponse(
                heartbeat=_HEARTBEAT_S, timeout=CLOSE_S, max_msg_size=_MAX_MESSAGE, compress=False
            )
            socket.headers[REQUEST_ID] = call.request_id
            await socket.prepare(call.request)
            opened = Feed(call.request, socket, None if call.principal is None else call.principal.key_id)
            with hub.joined(opened):
                if isinstance(first, CursorExpired):
                    await opened.close(Close.EXPIRED, first.resume)
                else:
                    await _serve(opened, first, items, frames)
        return socket

    return feed


async def _serve(feed: Feed, first: FeedItem, items: AsyncIterator[FeedItem], frames: Frames) -> None:
    """Send until the client leaves, is too slow, or the feed is closed from elsewhere."""
    async with anyio.create_task_group() as group:

        async def listen() -> None:
            await feed.receive()
            group.cancel_scope.cancel()

        group.start_soon(listen)
        reached = first.cursor
        try:
            item = first
            while await feed.send(frames.encode(item)):
                reached = item.cursor
                item = await anext(items)
            await feed.close(Close.SLOW, reached)
        except ConnectionError:
            pass  # the client went away: nothing is owed to it
        except CursorExpired as error:
            await feed.close(Close.EXPIRED, error.resume)
        except Unavailable:
            await feed.close(Close.SHUTDOWN, "the service stops")
        except Exception:
            log.exception("a feed broke")
            await feed.close(Close.BROKEN, reached)
        group.cancel_scope.cancel()


def _wishes(query: Query) -> tuple[str, list[str], list[str]]:
    """Cursor, jobs and kinds asked for.

    Raises:
        InvalidRequest: One of them cannot be.
    """
    cursor = query.text("cursor") or LATEST
    if cursor not in {EARLIEST, LATEST}:
        Cursor.parse(cursor)
    jobs, kinds = query.texts("job"), query.texts("kind")
    if len(jobs) > _MAX_FILTER:
        raise refuse("job", f"a feed follows at most {_MAX_FILTER:,} chosen jobs", "job_out_of_range")
    for kind in kinds:
        if kind not in _KINDS:
            raise refuse("kind", f"kind must be one of {', '.join(EventKind)}")
    return cursor, jobs, kinds


def _check_origin(call: Call) -> None:
    """Browsers tell the page's origin; pages of other origins are refused unless allowed by name.

    Raises:
        OriginNotAllowed: This one is not.
    """
    origin = call.request.headers.get("Origin")
    if origin is None or origin in call.context.origins:
        return
    if urlsplit(origin).netloc != call.request.host:
        raise OriginNotAllowed

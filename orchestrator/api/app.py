"""The HTTP application over an opened orchestrator, which it borrows and never closes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import web

from orchestrator.api import bulk, health, hooks
from orchestrator.api.endpoint import Access, Call, Context, Surface, install
from orchestrator.api.feed import routes as feed
from orchestrator.api.feed.hub import Hub
from orchestrator.api.feed.tickets import Tickets
from orchestrator.api.limits import Limits
from orchestrator.api.strict import Reader
from orchestrator.api.v03.routes import SURFACE as V03
from orchestrator.api.v04.routes import SURFACE as V04
from orchestrator.console import routes as console
from orchestrator.telemetry import Telemetry

if TYPE_CHECKING:
    from orchestrator.service import Orchestrator


def create_app(
    orchestrator: Orchestrator,
    *,
    telemetry: Telemetry | None = None,
    limits: Limits | None = None,
    allowed_origins: Collection[str] | None = None,
) -> web.Application:
    """The application: ``/v0.4``, ``/v0.3``, the orchestrator's own routes, ``/jobs/{id}``, health and metrics.

    Args:
        orchestrator: Opened by the caller, and closed by the caller after the application's end.
        telemetry: Where requests are counted; None makes one for this application.
        limits: Time limits of bodies; the connection limits are the server's.
        allowed_origins: Origins whose pages may open the feed and change things, beside the server's own; None for
            those of the settings and of its public address.
    """
    server = orchestrator.settings.server
    own_origins = (*server.allowed_origins, *_origin(orchestrator.settings.notify.public_url))
    origins = frozenset(own_origins if allowed_origins is None else allowed_origins)
    own = telemetry is None
    figures = telemetry or Telemetry(orchestrator)
    reader = Reader(deadline_s=(limits or Limits()).body_s)
    context = Context(orchestrator, figures, reader, origins)
    hub = Hub(orchestrator)
    tickets = Tickets(orchestrator.clock)
    streams = bulk.Streams()
    figures.watch_feeds(lambda: hub.open)
    events = feed.routes(Access.KEY, hub, _project, tickets)
    app = web.Application()
    rest = (*health.ROUTES, *bulk.routes(streams), *events, *hooks.routes(Access.KEY, _project), *console.routes())
    install(app.router, (V04, V03, Surface("", rest, vendor=False)), context)

    async def lifetime(_app: web.Application) -> AsyncIterator[None]:
        listeners = (tickets.revoked, hub.revoked, streams.revoked)
        orchestrator.accounts.on_revoked += listeners
        yield
        for listener in listeners:
            orchestrator.accounts.on_revoked.remove(listener)
        if own:
            figures.close()

    async def shutdown(_app: web.Application) -> None:
        streams.close()
        await hub.aclose()

    app.cleanup_ctx.append(lifetime)
    app.on_shutdown.append(shutdown)
    return app


def _origin(url: str) -> tuple[str, ...]:
    """The origin of an address, if it has one: a proxy in front may not pass on the host that browsers see."""
    parts = urlsplit(url)
    return (f"{parts.scheme}://{parts.netloc}",) if parts.netloc else ()


def _project(call: Call) -> str:
    return call.project

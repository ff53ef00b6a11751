"""Serving an orchestrator: a TCP port for everyone, a Unix socket for the owner of the data folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from aiohttp import web

from orchestrator.api.admin import create_admin_app
from orchestrator.api.admin_socket import listen
from orchestrator.api.app import create_app
from orchestrator.api.limits import Guard, GuardedSite, Limits
from orchestrator.datafolder import ADMIN_SOCKET
from orchestrator.telemetry import Telemetry

if TYPE_CHECKING:
    from orchestrator.service import Orchestrator

#: Seconds that running requests have at a stop.
_SHUTDOWN_S: Final = 3.0


@dataclass(frozen=True)
class Bound:
    """A server that listens.

    Attributes:
        url: Base URL, such as ``http://127.0.0.1:8642``.
        port: Its TCP port.
        admin: Path of the admin socket, if there is one.
    """

    url: str
    port: int
    admin: Path | None


@asynccontextmanager
async def serve(
    orchestrator: Orchestrator,
    host: str | None = None,
    port: int | None = None,
    *,
    limits: Limits | None = None,
) -> AsyncIterator[Bound]:
    """Serve while the block runs. At its end feeds are closed, running requests finished, then connections cut.

    An orchestrator with a data folder also gets its admin socket there.

    Args:
        orchestrator: Opened; stays open.
        host: Address, None for the settings'.
        port: Port, 0 for a free one, None for the settings'.
        limits: None for the settings'.

    Raises:
        OSError: The address cannot be listened on.
    """
    settings = orchestrator.settings.server
    bounds = limits or Limits(connections=settings.max_connections, per_address=settings.max_connections_per_address)
    telemetry = Telemetry(orchestrator)
    async with AsyncExitStack() as stack:
        stack.callback(telemetry.close)
        app = create_app(orchestrator, telemetry=telemetry, limits=bounds)
        runner = await _running(stack, app, bounds)
        site = GuardedSite(
            runner, Guard(bounds), settings.host if host is None else host, settings.port if port is None else port
        )
        await site.start()
        admin = None
        if orchestrator.data is not None:
            admin = orchestrator.data / ADMIN_SOCKET
            listening = stack.enter_context(listen(admin))
            stack.callback(admin.unlink, missing_ok=True)
            admin_runner = await _running(stack, create_admin_app(orchestrator, telemetry=telemetry), bounds)
            await web.SockSite(admin_runner, listening).start()
        yield Bound(site.name, urlsplit(site.name).port or 0, admin)


async def _running(stack: AsyncExitStack, app: web.Application, limits: Limits) -> web.AppRunner:
    runner = web.AppRunner(
        app,
        handle_signals=False,
        access_log=None,
        auto_decompress=False,
        keepalive_timeout=limits.keepalive_s,
        shutdown_timeout=_SHUTDOWN_S,
    )
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    return runner

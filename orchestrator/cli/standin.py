"""Standing in for the server of a data folder that has none, for the time of one command."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
from aiohttp import web

from orchestrator.api.admin import create_admin_app
from orchestrator.api.admin_socket import listen, served
from orchestrator.cli.logs import configure_logging
from orchestrator.datafolder import ADMIN_SOCKET
from orchestrator.errors import StoreLocked
from orchestrator.service import Orchestrator
from orchestrator.telemetry import Telemetry

#: A server that starts holds the folder before it listens; wait so long for its socket, seconds.
_PATIENCE_S: Final = 5.0
_PAUSE_S: Final = 0.1


@asynccontextmanager
async def standing_in(data: Path, *, run: bool) -> AsyncIterator[None]:
    """Serve the admin socket of a data folder, unless a server comes first.

    Args:
        data: The folder.
        run: Execute jobs meanwhile; without, no adapter is loaded.

    Raises:
        StoreLocked: Somebody holds the folder who does not serve it.
    """
    configure_logging("WARNING")
    async with AsyncExitStack() as stack:
        orchestrator = await _opened(stack, data, run=run)
        if orchestrator is not None:
            telemetry = Telemetry(orchestrator)
            stack.callback(telemetry.close)
            path = data / ADMIN_SOCKET
            listening = stack.enter_context(listen(path))
            stack.callback(path.unlink, missing_ok=True)
            runner = web.AppRunner(create_admin_app(orchestrator, telemetry=telemetry), access_log=None)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.SockSite(runner, listening).start()
        yield


async def _opened(stack: AsyncExitStack, data: Path, *, run: bool) -> Orchestrator | None:
    """The opened orchestrator; None once somebody else serves the folder."""
    deadline = anyio.current_time() + _PATIENCE_S
    while True:
        try:
            return await stack.enter_async_context(Orchestrator.open(data, adapters=None if run else ()))
        except StoreLocked:
            if anyio.current_time() > deadline:
                raise
        await anyio.sleep(_PAUSE_S)
        if served(data):
            return None

"""An aiohttp application of your own with a quantum cloud inside.

    python embed_aiohttp.py [FOLDER]
    curl -X POST http://127.0.0.1:8080/dice

``/dice`` is the application's own; below ``/cloud`` is the whole HTTP API with its feed, and a page that shows it live.
Both work on the same orchestrator. It is opened before the application is made, and closed after its end: the
application borrows it. (In a ``cleanup_ctx`` of the application its task group would span a ``yield``, and an error in
there would not reach anybody.)
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from orchestrator import Circuit, Gate, Noise, Orchestrator
from orchestrator.api.app import create_app

DICE = Circuit(qubits=3, gates=tuple(Gate("h", (qubit,)) for qubit in range(3)))
ARIA = Noise(model="aria-1")  # a noisy machine is sampled; without noise probabilities are exact
ORCHESTRATOR = web.AppKey("ORCHESTRATOR", Orchestrator)
PAGE = Path(__file__).with_name("feed.html")


async def dice(request: web.Request) -> web.Response:
    """Throw a quantum die of eight sides."""
    orchestrator = request.app[ORCHESTRATOR]
    job = await orchestrator.submit(DICE, backend="simulator", noise=ARIA, shots=1, name="dice")
    result = await orchestrator.result(job.id, timeout_s=30)
    return web.json_response({"job": job.id, "side": 1 + next(iter(result.probabilities))})


async def page(_request: web.Request) -> web.FileResponse:
    """Show the feed, beside which it is served."""
    return web.FileResponse(PAGE)


def create_application(orchestrator: Orchestrator) -> web.Application:
    """Make the application over an opened orchestrator."""
    app = web.Application()
    app[ORCHESTRATOR] = orchestrator
    app.router.add_post("/dice", dice)
    app.router.add_get("/cloud/", page)
    app.add_subapp("/cloud", create_app(orchestrator))
    return app


@asynccontextmanager
async def served(orchestrator: Orchestrator, port: int) -> AsyncIterator[str]:
    """Serve the application while the block runs; gives the URL."""
    runner = web.AppRunner(create_application(orchestrator), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield "http://{}:{}".format(*runner.addresses[0])
    finally:
        await runner.cleanup()  # feeds are closed with 1001, requests finished


async def main(folder: str | None = None) -> None:
    """Open, serve until told to stop, close: in this order."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with Orchestrator.open(folder) as orchestrator, served(orchestrator, 8080) as url:
        _, key = await orchestrator.accounts.add_key(orchestrator.project.id, "page")
        print(f"{url}/cloud/ with the key {key}", flush=True)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:2]))

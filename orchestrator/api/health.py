"""``/healthz``, ``/readyz`` and ``/metrics``: for whoever looks after the server."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from orchestrator.api.endpoint import Access, Call, Route, reply

#: A loop that has not moved for this long is stuck.
STUCK_S: Final = 15.0


async def healthz(call: Call) -> web.Response:
    """The process answers."""
    return reply({"status": "ok"})


async def readyz(call: Call) -> web.Response:
    """The loops move: 200, or 503 with those that do not."""
    idle = call.orchestrator.alive()
    stuck = sorted(name for name, seconds in idle.items() if seconds > STUCK_S)
    body = {"status": "stuck" if stuck else "ok", "stuck": stuck, "loops": idle}
    response = reply(body, 503 if stuck else 200)
    if stuck:
        response.headers["Retry-After"] = "1"
    return response


async def metrics(call: Call) -> web.Response:
    """Figures in the text format of Prometheus."""
    body, content_type = call.context.telemetry.render()
    return web.Response(body=body, headers={"Content-Type": content_type})


ROUTES: Final = (
    Route("GET", "/healthz", Access.OPEN, healthz),
    Route("HEAD", "/healthz", Access.OPEN, healthz),  # load balancers ask so
    Route("GET", "/readyz", Access.OPEN, readyz),
    Route("HEAD", "/readyz", Access.OPEN, readyz),
    Route("GET", "/metrics", Access.OPEN, metrics),
)

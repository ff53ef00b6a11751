"""The owner's routes to `orchestrator.fleet`: backends and adapters while the server runs.

===============================================  =================================================================
``POST /backends/{backend}/pause``               ``{"reason"}`` -> `BackendState`
``POST /backends/{backend}/resume``              -> `BackendState`
``POST /backends/{backend}/drain``               ``{"reason", "wait_s"}`` -> ``{"emptied", "state"}``; ask again
``GET /adapters``                                list of ``{"name", "status", "backends", "reason", "moved"}``
``POST /adapters/{name}/enable``                 -> ``{"name", "backends"}``
``POST /adapters/{name}/disable``, ``restart``   ``{"drain_s"}`` -> ``{"name", "backends"}``
===============================================  =================================================================

A request is answered within half a minute: longer waits are a client's own, who asks again.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from aiohttp import web

from orchestrator.api.backends import named_backend
from orchestrator.api.endpoint import Access, Call, Route, decoder, reply

Reason = Annotated[str, msgspec.Meta(max_length=500)]
Wait = Annotated[float, msgspec.Meta(ge=0, le=30)]


class _Pause(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    reason: Reason = ""


class _Drain(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    reason: Reason = "drained"
    wait_s: Wait = 0.0


class _Leave(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    drain_s: Wait | None = None


_decode_pause = decoder(_Pause)
_decode_drain = decoder(_Drain)
_decode_leave = decoder(_Leave)


async def pause(call: Call) -> web.Response:
    """Hand out nothing more of a backend's jobs."""
    asked = await call.read_optional(_decode_pause, _Pause())
    return reply(await call.orchestrator.fleet.pause(named_backend(call), asked.reason))


async def resume(call: Call) -> web.Response:
    """End a pause."""
    return reply(await call.orchestrator.fleet.resume(named_backend(call)))


async def drain(call: Call) -> web.Response:
    """Pause a backend, and wait a while for what runs."""
    asked, name = await call.read_optional(_decode_drain, _Drain()), named_backend(call)
    emptied = await call.orchestrator.fleet.drain(name, asked.wait_s, asked.reason)
    return reply({"emptied": emptied, "state": call.orchestrator.backends.state(name)})


async def adapters(call: Call) -> web.Response:
    """All adapters, those that are configured but unavailable with the reason."""
    return reply([member._asdict() for member in call.orchestrator.fleet.members()])


async def enable(call: Call) -> web.Response:
    """Serve the backends of an installed adapter."""
    name = call.part("name")
    return reply({"name": name, "backends": await call.orchestrator.fleet.enable(name)})


async def disable(call: Call) -> web.Response:
    """Take an adapter out of service."""
    name, asked = call.part("name"), await call.read_optional(_decode_leave, _Leave())
    return reply({"name": name, "backends": await call.orchestrator.fleet.disable(name, drain_s=asked.drain_s)})


async def restart(call: Call) -> web.Response:
    """Make an adapter anew, with its settings as they are now."""
    name, asked = call.part("name"), await call.read_optional(_decode_leave, _Leave())
    return reply({"name": name, "backends": await call.orchestrator.fleet.restart(name, drain_s=asked.drain_s)})


ROUTES: Final = (
    Route("POST", "/backends/{backend}/pause", Access.OWNER, pause),
    Route("POST", "/backends/{backend}/resume", Access.OWNER, resume),
    Route("POST", "/backends/{backend}/drain", Access.OWNER, drain),
    Route("GET", "/adapters", Access.OWNER, adapters),
    Route("POST", "/adapters/{name}/enable", Access.OWNER, enable),
    Route("POST", "/adapters/{name}/disable", Access.OWNER, disable),
    Route("POST", "/adapters/{name}/restart", Access.OWNER, restart),
)

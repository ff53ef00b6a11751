"""Notification rules over HTTP, ``/hooks/v1``: our own contract, strict. Times are Unix milliseconds.

===========================================  ================================================================
``POST /hooks/v1``                           ``{"channel", "target"}`` and any of ``kinds``, ``backend``, ``tag``,
                                             ``name``, ``children`` -> the hook; the only time secrets are told
``GET /hooks/v1``                            ``{"hooks"}``
``GET``, ``PATCH``, ``DELETE`` ``/{id}``     one hook; ``PATCH`` takes ``enabled`` and all but ``channel``
``POST /{id}/test``                          deliver a ``hook.test`` at once -> ``{"verdict", "detail"}``
``GET /{id}/log``                            ``limit``, ``before`` -> ``{"attempts", "next"}``, latest first
``GET /{id}/deliveries``                     ``state`` (``dead``, ``pending``), ``limit`` -> ``{"deliveries"}``
``POST /{id}/redeliver``                     ``{"delivery"}``, or nothing for all dead ones -> ``{"redelivered"}``
``POST /{id}/rotate``                        a new secret beside the old one -> ``{"id", "secret"}``;
                                             ``{"finish": true}`` drops the old one -> ``{"id", "secret": null}``
===========================================  ================================================================
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from orchestrator.api.endpoint import Access, Call, Route, decoder, reply
from orchestrator.api.query import Query, refuse
from orchestrator.hooks import DEFAULT_KINDS, DeliveryState

PREFIX: Final = "/hooks/v1"
_PAGE: Final = 50
_MAX_PAGE: Final = 500

ProjectOf = Callable[[Call], str]


class _New(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    channel: str
    target: dict[str, Any]
    kinds: list[str] = msgspec.field(default_factory=lambda: list(DEFAULT_KINDS))
    backend: str | None = None
    tag: str | None = None
    name: str | None = None
    children: bool = False


class _Changes(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    target: dict[str, Any] | UnsetType = UNSET
    kinds: list[str] | UnsetType = UNSET
    backend: str | UnsetType | None = UNSET
    tag: str | UnsetType | None = UNSET
    name: str | UnsetType | None = UNSET
    children: bool | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


class _Redeliver(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    delivery: str | None = None


class _Rotate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    finish: bool = False


_decode_new = decoder(_New)
_decode_changes = decoder(_Changes)
_decode_redeliver = decoder(_Redeliver)
_decode_rotate = decoder(_Rotate)


def routes(access: Access, project_of: ProjectOf) -> tuple[Route, ...]:
    """The routes, for whoever `access` admits, in the project that `project_of` tells."""

    def route(method: str, path: str, handle: Callable[[Call, str], Awaitable[web.Response]]) -> Route:
        async def handler(call: Call) -> web.Response:
            return await handle(call, project_of(call))

        return Route(method, PREFIX + path, access, handler)

    return (
        route("POST", "", _add),
        route("GET", "", _list),
        route("GET", "/{id}", _get),
        route("PATCH", "/{id}", _update),
        route("DELETE", "/{id}", _remove),
        route("POST", "/{id}/test", _test),
        route("GET", "/{id}/log", _log),
        route("GET", "/{id}/deliveries", _deliveries),
        route("POST", "/{id}/redeliver", _redeliver),
        route("POST", "/{id}/rotate", _rotate),
    )


async def _add(call: Call, project: str) -> web.Response:
    given = await call.read(_decode_new)
    hook = await call.orchestrator.hooks.add(
        given.channel,
        given.target,
        kinds=given.kinds,
        backend=given.backend,
        tag=given.tag,
        name=given.name,
        children=given.children,
        project=project,
    )
    return reply(hook, 201)


async def _list(call: Call, project: str) -> web.Response:
    hooks = call.orchestrator.hooks
    return reply({"hooks": [await hooks.shown(hook) for hook in hooks.list(project=project)]})


async def _get(call: Call, project: str) -> web.Response:
    hooks = call.orchestrator.hooks
    return reply(await hooks.shown(hooks.get(call.part("id"), project=project)))


async def _update(call: Call, project: str) -> web.Response:
    changes = msgspec.structs.asdict(await call.read(_decode_changes))
    given = {name: value for name, value in changes.items() if value is not UNSET}
    hooks = call.orchestrator.hooks
    return reply(await hooks.shown(await hooks.update(call.part("id"), project=project, **given)))


async def _remove(call: Call, project: str) -> web.Response:
    await call.orchestrator.hooks.remove(call.part("id"), project=project)
    return reply({"id": call.part("id")})


async def _test(call: Call, project: str) -> web.Response:
    return reply(await call.orchestrator.hooks.test(call.part("id"), project=project))


async def _log(call: Call, project: str) -> web.Response:
    query = Query(call)
    limit = query.clamped("limit", _PAGE, _MAX_PAGE)
    before = query.number("before", 0) or None
    attempts = await call.orchestrator.hooks.log(call.part("id"), project=project, limit=limit, before=before)
    return reply({"attempts": attempts, "next": attempts[-1].position if len(attempts) == limit else None})


async def _deliveries(call: Call, project: str) -> web.Response:
    query = Query(call)
    limit = query.clamped("limit", _PAGE, _MAX_PAGE)
    state = query.text("state") or DeliveryState.DEAD
    hooks = call.orchestrator.hooks
    listing = {DeliveryState.DEAD: hooks.dead, DeliveryState.PENDING: hooks.pending}
    if state not in listing:
        raise refuse("state", f"state must be one of {', '.join(listing)}")
    return reply({"deliveries": await listing[DeliveryState(state)](call.part("id"), project=project, limit=limit)})


async def _redeliver(call: Call, project: str) -> web.Response:
    wanted = await call.read_optional(_decode_redeliver, _Redeliver())
    number = await call.orchestrator.hooks.redeliver(call.part("id"), wanted.delivery, project=project)
    return reply({"redelivered": number})


async def _rotate(call: Call, project: str) -> web.Response:
    wanted = await call.read_optional(_decode_rotate, _Rotate())
    hooks, hook_id = call.orchestrator.hooks, call.part("id")
    if wanted.finish:
        await hooks.finish_rotation(hook_id, project=project)
        return reply({"id": hook_id, "secret": None})
    _, secret = await hooks.rotate(hook_id, project=project)
    return reply({"id": hook_id, "secret": secret})

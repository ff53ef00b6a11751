"""What every route has in common: its place in a table, and everything around its handler.

A route is a row of data; its `Access` is not optional, so none can be open by accident. `endpoint` turns a
row into an aiohttp handler that authenticates, maps errors, names the request and counts it. It stands in
for a middleware: one closure per route, built once.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar
from urllib.parse import urlsplit

import msgspec
import structlog
from aiohttp import HttpVersion10, HttpVersion11, web

from orchestrator.api.errors import Internal, NotFound, OriginNotAllowed, Unauthorized, answer, codeless
from orchestrator.api.limits import Connection
from orchestrator.api.strict import Reader
from orchestrator.errors import InvalidRequest, OrchestratorError

if TYPE_CHECKING:
    from orchestrator.accounts import Principal
    from orchestrator.service import Orchestrator
    from orchestrator.telemetry import Telemetry

T = TypeVar("T")
Handler = Callable[["Call"], Awaitable[web.StreamResponse]]
Endpoint = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = structlog.get_logger()

REQUEST_ID: Final = "X-Request-ID"
_JSON: Final = {"Content-Type": "application/json"}
_VERSIONS: Final = frozenset({HttpVersion10, HttpVersion11})
_SAFE: Final = frozenset({"GET", "HEAD"})


class Access(Enum):
    """Who may use a route."""

    OPEN = "open"
    """Anyone; a valid key is noticed, a bad one ignored."""
    KEY = "key"
    """Holders of a project's key, for that project."""
    OWNER = "owner"
    """Whoever may open the admin socket: the owner of the data folder."""


class Route(NamedTuple):
    """One row of a route table; `path` is relative to the surface's prefix.

    `pages`: scripts of pages of the allowed origins may read its answers.
    """

    method: str
    path: str
    access: Access
    handle: Handler
    pages: bool = False


@dataclass(frozen=True)
class Surface:
    """A prefix and its routes. A vendor surface answers only the vendor's documented statuses."""

    prefix: str
    routes: Sequence[Route]
    vendor: bool = True


@dataclass(frozen=True, eq=False)
class Context:
    """What the routes of one application share."""

    orchestrator: Orchestrator
    telemetry: Telemetry
    reader: Reader
    origins: Collection[str] = ()


class Call:
    """One request in a handler's hands.

    Attributes:
        principal: Who asks; None on routes that are open.
        request_id: Stands in the answer's headers and in the log.
    """

    __slots__ = ("context", "orchestrator", "principal", "request", "request_id")

    def __init__(self, request: web.Request, context: Context, principal: Principal | None, request_id: str) -> None:
        self.request = request
        self.request_id = request_id
        self.context = context
        self.orchestrator = context.orchestrator
        self.principal = principal

    @property
    def project(self) -> str:
        """The project everything is done in and for."""
        if self.principal is None:
            raise Unauthorized
        return self.principal.project_id

    def part(self, name: str) -> str:
        """A variable part of the path."""
        return self.request.match_info[name]

    def read(self, decode: Callable[[bytes], T], *, bulk: str = "") -> Awaitable[T]:
        """The body, strictly read, as `decode` makes it; see `Reader.read`."""
        return self.context.reader.read(self.request, decode, bulk=bulk)

    def read_optional(self, decode: Callable[[bytes], T], absent: T) -> Awaitable[T]:
        """As `read`; `absent` where there is no body."""
        return self.context.reader.read_optional(self.request, decode, absent)


def reply(body: object, status: int = 200) -> web.Response:
    """A JSON answer."""
    return reply_bytes(msgspec.json.encode(body), status)


def reply_bytes(body: bytes, status: int = 200) -> web.Response:
    """A JSON answer that is encoded already."""
    return web.Response(body=body, status=status, headers=_JSON)


def decoder(shape: type[T]) -> Callable[[bytes], T]:
    """A decoder of bodies whose errors name the member.

    Raises (the decoder):
        InvalidRequest: A member is missing or of the wrong type.
    """
    typed = msgspec.json.Decoder(shape)

    def decode(body: bytes) -> T:
        try:
            return typed.decode(body)
        except msgspec.ValidationError as error:
            raise wrong(error) from None
        except msgspec.DecodeError:
            raise InvalidRequest("the body is not JSON", code="invalid_json") from None

    return decode


def wrong(error: msgspec.ValidationError, root: str = "") -> InvalidRequest:
    """A refusal that names the member msgspec complains about; msgspec's texts hold no values."""
    message, _, place = str(error).partition(" - at `$")
    member = place.rstrip("`").lstrip(".")
    if message.startswith("Object missing required field"):
        missing = message.split("`")[1]
        member = f"{member}.{missing}" if member else missing
        return _named(f"{missing} is required", "missing_field", root, member)
    if message.startswith("Object contains unknown field"):
        unknown = message.split("`")[1]
        return _named(f"unknown field {unknown}", "unknown_field", root, f"{member}.{unknown}" if member else unknown)
    return _named(message.replace("`", ""), "wrong_type", root, member)


def _named(message: str, code: str, root: str, member: str) -> InvalidRequest:
    name = ".".join(filter(None, (root, member)))
    return InvalidRequest(message, code=code, fields=(name,) if name else ())


def check_origin(request: web.Request, origins: Collection[str]) -> None:
    """Browsers tell the page's origin; pages of other origins are refused unless allowed by name.

    Raises:
        OriginNotAllowed: This one is not.
    """
    origin = request.headers.get("Origin")
    if origin is None or origin in origins:
        return
    try:
        own = urlsplit(origin).netloc == request.host
    except ValueError:  # not even an address
        own = False
    if not own:
        raise OriginNotAllowed


def shared(request: web.Request, origins: Collection[str]) -> dict[str, str]:
    """The headers by which a browser lets the asking page read an answer: one of the allowed origins, by name."""
    headers = {"Vary": "Origin"}
    if (origin := request.headers.get("Origin")) in origins and origin is not None:
        headers |= {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": REQUEST_ID}
    return headers


def endpoint(route: Route, context: Context, *, vendor: bool, label: str) -> Endpoint:
    """The aiohttp handler of a route.

    Args:
        route: The row.
        context: What the application's routes share.
        vendor: Whether errors keep to the vendor's statuses.
        label: The route's name in metrics: its full path with placeholders.
    """
    access, handle = route.access, route.handle
    if not isinstance(access, Access):
        raise TypeError(f"{route.method} {label} does not say who may use it")
    authenticate = context.orchestrator.accounts.authenticate
    counts = context.telemetry.requests
    identify = request_ids()
    closed = access is Access.KEY
    owner = access is Access.OWNER

    def admit(request: web.Request) -> Principal | None:
        if request.version not in _VERSIONS:
            raise InvalidRequest("speak HTTP/1.1", code="unsupported_version", source="headers")
        if request.method not in _SAFE:
            check_origin(request, context.origins)
        if owner:
            return None
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        principal = authenticate(key) if scheme.lower() == "apikey" else None
        if closed and principal is None:
            raise Unauthorized
        return principal

    async def respond(request: web.Request) -> web.StreamResponse:
        connection = request.protocol
        if isinstance(connection, Connection):
            connection.head_complete()
        request_id = identify()
        try:
            response = await handle(Call(request, context, admit(request), request_id))
        except OrchestratorError as error:
            response = answer(error, vendor=vendor, code=not codeless(request))
            if response.status >= 500 and not isinstance(error, InvalidRequest):
                log.exception("request failed", route=label, request_id=request_id, code=error.code)
        except ConnectionError:
            raise
        except Exception:
            log.exception("request raised", route=label, request_id=request_id)
            response = answer(Internal(), vendor=vendor, code=not codeless(request))
        if not response.prepared:
            response.headers[REQUEST_ID] = request_id
            if route.pages:
                response.headers.update(shared(request, context.origins))
        counts[label, route.method, response.status] += 1
        return response

    return respond


def request_ids() -> Callable[[], str]:
    """Ids that are unique and cheap: a random word and a count."""
    word, numbers = os.urandom(8).hex(), itertools.count(1)
    return lambda: f"{word}-{next(numbers):x}"


async def nowhere(call: Call) -> web.StreamResponse:
    """The answer of every path that is no route."""
    raise NotFound


def install(router: web.UrlDispatcher, surfaces: Sequence[Surface], context: Context) -> None:
    """Put the routes of the surfaces into a router, and an answer for every other path below their prefixes."""
    for surface in surfaces:
        rest = Route("*", "/{rest:.*}", Access.OPEN, nowhere)
        for route in (*surface.routes, rest):
            label = surface.prefix + route.path
            router.add_route(route.method, label, endpoint(route, context, vendor=surface.vendor, label=label))

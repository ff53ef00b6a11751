"""From errors to HTTP answers: which status, which body.

The vendor's routes answer only the statuses its contract documents; our own routes are free to be exact.
Both keep our stable ``code`` in the body.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from aiohttp import web

from orchestrator.errors import CursorExpired, InvalidRequest, OrchestratorError

_KINDS: Final = {
    400: "Bad Request",
    401: "Unauthorized Error",
    403: "Forbidden Error",
    404: "Not Found Error",
    408: "Request Timeout",
    409: "Conflict",
    410: "Gone",
    413: "Payload Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
    507: "Insufficient Storage",
}

_STATUS_OF: Final[Mapping[str, int]] = {
    "unauthorized": 401,
    "insufficient_scope": 403,
    "origin_not_allowed": 403,
    "not_entitled": 403,
    "not_found": 404,
    "body_timeout": 408,
    "illegal_transition": 409,
    "idempotency_in_progress": 409,
    "cursor_expired": 410,
    "body_too_large": 413,
    "unsupported_encoding": 415,
    "unknown_field": 422,
    "channel_unavailable": 422,
    "adapter_unavailable": 422,
    "settings": 422,
    "url_not_allowed": 422,
    "invalid_address": 422,
    "wrong_type": 422,
    "exceeds_backend": 422,
    "idempotency_mismatch": 422,
    "rate_limited": 429,
    "quota_exceeded": 429,
    "internal": 500,
    "unavailable": 503,
    "unsupported_version": 505,
    "storage_full": 507,
}

#: Statuses of our own routes that the vendor's contract does not know.
_VENDOR: Final[Mapping[int, int]] = {408: 400, 409: 400, 410: 400, 415: 400, 422: 400, 505: 400, 507: 503}
_RETRY_AFTER_S: Final = "1"


class Unauthorized(OrchestratorError):
    """No key, or one that is malformed, unknown or revoked: all look the same."""

    code = "unauthorized"

    def __init__(self) -> None:
        super().__init__("a valid API key is needed: Authorization: apiKey <key>")


class Forbidden(OrchestratorError):
    """The caller is known and may not do this."""

    code = "not_entitled"


class OriginNotAllowed(OrchestratorError):
    """A browser page of a foreign origin asks."""

    code = "origin_not_allowed"

    def __init__(self) -> None:
        super().__init__("this origin may not connect")


class NotFound(OrchestratorError):
    """There is nothing at this path."""

    code = "not_found"

    def __init__(self, message: str = "not found") -> None:
        super().__init__(message)


class Internal(OrchestratorError):
    """Our own mistake; the log knows more."""

    code = "internal"

    def __init__(self) -> None:
        super().__init__("an unexpected error occurred; the request id helps to find it")


def codeless(request: web.Request) -> bool:
    """Whether qiskit-ionq asks: for it, a ``code`` marks an older kind of body, in which it reads no ``error``."""
    return request.headers.get("User-Agent", "").startswith("qiskit-ionq/")


def status_of(error: OrchestratorError, *, vendor: bool) -> int:
    """The HTTP status of an error."""
    code = error.code
    status = _STATUS_OF.get(code)
    if status is None:
        exact = code.endswith("_out_of_range")
        status = 422 if exact else 400 if isinstance(error, InvalidRequest) else 500
    return _VENDOR.get(status, status) if vendor else status


def answer(error: OrchestratorError, *, vendor: bool, code: bool = True) -> web.Response:
    """The answer that tells an error (reference, section 2).

    Args:
        error: What happened.
        vendor: Whether the route is the vendor's.
        code: Whether the caller can bear a ``code``; see `codeless`.
    """
    status = status_of(error, vendor=vendor)
    body: dict[str, object] = {"statusCode": status, "error": _KINDS[status], "message": str(error)}
    if isinstance(error, InvalidRequest) and error.fields:
        body["validation"] = {"keys": error.fields, "source": error.source}
    if code:
        body["code"] = error.code
    if isinstance(error, CursorExpired):
        body["resume"] = error.resume
    headers = {"Content-Type": "application/json"}
    if status in {429, 503, 507}:
        headers["Retry-After"] = _RETRY_AFTER_S
    return web.Response(body=msgspec.json.encode(body), status=status, headers=headers)

"""The one strict reader of request bodies.

Every body is UTF-8 JSON that nests at most 32 deep, repeats no key, holds no NaN, infinity or number
beyond 64 bits, no lone surrogate and no U+0000. Anything else is refused here, under its own code, before
a typed decoder sees it. The checks run in the C scanner of `json`; the rules for keys and numbers, and how
the member that breaks one is found, are in `values`.

A large body is checked and decoded in a thread, at most two at a time. The hooks are Python functions,
so the interpreter lets the event loop run between any two objects or numbers; lists of nothing but
strings are bounded by number instead.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Final, TypeVar

import aiohttp
import anyio
import anyio.to_thread
from aiohttp import web

from orchestrator.api.values import checker, offending
from orchestrator.errors import InvalidRequest

T = TypeVar("T")

MAX_BODY: Final = 10 * 1024 * 1024
MAX_DEPTH: Final = 32
#: A job of 150,000 gates in their longest spelling stays below both.
MAX_VALUES: Final = 1_000_000
MAX_STRINGS: Final = 800_000
#: Bodies above this leave the event loop.
LARGE: Final = 256 * 1024
DEADLINE_S: Final = 30.0
#: Large bodies held in memory at one time, and decoded at one time.
_HELD, _DECODED = 8, 2

_NOT_STRUCTURE: Final = bytes(set(range(256)) - set(b'[]{}"'))
_STRING: Final = re.compile(rb'"[^"]*"')
#: After the escaped backslashes are gone: U+0000, or half of a surrogate pair without the other.
_BAD_ESCAPE: Final = re.compile(
    rb"\\u(?:(0000)|[dD](?:[89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    rb"|[c-fC-F](?<!\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F])))"
)


_scan: Final = checker.scan_once  # type: ignore[attr-defined]  # the type stubs lack it


def check(body: bytes, bulk: str = "") -> None:
    """Refuse a body that is not strict JSON; see the module for what that means.

    Args:
        body: The whole body.
        bulk: The member to name when there are far too many values.

    Raises:
        InvalidRequest: With the code of the first rule it breaks; names the member if that is a key or a number.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise InvalidRequest("the body is not UTF-8", code="invalid_unicode") from None
    if b"\0" in body:
        raise InvalidRequest("U+0000 is not allowed", code="invalid_character")
    if len(body) > LARGE:
        _check_amount(body, bulk)
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH:
        _check_depth(body)
    if b"\\u" in body:
        _check_escapes(body)
    try:
        if text.startswith("{"):
            _, end = _scan(text, 0)
            if end == len(text):
                return
        checker.decode(text)  # tolerates white space around, says where it is malformed
    except (json.JSONDecodeError, StopIteration) as error:
        where = f": line {error.lineno} column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise InvalidRequest(f"the body is not JSON{where}", code="invalid_json") from None
    except RecursionError:
        raise _too_deep() from None
    except InvalidRequest as error:
        raise InvalidRequest(str(error), code=error.code, fields=offending(text)) from None


def _too_deep() -> InvalidRequest:
    return InvalidRequest(f"the body nests more than {MAX_DEPTH} levels", code="json_too_deep")


def _check_amount(body: bytes, bulk: str) -> None:
    """Refuse floods of values, each far beyond what a job of 150,000 gates needs.

    Lists and members count in proportion to objects, at which the interpreter lets other threads run.
    """
    objects = _count(body, b"{")
    if (
        _count(body, b",") > MAX_VALUES
        or _count(body, b'"') > 2 * MAX_STRINGS
        or _count(body, b"[") > 50_000 + 4 * objects
        or _count(body, b":") > 100_000 + 8 * objects
    ):
        message = "there are more values than a job of 150,000 gates needs"
        raise InvalidRequest(message, code="values_out_of_range", fields=(bulk,) if bulk else ())


def _count(body: bytes, character: bytes) -> int:
    """As `bytes.count`, for characters that are frequent."""
    return len(body) - len(body.translate(None, character))


def _check_depth(body: bytes) -> None:
    """Peel the brackets, innermost first: what is left after `MAX_DEPTH` rounds lies deeper or is malformed."""
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    shape = body.translate(None, _NOT_STRUCTURE).replace(b'""', b"")
    if b'"' in shape:
        shape = _STRING.sub(b"", shape)
    for _ in range(MAX_DEPTH):
        if not shape:
            return
        peeled = shape.replace(b"{}", b"").replace(b"[]", b"")
        if len(peeled) == len(shape):
            return  # unbalanced: the scanner says where
        shape = peeled
    if shape:
        raise _too_deep()


def _check_escapes(body: bytes) -> None:
    found = _BAD_ESCAPE.search(body.replace(b"\\\\", b""))
    if found is not None and found[1]:
        raise InvalidRequest("U+0000 is not allowed", code="invalid_character")
    if found is not None:
        raise InvalidRequest("a surrogate stands alone", code="invalid_unicode")


class Reader:
    """Reads bodies for one application: strictly, within the size limit and in time."""

    def __init__(self, *, deadline_s: float = DEADLINE_S) -> None:
        self._deadline_s = deadline_s
        self._held = asyncio.Semaphore(_HELD)
        self._decoded = anyio.CapacityLimiter(_DECODED)

    async def read(self, request: web.Request, decode: Callable[[bytes], T], *, bulk: str = "") -> T:
        """The body as `decode` makes it. `decode` may run in a thread.

        Args:
            request: Its body must not have been read.
            decode: From checked bytes to a value.
            bulk: The member that makes a body large, for refusals of its size.

        Raises:
            InvalidRequest: The body breaks a rule, or whatever `decode` raises.
        """
        length = request.content_length
        if length is not None and length > MAX_BODY:
            raise _too_large()
        encoding = request.headers.get("Content-Encoding")
        if encoding is not None and encoding.lower() != "identity":
            raise InvalidRequest(
                "send the body without a content encoding",
                code="unsupported_encoding",
                fields=("Content-Encoding",),
                source="headers",
            )
        if length is not None and length <= LARGE:
            content = request.content
            # Usually a small body came together with its head, and there is nothing to wait for.
            body = content.read_nowait() if content.is_eof() else await self._receive(content)
            check(body)
            return decode(body)
        async with self._held:
            body = await self._receive(request.content)
            if len(body) <= LARGE:
                check(body)
                return decode(body)

            def checked() -> T:
                check(body, bulk)
                return decode(body)

            return await anyio.to_thread.run_sync(checked, limiter=self._decoded)

    async def read_optional(self, request: web.Request, decode: Callable[[bytes], T], absent: T) -> T:
        """As `read`, with `absent` for a request that has no body or an empty one."""
        if not request.can_read_body:
            return absent
        return await self.read(request, lambda body: decode(body) if body else absent)

    async def _receive(self, content: aiohttp.StreamReader) -> bytes:
        try:
            async with asyncio.timeout(self._deadline_s):
                return await _collect(content)
        except TimeoutError:
            raise InvalidRequest("the body did not arrive in time", code="body_timeout") from None
        except web.RequestPayloadError:
            raise InvalidRequest("the body is cut off", code="invalid_json") from None


async def _collect(content: aiohttp.StreamReader) -> bytes:
    chunks, size = [], 0
    while chunk := await content.readany():
        size += len(chunk)
        if size > MAX_BODY:
            raise _too_large()
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large() -> InvalidRequest:
    return InvalidRequest(f"the body exceeds {MAX_BODY:,} bytes", code="body_too_large")

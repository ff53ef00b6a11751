"""What an answer says: its body, a refusal's words, and when to ask again."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeVar

import anyio.to_thread
import msgspec

from orchestrator_remote_cloud.transport import Answer, Foreign

T = TypeVar("T")

#: An answer beyond this many bytes is decoded off the event loop.
_LARGE: Final = 262_144
#: Characters of a remote's words that are kept.
_MESSAGE: Final = 500


async def read(shape: type[T], body: bytes) -> T:
    """The body of a good answer.

    Raises:
        Foreign: It is not of that shape; says why.
    """
    if len(body) > _LARGE:
        return await anyio.to_thread.run_sync(decoded, shape, body)
    return decoded(shape, body)


def decoded(shape: type[T], body: bytes) -> T:
    """As `read`, at once. NaN and infinity, which are no JSON but are sent, are read: whoever uses them looks."""
    try:
        return msgspec.json.decode(body, type=shape, strict=False)
    except msgspec.ValidationError as error:
        raise Foreign(f"not an answer of this API: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        reason = str(error)
    try:
        return msgspec.convert(json.loads(body), shape, strict=False, str_keys=True)
    except (ValueError, RecursionError):
        raise Foreign(f"not an answer of this API: {reason}") from None


def refusal(answer: Answer, key: str | None) -> tuple[str, str]:
    """Code and message of a refusal, the key struck out: some clouds repeat it, and these words are shown."""
    try:
        body = msgspec.json.decode(answer.body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        body = {}
    code = str(body.get("code") or body.get("error") or answer.status)
    message = str(body.get("message") or f"HTTP {answer.status}")
    if key:
        code, message = (text.replace(key, "[key]") for text in (code, message))
    return code, message[:_MESSAGE]


def retry_after_s(value: str | None, now_ms: int) -> float | None:
    """Seconds until the time a ``Retry-After`` names, as a number of seconds or as a date; None if it names none."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    at = date(text)
    return None if at is None else max(0.0, at.timestamp() - now_ms / 1000)


def date(text: str | None) -> datetime | None:
    """A date of HTTP; None where there is none."""
    if text is None:
        return None
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)

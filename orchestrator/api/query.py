"""Query parameters: read leniently where clients are lax, refused by name where they are wrong.

Unknown parameters are ignored. One client sends ``{"limit": n}`` as the body of ``GET /jobs``; members of a
body stand in for parameters that the query lacks.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from orchestrator.api.endpoint import Call, decoder
from orchestrator.errors import InvalidRequest

#: Longest page of jobs; longer ones are asked for and silently shortened.
MAX_PAGE: Final = 200
PAGE: Final = 25
_DAY_MS: Final = 86_400_000

_decode_fallback = decoder(dict[str, Any])


def refuse(field: str, message: str, code: str = "invalid_request") -> InvalidRequest:
    """A refusal of one parameter."""
    return InvalidRequest(message, code=code, fields=(field,), source="query")


class Query:
    """The parameters of one request."""

    def __init__(self, call: Call, fallback: dict[str, Any] | None = None) -> None:
        self._given = call.request.query
        self._fallback = fallback or {}

    def text(self, name: str) -> str | None:
        """A parameter, None where it is absent or empty."""
        value = self._given.get(name)
        if value is None and (other := self._fallback.get(name)) is not None:
            value = str(other)
        return value or None

    def texts(self, *names: str) -> list[str]:
        """All values of a repeatable parameter, under any of its spellings."""
        return [value for name in names for value in self._given.getall(name, ())]

    def number(self, name: str, default: int) -> int:
        """A whole number.

        Raises:
            InvalidRequest: It is something else.
        """
        text = self.text(name)
        if text is None:
            return default
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
            raise refuse(name, f"{name} must be a whole number", "wrong_type")
        return int(text)

    def clamped(self, name: str, default: int, high: int) -> int:
        """A whole number, moved into 1 to `high`."""
        return min(max(self.number(name, default), 1), high)

    def within(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number.

        Raises:
            InvalidRequest: It is not between `low` and `high`.
        """
        value = self.number(name, default)
        if not low <= value <= high:
            raise refuse(name, f"{name} must be between {low:,} and {high:,}", f"{name}_out_of_range")
        return value

    def flag(self, name: str) -> bool:
        """A boolean, in any letter case; anything but true is false."""
        return (self.text(name) or "").lower() == "true"

    def date_ms(self, name: str, *, end: bool = False) -> int | None:
        """A date or time as Unix milliseconds; a bare date means its first moment, or its last for an `end`.

        Raises:
            InvalidRequest: It is neither.
        """
        text = self.text(name)
        if text is None:
            return None
        try:
            moment = datetime.fromisoformat(text)
            at_ms = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
        except (ValueError, OverflowError):
            raise refuse(name, f"{name} must be a date such as 2026-01-31 or an ISO 8601 time") from None
        return at_ms + _DAY_MS - 1 if end and len(text) == len("2026-01-31") else at_ms


async def with_fallback(call: Call) -> Query:
    """The parameters of a request whose body may hold some."""
    body: dict[str, Any] | msgspec.UnsetType = await call.read_optional(_decode_fallback, msgspec.UNSET)
    return Query(call, None if body is msgspec.UNSET else body)

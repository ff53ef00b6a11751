"""Times of the domain (Unix milliseconds) as the two API versions write them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import overload


@overload
def iso(at_ms: int) -> str: ...
@overload
def iso(at_ms: int | None) -> str | None: ...
def iso(at_ms: int | None) -> str | None:
    """ISO 8601 in UTC with milliseconds and ``Z`` (v0.4)."""
    if at_ms is None:
        return None
    return f"{datetime.fromtimestamp(at_ms // 1000, UTC):%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03d}Z"


def seconds(at_ms: int | None) -> int | None:
    """Whole Unix seconds (v0.3)."""
    return None if at_ms is None else at_ms // 1000

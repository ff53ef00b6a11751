"""When somebody who answers over HTTP wants to be asked again."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from orchestrator.clock import Clock

_LONGEST: Final = 64


def retry_after(value: str | None, clock: Clock, limit_s: float) -> float | None:
    """Seconds a ``Retry-After`` header asks for, given as a number or a date; None if it says nothing.

    Args:
        value: The header.
        clock: What a date is compared with.
        limit_s: What is answered at most.
    """
    if value is None or len(value) > _LONGEST:
        return None
    if value.isascii() and value.isdigit():
        seconds = float(value)
    else:
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        seconds = (aware - datetime.fromtimestamp(clock.now_ms() / 1000, UTC)).total_seconds()
    return min(max(seconds, 0.0), limit_s)

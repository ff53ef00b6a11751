"""When a server wants to be asked again."""

from __future__ import annotations

import pytest

from orchestrator.retrying import retry_after
from orchestrator.testing.channel_checks import AT_MS
from orchestrator.testing.clock import ManualClock


@pytest.mark.parametrize(
    ("value", "expected"),
    [("120", 120.0), ("0", 0.0), ("99999999", 900.0), ("Thu, 01 Jan 2026 00:01:00 GMT", 60.0),
     ("Thu, 01 Jan 2015 00:00:00 GMT", 0.0), ("soon", None), ("-5", None), ("9" * 99, None), ("٣", None)],
)  # fmt: skip
def test_retry_after(value: str, expected: float | None) -> None:
    """Seconds and dates are understood, nonsense is not, and nobody may ask for more than the limit."""
    assert retry_after(value, ManualClock(AT_MS), 900.0) == expected
    assert retry_after(None, ManualClock(AT_MS), 900.0) is None

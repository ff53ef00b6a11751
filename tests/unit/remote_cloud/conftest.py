"""A cloud of the vendor's kind, and its time."""

from __future__ import annotations

import pytest

from orchestrator.testing.clock import ManualClock
from tests.unit.remote_cloud.scripted import Cloud


@pytest.fixture
def clock() -> ManualClock:
    """Time."""
    return ManualClock()


@pytest.fixture
def cloud(clock: ManualClock) -> Cloud:
    """A vendor's cloud."""
    return Cloud(clock)

"""Hooks that stumble are logged at length; here nobody reads that."""

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Log into a list."""
    with capture_logs():
        yield

"""Fixtures every room shares."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """Embedding supports the asyncio backend."""
    return "asyncio"

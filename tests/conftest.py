"""Fixtures every room shares."""

import hypothesis
import pytest

# What a test proves does not depend on how busy the machine is.
hypothesis.settings.register_profile("orchestrator", deadline=None)
hypothesis.settings.load_profile("orchestrator")


@pytest.fixture
def anyio_backend() -> str:
    """Embedding supports the asyncio backend."""
    return "asyncio"

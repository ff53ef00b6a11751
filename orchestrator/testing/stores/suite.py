"""The conformance kit of stores as a pytest class.

    class TestMyStore(StoreConformance):
        @pytest.fixture
        def store(self, clock: ManualClock) -> Store:
            return MyStore(clock)

Tests run on asyncio by anyio's pytest plugin, which comes with anyio.
"""

from __future__ import annotations

import pytest

from orchestrator.storage.abc import Store
from orchestrator.testing.clock import ManualClock
from orchestrator.testing.stores import CHECKS, Check, Opened


@pytest.mark.anyio
class StoreConformance:
    """Every check of the kit, on the store of the `store` fixture."""

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    @pytest.fixture
    def clock(self) -> ManualClock:
        """The clock to build the store with."""
        return ManualClock()

    @pytest.fixture
    def store(self, clock: ManualClock) -> Store:
        """A new store, not yet opened; override this."""
        raise NotImplementedError("override the store fixture")

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
    async def test_promise(self, check: Check, store: Store, clock: ManualClock) -> None:
        """The check's own docstring says what is promised."""
        async with Opened(store, clock) as opened:
            await check(opened)

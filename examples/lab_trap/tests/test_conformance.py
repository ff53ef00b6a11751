"""The adapter keeps the promises of the contract, over a real socket."""

from typing import Any

import pytest
from orchestrator.testing.adapter_kit import AdapterConformance, Bench

from lab_trap.adapter import LabTrapAdapter

from .conftest import Start


class TestConformance(AdapterConformance):
    """Each promise is a test of its own."""

    @pytest.fixture(scope="class")
    def settings(self, start: Start) -> dict[str, Any]:
        """They lead to one instrument, which loses no ion."""
        return start()

    @pytest.fixture
    def bench(self, settings: dict[str, Any]) -> Bench:
        """The adapter before that instrument."""
        return Bench(LabTrapAdapter, settings=settings)

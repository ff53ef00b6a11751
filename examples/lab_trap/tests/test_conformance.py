"""The adapter keeps the promises of the contract, over a real socket."""

import pytest
from orchestrator.testing.adapter_kit import AdapterConformance, Bench

from lab_trap.adapter import LabTrapAdapter

from .conftest import Start


class TestConformance(AdapterConformance):
    """Each promise is a test of its own."""

    @pytest.fixture
    def bench(self, start: Start) -> Bench:
        """The adapter before an instrument that loses no ion."""
        return Bench(LabTrapAdapter, settings=start())

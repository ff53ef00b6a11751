"""The adapter keeps the promises of the contract, over a real socket."""

from collections.abc import Iterator
from typing import Any

import pytest

from lab_trap.adapter import LabTrapAdapter
from lab_trap.instrument import running
from orchestrator.testing.adapter_kit import AdapterConformance, Bench


@pytest.fixture(scope="module")
def settings() -> Iterator[dict[str, Any]]:
    """They lead to one instrument, which loses no ion."""
    with running() as table:
        yield table


class TestConformance(AdapterConformance):
    """Each promise is a test of its own."""

    @pytest.fixture
    def bench(self, settings: dict[str, Any]) -> Bench:
        """The adapter before that instrument."""
        return Bench(LabTrapAdapter, settings=settings)

"""The adapters of this repository keep the adapter contract."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from orchestrator.backends.abc import Attempt
from orchestrator.testing.adapter_kit import AdapterConformance, Bench
from orchestrator.testing.adapters import ScriptedAdapter
from orchestrator_fault.adapter import FaultAdapter
from orchestrator_noise_model.adapter import NoiseModelAdapter
from orchestrator_trapped_ion.adapter import TrappedIonAdapter


class TestNoiseModel(AdapterConformance):
    """The simulator."""

    @pytest.fixture
    def bench(self) -> Bench:
        return Bench(NoiseModelAdapter, limit_s=60.0)


class TestTrappedIon(AdapterConformance):
    """The simulated machines: one of each class, waiting for nothing."""

    @pytest.fixture
    def bench(self) -> Bench:
        return Bench(
            TrappedIonAdapter, settings={"time_scale": 0.0}, backends=("qpu.aria-1", "qpu.forte-1"), limit_s=60.0
        )


class TestScripted(AdapterConformance):
    """What other tests are written with."""

    @pytest.fixture
    def bench(self) -> Bench:
        return Bench(Scripted)


class TestFaultless(AdapterConformance):
    """The simple form behind the plugin `fault` with no fault drawn: nothing is to be noticed of it."""

    @pytest.fixture
    def bench(self) -> Bench:
        return Bench(lambda: FaultAdapter(Scripted(instant_prepare=False)))


class TestFaultlessTrappedIon(AdapterConformance):
    """The full form behind the same."""

    @pytest.fixture
    def bench(self) -> Bench:
        inside = {"adapter": "trapped_ion", "settings": {"time_scale": 0.0}}
        return Bench(FaultAdapter, settings=inside, backends=("fault.qpu.aria-1",), limit_s=60.0)


class Scripted(ScriptedAdapter):
    """Vouches for what runs alone: tests have it vouch for all, or for nothing, as they need."""

    async def heartbeat(self, attempts: Sequence[Attempt]) -> Sequence[Attempt]:
        return [attempt for attempt in attempts if attempt in self.seen and attempt not in self.ended]

"""The conformance kit of adapters as a pytest class.

    class TestCoin(AdapterConformance):
        @pytest.fixture
        def bench(self) -> Bench:
            return Bench(CoinAdapter)

Nothing else is needed: each check runs on an event loop and a thread of its own, so that an adapter that hangs fails
its test and no other.
"""

from __future__ import annotations

import pytest

from orchestrator.testing.adapter_kit.bench import Bench, Skipped
from orchestrator.testing.adapter_kit.checks import CHECKS, Check, name_of
from orchestrator.testing.adapter_kit.examining import try_check


class AdapterConformance:
    """Every check of the kit, on the adapter of the `bench` fixture."""

    @pytest.fixture
    def bench(self) -> Bench:
        """The adapter, and how far to go with it; override this."""
        raise NotImplementedError("override the bench fixture")

    @pytest.mark.parametrize("check", CHECKS, ids=name_of)
    def test_promise(self, check: Check, bench: Bench) -> None:
        """The check's own docstring says what is promised."""
        try:
            try_check(check, bench)
        except Skipped as reason:
            pytest.skip(str(reason))

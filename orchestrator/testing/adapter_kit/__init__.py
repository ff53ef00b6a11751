"""The conformance kit of adapters: every promise of `orchestrator.backends.abc`, tried on a real orchestrator.

As a pytest class::

    from orchestrator.testing.adapter_kit import AdapterConformance, Bench

    class TestCoin(AdapterConformance):
        @pytest.fixture
        def bench(self) -> Bench:
            return Bench(CoinAdapter)

without any test file, ``pytest --adapter my_lab:CoinAdapter``; or from a program::

    report = await examine(Bench(CoinAdapter))
    print(report.render())

What an adapter declares decides which promises apply to it. `CHECKS` are the checks: plain coroutine functions that
take a `Bench` and raise AssertionError where the adapter breaks its word, or `Skipped`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.testing.adapter_kit.bench import Bench, Skipped
from orchestrator.testing.adapter_kit.checks import CHECKS, Check
from orchestrator.testing.adapter_kit.course import Course, examine
from orchestrator.testing.adapter_kit.examining import found, try_check
from orchestrator.testing.adapter_kit.report import Finding, Report, Verdict

if TYPE_CHECKING:
    from orchestrator.testing.adapter_kit.suite import AdapterConformance

__all__ = [
    "CHECKS",
    "AdapterConformance",
    "Bench",
    "Check",
    "Course",
    "Finding",
    "Report",
    "Skipped",
    "Verdict",
    "examine",
    "found",
    "try_check",
]


def __getattr__(name: str) -> Any:
    """`AdapterConformance`, which needs pytest; the rest does not."""
    if name == "AdapterConformance":
        from orchestrator.testing.adapter_kit.suite import AdapterConformance  # noqa: PLC0415

        return AdapterConformance
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

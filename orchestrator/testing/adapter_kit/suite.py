"""The conformance kit of adapters as a pytest class.

    class TestCoin(AdapterConformance):
        @pytest.fixture
        def bench(self) -> Bench:
            return Bench(CoinAdapter)

Nothing else is needed: each check runs on an event loop and a thread of its own, so that an adapter that hangs fails
its test and no other.
"""

from __future__ import annotations

from typing import Final

import pytest

from orchestrator.testing.adapter_kit.bench import Bench
from orchestrator.testing.adapter_kit.checks import CHECKS, Check, name_of
from orchestrator.testing.adapter_kit.course import Course
from orchestrator.testing.adapter_kit.report import Verdict

#: The courses of a class, by what its other fixtures are parametrized with: each makes an adapter of its own.
_COURSES: Final = pytest.StashKey[dict[tuple[tuple[str, int], ...], Course]]()


class AdapterConformance:
    """Every check of the kit, on the adapter of the `bench` fixture.

    After a broken `plain_job` the others are skipped; what is printed of a broken promise is its finding alone.
    """

    @pytest.fixture
    def bench(self) -> Bench:
        """The adapter, and how far to go with it; override this."""
        raise NotImplementedError("override the bench fixture")

    @pytest.mark.parametrize("check", CHECKS, ids=name_of)
    def test_promise(self, check: Check, bench: Bench, request: pytest.FixtureRequest) -> None:
        """The check's own docstring says what is promised."""
        finding = _course(request).found(check, bench)
        if finding.verdict is Verdict.SKIPPED:
            pytest.skip(finding.why)
        if finding.verdict is Verdict.BROKEN:
            pytest.fail(f"Not kept: {finding.promise}\n    {finding.why}", pytrace=False)


def _course(request: pytest.FixtureRequest) -> Course:
    others = {name: at for name, at in request.node.callspec.indices.items() if name != "check"}
    group = request.node.getparent(pytest.Class) or request.session
    courses: dict[tuple[tuple[str, int], ...], Course] = group.stash.setdefault(_COURSES, {})
    return courses.setdefault(tuple(sorted(others.items())), Course())

"""What an adapter offers is data, and checked like any: what cannot be is named at the start, and the others serve."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from orchestrator.backends.abc import Capabilities
from orchestrator.errors import AdapterUnavailable
from orchestrator.lifecycle import JobStatus
from orchestrator.service import Orchestrator
from orchestrator.testing.adapters import FLIP, ScriptedAdapter


class Odd(ScriptedAdapter):
    """Declares one thing that cannot be."""

    name = "odd"

    def __init__(self, member: str, value: Any) -> None:
        super().__init__()
        self.members: dict[str, Any] = {"backend": "odd", "qubits": 4, member: value}

    def capabilities(self) -> list[Capabilities]:
        return [Capabilities(**self.members)]


@pytest.mark.parametrize(
    ("member", "value", "told"),
    [
        ("qubits", "4", "$.qubits"),
        ("max_shots", None, "$.max_shots"),
        ("gatesets", "qis", "$.gatesets"),
        ("noise_models", ["aria-1"], "$.noise_models"),
        ("prices", 5, "$.prices"),
        ("run_limit_s", float("nan"), "$.run_limit_s"),
        ("concurrency", 0, "$.concurrency"),
        ("batch", 0, "$.batch"),
        ("location", "\ud800", "surrogates not allowed"),
    ],
)
async def test_capabilities_that_cannot_be_are_refused_by_name(member: str, value: Any, told: str) -> None:
    """Served, each submit and each listing of the backends would break on them."""
    with capture_logs():
        async with Orchestrator.open(adapters=[Odd(member, value), ScriptedAdapter()]) as service:
            [problem] = service.backends.problems
            assert problem.name == "odd"
            assert told in problem.reason
            job = await service.submit(FLIP, backend="scripted")
            assert (await service.wait(job.id)).status is JobStatus.COMPLETED


async def test_an_adapters_own_refusal_can_be_told() -> None:
    """Its words may hold what nothing can store or send."""

    class Refuses(ScriptedAdapter):
        name = "refuses"

        async def open(self, context: object) -> None:
            raise AdapterUnavailable(self.name, "no device \udcff")

    with capture_logs():
        async with Orchestrator.open(adapters=[Refuses()]) as service:
            assert [problem.reason for problem in service.backends.problems] == ["no device ?"]

"""When waiting jobs will probably start."""

from __future__ import annotations

from orchestrator.model import JobSpec
from orchestrator.testing.adapters import FLIP, ScriptedAdapter, serving
from orchestrator.testing.clock import ManualClock


class Predicting(ScriptedAdapter):
    """Every execution takes ten seconds, it says."""

    def predict_ms(self, spec: JobSpec) -> int | None:
        return 10_000


async def test_what_has_run_already_is_not_waited_for() -> None:
    """Predicted starts stay where they are while time passes; what runs longer than predicted may end at once."""
    clock, adapter = ManualClock(), Predicting(held=True, concurrency=1)
    async with serving(adapter, clock=clock) as orchestrator:
        jobs = [await orchestrator.submit(FLIP, backend="scripted") for _ in range(3)]
        await adapter.until_seen(1)
        for passed_s, waits_ms in ((0, [10_000, 20_000]), (4, [6_000, 16_000]), (20, [0, 10_000])):
            clock.advance(passed_s)
            places = list(orchestrator.forecast())
            assert [(place.job.id, place.position) for place in places] == [(jobs[1].id, 1), (jobs[2].id, 2)]
            assert [place.wait_ms for place in places] == waits_ms
            for place in places:
                assert orchestrator.predicted_wait_ms(place.job) == place.wait_ms

"""When waiting jobs will probably start."""

from __future__ import annotations

from pathlib import Path

from orchestrator.dispatch import queue
from orchestrator.model import JobRequest, JobSpec
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
            assert list(orchestrator.places_of([place.job.id for place in places], 9)) == places
            assert [(place.job.id, place.position) for place in places] == [(jobs[1].id, 1), (jobs[2].id, 2)]
            assert [place.wait_ms for place in places] == waits_ms
            for place in places:
                job = await orchestrator.get(place.job.id)
                assert orchestrator.predicted_wait_ms(job) == place.wait_ms


async def test_everyone_has_a_place_from_the_first_moment_after_a_restart(tmp_path: Path) -> None:
    """However little of the queue has been read yet: positions, waits and counts of all that wait."""
    clock = ManualClock()
    async with serving(Predicting(held=True, concurrency=1), data=tmp_path, clock=clock) as orchestrator:
        jobs = await orchestrator.submit_many([JobRequest(backend="scripted", circuits=(FLIP,))] * 50)
        family = await orchestrator.submit([FLIP] * 3, backend="scripted")
        ids = [job.id for job in jobs] + [child.id for child in await orchestrator.children(family.id)]
    async with serving(Predicting(held=True, concurrency=1), data=tmp_path, clock=clock) as orchestrator:
        shown = {entry.job.id for entry in orchestrator._dispatcher.lines["scripted"].ready.entries}
        assert len(shown) <= queue.FIRST_PAGE
        places = list(orchestrator.forecast())
        assert [place.job.id for place in places] == ids
        assert [(place.position, place.wait_ms) for place in places] == [(n + 1, 10_000 * n) for n in range(len(ids))]
        assert list(orchestrator.forecast(5)) == places[:5]
        assert list(orchestrator.places_of([ids[20]], 9)) == [places[20]]
        assert list(orchestrator.places_of([family.id], 2)) == places[50:52]
        last = (await orchestrator.children(family.id))[-1]
        assert orchestrator.predicted_wait_ms(last) == 520_000


async def test_a_pause_hides_when_but_not_where() -> None:
    """Places stay while nothing is handed out; jobs handed out and not yet started are in line no more."""
    adapter = Predicting(held=True, concurrency=1)
    async with serving(adapter, clock=ManualClock()) as orchestrator:
        first, second = [await orchestrator.submit(FLIP, backend="scripted") for _ in range(2)]
        await adapter.until_seen(1)
        await orchestrator.fleet.pause("scripted")
        assert [(place.job.id, place.position, place.wait_ms) for place in orchestrator.forecast()] == [
            (second.id, 1, None)
        ]
        await orchestrator.cancel([first.id, second.id])
        assert list(orchestrator.forecast()) == []

"""Checks of stops and crashes with work in hand."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from orchestrator.lifecycle import JobStatus
from orchestrator.model import Job
from orchestrator.testing.adapter_kit.bench import Bench, Skipped
from orchestrator.testing.adapter_kit.host import Host, hosted

#: Jobs on each backend, beyond what it holds at one time, and in all.
_WAITING: Final = 2
_MOST_JOBS: Final = 40
#: Awaits at which the stop or the crash comes, and whether they count from the first attempt handed over.
_MOMENTS: Final = ((1, False), (1, True), (2, True), (4, True))


async def check_stop(bench: Bench) -> None:
    """Stopped with work in hand, and started again: every job ends once."""
    for at, handed in _MOMENTS:
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder)
            async with hosted(bench, data=data) as host:
                jobs = await _in_hand(host, at, handed=handed)
            async with hosted(bench, data=data) as host:
                await _all_end(host, jobs, "was stopped")


async def check_crash(bench: Bench) -> None:
    """Killed with work in hand, and started again: every job ends once, and only attempts asked about are adopted."""
    for at, handed in _MOMENTS:
        with tempfile.TemporaryDirectory() as folder:
            before, after = Path(folder, "before"), Path(folder, "after")
            async with hosted(bench, data=before) as host:
                jobs = await _in_hand(host, at, handed=handed)
                host.snapshot(after)
            async with hosted(bench, data=after) as host:
                await _all_end(host, jobs, "was killed")


async def check_ended(bench: Bench) -> None:
    """Where it `recovers`, it follows `Ready.ended` while it serves, and names there every job that it adopts."""
    for at, handed in _MOMENTS:
        with tempfile.TemporaryDirectory() as folder:
            before, after = Path(folder, "before"), Path(folder, "after")
            async with hosted(bench, data=before) as host:
                if not any(each.recovers for each in host.backends):
                    raise Skipped("it declares no recovers")
                jobs = await _in_hand(host, at, handed=handed)
                host.snapshot(after)
            async with hosted(bench, data=after) as host:
                adopted = {attempt.id for _, answered in host.watch.recovered for attempt in answered}
                await _all_end(host, jobs, "was killed")
                for backend in host.backends:
                    assert not backend.recovers or backend.backend in host.watch.followed, (
                        f"on {backend.backend}, it does not follow Ready.ended: what it left running elsewhere runs on "
                        f"for jobs that are canceled meanwhile"
                    )
                assert adopted <= host.watch.named, (
                    "it adopted jobs and did not name them to Ready.ended: it does not learn of those that were "
                    "canceled before it served"
                )


async def _in_hand(host: Host, at: int, *, handed: bool) -> list[Job]:
    """Jobs on every backend, some of them taken, the adapter frozen."""
    frost = await host.freezing(at, handed=handed)
    jobs: list[Job] = []
    for backend in host.backends:
        number = min(backend.concurrency * backend.batch + _WAITING, _MOST_JOBS)
        jobs += await host.submit_all(backend, [host.bench.circuit(backend, 1)] * number)
    await host.frozen(frost, *jobs)
    return jobs


async def _all_end(host: Host, jobs: Sequence[Job], what: str) -> None:
    for asked, answered in host.watch.recovered:
        strangers = [each for each in answered if not any(each is one for one in asked)]
        assert not strangers, (
            "recover answered attempts that it was not asked about: it has to choose among those given"
        )
        if not all(each.recovers for each in host.backends):
            declared = {each.backend for each in host.backends if each.recovers}
            assert all(each.job.backend in declared for each in answered), (
                "it adopted attempts, and declares no recovers"
            )
    for job in jobs:
        ended = await host.ended(job, f"a job in hand when the service {what}")
        assert ended.status is JobStatus.COMPLETED, f"a job in hand when the service {what} is {ended.status}"
    report = await host.orchestrator.verify()
    assert not report.problems, report.problems[0]

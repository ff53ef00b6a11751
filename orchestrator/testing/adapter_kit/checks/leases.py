"""Checks of attempts: how many are held, who vouches for them, and what becomes of those that lost their lease."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from orchestrator.backends.abc import Attempt, Capabilities
from orchestrator.events import Event, EventKind
from orchestrator.lifecycle import JobStatus
from orchestrator.model import Job
from orchestrator.testing.adapter_kit.bench import Bench, Skipped
from orchestrator.testing.adapter_kit.host import Host, hosted
from orchestrator.testing.adapter_kit.watch import overrides

#: Length of a lease that is to end, seconds.
_LEASE_S: Final = 0.5
#: Awaits at which leases are let end.
_AWAITS: Final = (1, 2, 3, 4, 5, 6, 8, 10)
#: Backends that hold more than this at one time are not filled.
_MOST_HELD: Final = 256


async def check_back_pressure(bench: Bench) -> None:
    """It never holds more attempts than it declares: concurrency x batch."""
    async with hosted(bench) as host:
        chosen = [each for each in host.backends if not each.families and _room(each) <= _MOST_HELD]
        if not chosen:
            raise Skipped(f"it declares families, or room for more than {_MOST_HELD} attempts")
        for backend in chosen:
            room = _room(backend)
            jobs = await host.submit_all(backend, [bench.circuit(backend, 1)] * (2 * room + 4))
            for job in jobs:
                await host.ended(job)
            peak = host.watch.peak[backend.backend]
            assert peak <= room, (
                f"on {backend.backend}, it held {peak} attempts at one time and declares {room} (concurrency "
                f"{backend.concurrency} x batch {backend.batch}): jobs it holds can go to nobody else"
            )


def _room(backend: Capabilities) -> int:
    return backend.concurrency * backend.batch


async def check_lost_lease(bench: Bench) -> None:
    """A job whose attempt lost its lease runs again and ends once; what the old attempt still tells changes nothing."""
    async with hosted(bench, lease_s=_LEASE_S) as host:
        requeued = asyncio.Event()

        async def notice(event: Event) -> None:
            if event.kind is EventKind.JOB_REQUEUED:
                requeued.set()

        host.orchestrator.on(EventKind.JOB_REQUEUED, notice)
        for backend in host.backends:
            await _lost(host, backend, requeued)
            await host.usable(backend, "an attempt that lost its lease")


async def _lost(host: Host, backend: Capabilities, requeued: asyncio.Event) -> None:
    for at in _AWAITS:
        frost = await host.freezing(at, handed=True)
        job = await host.submit(backend)
        going = await host.frozen(frost, job) and await _runs(host, job)
        if going:
            requeued.clear()
            host.watch.vouching = False
            await host.within(requeued.wait(), "an attempt nobody vouched for was not taken back")
            host.watch.vouching = True
        host.freezer.thaw()
        result = await host.completed(job, "a job whose first attempt lost its lease")
        assert result.qubits == job.spec.stats.declared
        if going:
            ended = await host.orchestrator.get(job.id)
            assert ended.attempt > 1, "the result of an attempt without a lease was taken"
            return
    raise Skipped("it never waits while a job runs, so that no lease can end meanwhile")


async def _runs(host: Host, job: Job) -> bool:
    started = (await host.orchestrator.get(job.id)).status is JobStatus.STARTED
    return started and any(attempt.id == job.id for attempt in host.watch.held)


async def check_heartbeat(bench: Bench) -> None:
    """A heartbeat of its own vouches only for attempts it works on: no ended one, no stranger."""
    async with hosted(bench) as host:
        if not overrides(host.adapter, "heartbeat"):
            raise Skipped("it leaves heartbeats to the default, which vouches for every attempt handed over")
        for backend in host.backends:
            await host.run(backend)
            ended = host.watch.taken[-1]
            stranger = _stranger(ended)
            vouched = list(await host.adapter.heartbeat([ended, stranger]))
            assert not any(each is stranger for each in vouched), "it vouches for an attempt it was never handed"
            assert not any(each is ended for each in vouched), "it vouches for an attempt that has ended"
            unasked = [each for each in vouched if each is not ended and each is not stranger]
            assert not unasked, "it vouches for attempts it was not asked about"


def _stranger(attempt: Attempt) -> Attempt:
    """An attempt that nobody was handed."""
    job = msgspec.structs.replace(attempt.job, id=f"{attempt.id[:-4]}{int(attempt.id[-4:], 16) ^ 1:04x}")
    return Attempt(job, attempt.number + 1, attempt.input, attempt.compiled)


async def check_recover(bench: Bench) -> None:
    """`recover` answers only attempts it is asked about, and that still run: of strangers none."""
    async with hosted(bench) as host:
        for backend in host.backends:
            await host.run(backend)
            stranger = _stranger(host.watch.taken[-1])
            claimed = list(await host.adapter.recover([stranger]))
            assert stranger not in claimed, "it claims that an attempt still runs which it was never handed"
            assert not claimed, "it claims attempts it was not asked about"
            if not backend.recovers:
                asked = host.watch.taken[-1]
                assert not await host.adapter.recover([asked]), "it recovers attempts and does not declare recovers"

"""Checks of cancel, at every await of an adapter."""

from __future__ import annotations

import time
from typing import Any, Final

import anyio

from orchestrator.backends.abc import Capabilities
from orchestrator.lifecycle import JobStatus
from orchestrator.testing.adapter_kit.bench import Bench, Skipped
from orchestrator.testing.adapter_kit.host import Host, hosted

#: Awaits of one job to cancel at, the first ones: who polls has no end of them.
_MOST_AWAITS: Final = 24
#: A cancel that takes too long counts if it does so every time: others may have had the processor once.
_TRIES: Final = 3
#: How much later than it may come a late answer is waited for, seconds.
_LATE_S: Final = 0.2
#: Waits' limits that the awaits of one backend may take in all.
_LIMITS: Final = 2.0


async def check_cancel_waiting(bench: Bench) -> None:
    """A job canceled while it waits is never started."""
    async with hosted(bench) as host:
        for backend in host.backends:
            frost = await host.freezing()
            number = 2 * backend.concurrency * backend.batch + 1
            jobs = await host.submit_all(backend, [bench.circuit(backend, 1)] * min(number, 200))
            await host.frozen(frost, *jobs)
            handed = {attempt.id for attempt in host.watch.taken}
            waiting = [
                job for job in jobs if job.id not in handed and not (await host.orchestrator.get(job.id)).terminal
            ]
            await host.orchestrator.cancel([job.id for job in waiting[-1:]])
            host.freezer.thaw()
            for job in waiting[-1:]:
                ended = await host.ended(job)
                if ended.status is JobStatus.CANCELED and ended.attempt == 0:
                    began = [event.kind for event in await host.events(job) if event.after is JobStatus.STARTED]
                    assert not began, "a job that was canceled while it waited was started"
            for job in jobs:
                await host.ended(job)


async def check_cancel_anywhere(bench: Bench) -> None:
    """A job can be canceled at any await of the adapter: it ends once, and the adapter goes on as before."""
    async with hosted(bench) as host:
        for backend in host.backends:
            await host.run(backend)
            until = time.monotonic() + _LIMITS * bench.limit_s
            for at in range(1, _MOST_AWAITS + 1):
                if not await _canceled_at(host, backend, at) or time.monotonic() > until:
                    break
                await host.run(backend, what=f"a job after one that was canceled at await {at}")
            await host.usable(backend, "ones that were canceled")


async def check_cancel_stops(bench: Bench) -> None:
    """Where `cancel` is declared, an attempt stops soon after it is told to, and is not answered later."""
    async with hosted(bench) as host:
        chosen = [backend for backend in host.backends if backend.cancel]
        if not chosen:
            raise Skipped("it declares that running attempts cannot be stopped")
        for backend in chosen:
            began = time.monotonic()
            await host.run(backend)
            usual_s = time.monotonic() - began
            until = time.monotonic() + _LIMITS * bench.limit_s
            for at in range(1, _MOST_AWAITS + 1):
                for _ in range(_TRIES):
                    going, busy_s = await _busy(host, backend, at)
                    if busy_s - usual_s * backend.concurrency < bench.cancel_s:
                        break
                else:
                    raise AssertionError(
                        f"on {backend.backend}, a canceled attempt kept the backend busy for {busy_s:.1f} s more; "
                        f"declare cancel=False where executions cannot be stopped"
                    )
                if not going or time.monotonic() > until:
                    break
        if host.watch.canceled:
            await anyio.sleep(bench.cancel_s + _LATE_S)  # what comes too late comes after this
        late = max(host.watch.late.values(), default=0.0)
        assert late < bench.cancel_s, f"a canceled attempt was answered {late:.1f} s after the cancel"


async def _busy(host: Host, backend: Capabilities, at: int) -> tuple[bool, float]:
    """Cancel a long job at that await, if it gets there; how long other jobs take from then on, seconds."""
    going = await _canceled_at(host, backend, at, shots=host.bench.most_shots(backend))
    asked = time.monotonic()
    await host.usable(backend, f"one that was canceled at await {at}")
    return going, time.monotonic() - asked


async def _canceled_at(host: Host, backend: Capabilities, at: int, **options: Any) -> bool:
    """Cancel a job at the adapter's await of that number; false if it got through before."""
    frost = await host.freezing(at)
    job = await host.submit(backend, **options)
    came = await host.frozen(frost, job)
    if came:
        await host.orchestrator.cancel([job.id])
        await host.turns()
    host.freezer.thaw()
    ended = await host.ended(job, f"a job that was canceled at await {at}")
    assert ended.status is not JobStatus.FAILED, f"canceled at await {at}, a job failed: {ended.outcome.failure}"
    return came

"""Checks of `prepare`, where it does something."""

from __future__ import annotations

import msgspec

from orchestrator.backends.abc import Attempt, Prepared
from orchestrator.backends.threads import called
from orchestrator.circuits import ir
from orchestrator.lifecycle import JobStatus
from orchestrator.model import Failure
from orchestrator.testing.adapter_kit.bench import Bench, Skipped
from orchestrator.testing.adapter_kit.host import Host, hosted


async def check_prepare_repeatable(bench: Bench) -> None:
    """`prepare` answers the same when it is asked again, in any order, by another adapter too: it leaves no trace."""
    async with hosted(bench) as host:
        attempts = await _prepared(host)
        first = await called(host.adapter.prepare, attempts)
        second = await called(host.adapter.prepare, attempts)
        backwards = (await called(host.adapter.prepare, attempts[::-1]))[::-1]
    async with hosted(bench) as host:
        other = await called(host.adapter.prepare, attempts)
    assert len(first) == len(attempts), f"prepare gave {len(first)} answers for {len(attempts)} attempts"
    for answers, when in (
        (second, "when asked again"),
        (backwards, "when asked in another order: one answer per attempt, in theirs"),
        (other, "of another adapter of the same settings"),
    ):
        assert answers == first, f"prepare answers otherwise {when}"


async def check_prepare_answers(bench: Bench) -> None:
    """`prepare` answers a `Prepared` whose compiled circuit can be read, or a `Failure`; a dry run ends with it."""
    async with hosted(bench) as host:
        for answer in await called(host.adapter.prepare, await _prepared(host)):
            assert isinstance(answer, Prepared | Failure), f"prepare answered a {type(answer).__name__}"
            if isinstance(answer, Prepared) and answer.compiled is not None:
                try:
                    ir.loads(answer.compiled)
                except msgspec.MsgspecError as error:
                    raise AssertionError(f"the compiled circuit cannot be read: {error}") from None
        for backend in host.backends:
            job = await host.ended(await host.submit(backend, dry_run=True), "a dry run")
            assert job.status is JobStatus.COMPLETED, f"a dry run ended {job.status}"
            assert not [each for each in host.watch.taken if each.id == job.id], "a dry run was executed"


async def check_prepare_interrupted(bench: Bench) -> None:
    """A job whose preparing was interrupted by a cancel is canceled, and others are prepared and run."""
    async with hosted(bench) as host:
        await _prepared(host)
        for backend in host.backends:
            if backend.instant_prepare:
                continue
            for at in (1, 2, 3):
                frost = await host.freezing(at)
                job = await host.submit(backend)
                if await host.frozen(frost, job):
                    await host.orchestrator.cancel([job.id])
                host.freezer.thaw()
                ended = await host.ended(job, "a job that was canceled while it was prepared")
                assert ended.status is not JobStatus.FAILED, f"a canceled job failed: {ended.outcome.failure}"
            await host.usable(backend, "one that was canceled while it was prepared")


async def _prepared(host: Host) -> list[Attempt]:
    """Attempts that were given to `prepare`, of circuits that differ.

    Raises:
        Skipped: All backends declare that they compile nothing.
    """
    chosen = [backend for backend in host.backends if not backend.instant_prepare]
    if not chosen:
        raise Skipped("it prepares nothing: instant_prepare")
    for backend in chosen:
        for width in (1, 2, 3):
            await host.run(backend, host.bench.circuit(backend, width))
    return list(host.watch.prepared)

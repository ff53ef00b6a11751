"""After a restart, or an exchange of adapters: what is recorded as started, and by whom it is run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Final

import anyio
import structlog

from orchestrator.backends.abc import Attempt
from orchestrator.clock import Clock
from orchestrator.dispatch.concluding import failed
from orchestrator.dispatch.leases import Lease
from orchestrator.dispatch.line import Line
from orchestrator.errors import InfrastructureFault
from orchestrator.events import EventKind
from orchestrator.foreign import apart
from orchestrator.lifecycle import Cause, JobStatus
from orchestrator.model import Job
from orchestrator.settings import DispatchSettings
from orchestrator.storage.abc import Move, Store
from orchestrator.storage.ledger import moved

log = structlog.get_logger()

PAGE: Final = 1000
#: Time for an adapter to say what it still runs.
RECOVER_LIMIT_S: Final = 60.0
#: How an attempt ended that took the process with it.
BLOCKED: Final = InfrastructureFault("the backend blocked the event loop")


async def recover(
    lines: Mapping[str, Line],
    store: Store,
    apply: Callable[[Sequence[Move]], Awaitable[list[bool]]],
    *,
    clock: Clock,
    settings: DispatchSettings,
    backends: Collection[str] | None,
    lost: Mapping[str, int],
) -> None:
    """Lease what adapters say they still run; put all else back, which is no failed attempt, unless it is `lost`.

    Args:
        lines: By backend; jobs of backends without one are put back too.
        backends: Whose jobs; None for all.
        lost: Attempts that ended the process themselves, number by job: these have failed.
    """
    for name, line in lines.items():
        if backends is None or name in backends:
            await _adopt(line, store, clock, settings.lease_s)
    after: str | None = None
    reason = "the server was restarted" if backends is None else "the adapter was replaced"
    while page := await store.stranded(after=after, limit=PAGE):
        after = page[-1].id
        now = clock.now_ms()
        await apply(
            [
                failed(job, BLOCKED, now, most=settings.max_failed_attempts)
                if lost.get(job.id) == job.attempt
                else Move(job, moved(job, Cause.REQUEUED, now), EventKind.JOB_REQUEUED, now, data={"reason": reason})
                for job in page
                if (backends is None or job.backend in backends) and not _held(job, lines.get(job.backend))
            ]
        )


def _held(job: Job, line: Line | None) -> bool:
    return line is not None and (job.id in line.leases or job.id in line.promises)


async def _adopt(line: Line, store: Store, clock: Clock, lease_s: float) -> None:
    after: str | None = None
    while page := await store.active(line.backend, JobStatus.STARTED, after=after, limit=PAGE):
        after = page[-1][0].id
        attempts = [Attempt(job, job.attempt, body, compiled) for job, body, compiled in page]
        try:
            with anyio.fail_after(RECOVER_LIMIT_S):
                ask = partial(line.adapter.recover, attempts)
                running = set(await apart(ask, "recover", backend=line.backend))
        except Exception:
            log.exception("adapter raised in recover", backend=line.backend)
            return
        until, run_until = clock.monotonic() + lease_s, line.run_limit()
        for attempt in attempts:
            if attempt in running:
                line.leases.add(Lease(attempt, attempt.job, until, run_until))

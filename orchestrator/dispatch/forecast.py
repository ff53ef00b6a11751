"""When waiting jobs will probably start: what is left of what runs, and what is ahead, on all lanes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.backends.abc import Adapter
from orchestrator.model import Job

if TYPE_CHECKING:
    from orchestrator.dispatch.line import Line


class Place(NamedTuple):
    """Where a ready job waits: its place, from 1, and wall milliseconds until it probably starts, if that is known."""

    job: Job
    position: int
    wait_ms: int | None


def predicted_wait_ms(line: Line, job: Job, now: int) -> int | None:
    """Wall milliseconds until a waiting job probably starts. None while nothing is handed out: nobody knows until when.

    Args:
        now: Unix milliseconds.
    """
    if not line.open:
        return None
    ahead = [lease.job for lease in line.leases]
    ahead += [entry.job for entry in line.ready.entries if entry.job.id < job.id]
    total = 0
    for other in ahead:
        if (left := _left_ms(line.adapter, other, now)) is None:
            return None
        total += left
    return round(total / _lanes(line))


def forecast(line: Line, now: int) -> Iterator[Place]:
    """The places of the ready jobs, in order, and what `predicted_wait_ms` says of each, in one pass."""
    ahead = [lease.job for lease in line.leases]
    total: float | None = 0.0 if line.open else None
    for position, entry in enumerate(line.ready.entries, 1):
        for job in ahead:
            left = None if total is None else _left_ms(line.adapter, job, now)
            total = None if total is None or left is None else total + left
        yield Place(entry.job, position, None if total is None else round(total / _lanes(line)))
        ahead = [entry.job]


def _lanes(line: Line) -> int:
    return line.capabilities.concurrency * line.capabilities.batch


def _left_ms(adapter: Adapter, job: Job, now: int) -> int | None:
    """Wall milliseconds that a job probably still runs, or will run; None where nothing is predicted."""
    if (predicted := job.outcome.predicted_execution_ms) is None:
        return None
    run = 0 if job.started_at is None else max(0, now - job.started_at)
    return max(0, adapter.wall_ms(predicted) - run)

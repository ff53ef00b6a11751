"""Where waiting jobs stand, and when they will probably start: what is left of what runs and what is ahead, on all
lanes.

Jobs stand in the order of their submission. One that is tried again after a pause keeps its place and may be overtaken
while it pauses.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.backends.abc import Adapter
from orchestrator.dispatch.ranks import Ahead, Ranks
from orchestrator.model import Job
from orchestrator.storage.abc import Waiting

if TYPE_CHECKING:
    from orchestrator.dispatch.line import Line


class Place(NamedTuple):
    """Where a ready job waits: its place, from 1, and wall milliseconds until it probably starts, if that is known."""

    job: Waiting
    position: int
    wait_ms: int | None


class Outlook:
    """One line as it stands.

    Nothing is known of when jobs start while the line hands out nothing: nobody knows until when. Jobs that were handed
    out and are yet to be recorded as started stand in line no more, though they are among the ready ones.

    Args:
        ranks: The line's ready jobs.
        now: Unix milliseconds.
    """

    def __init__(self, line: Line, ranks: Ranks, now: int) -> None:
        self._adapter = adapter = line.adapter
        self._ranks = ranks
        self._lanes = line.capabilities.concurrency * line.capabilities.batch
        left = {lease.job.id: _left_ms(adapter, lease.job, now) for lease in line.leases}
        self._taken = sorted(job_id for job_id in left if ranks.get(job_id) is not None)
        known = [left_ms for left_ms in left.values() if left_ms is not None]
        self._running = sum(known) if line.open and len(known) == len(left) else None
        self._left = [left[job_id] or 0 for job_id in self._taken]

    def wait_ms(self, job_id: str) -> int | None:
        """Wall milliseconds until a waiting job probably starts."""
        return self._standing(self._ranks.ahead(job_id, self._adapter), job_id)[1]

    def places(self, most: int | None = None) -> Iterator[Place]:
        """All places in order, or the first so many."""
        taken, ahead = set(self._taken), Ahead(0, self._running)
        for entry in self._ranks:
            if ahead.number == most:
                return
            if entry.id in taken:
                continue
            yield Place(entry, ahead.number + 1, self._share(ahead.wall_ms))
            left = None if entry.predicted_ms is None else self._adapter.wall_ms(entry.predicted_ms)
            known = None if ahead.wall_ms is None or left is None else ahead.wall_ms + left
            ahead = Ahead(ahead.number + 1, known)

    def places_of(self, names: Collection[str], most: int) -> Iterator[Place]:
        """The places of jobs by id, and of the first `most` of each parent's children and each session's jobs."""
        taken = set(self._taken)
        for entry, ahead in self._ranks.of(names, most, self._adapter):
            if entry.id not in taken:
                yield Place(entry, *self._standing(ahead, entry.id))

    def _standing(self, ahead: Ahead, job_id: str) -> tuple[int, int | None]:
        """Position and wait, by what is ahead among the ready jobs."""
        gone = bisect_left(self._taken, job_id)
        known = None
        if self._running is not None and ahead.wall_ms is not None:
            known = self._running + ahead.wall_ms - sum(self._left[:gone])
        return ahead.number - gone + 1, self._share(known)

    def _share(self, wall_ms: int | None) -> int | None:
        return None if wall_ms is None else round(wall_ms / self._lanes)


def _left_ms(adapter: Adapter, job: Job, now: int) -> int | None:
    """Wall milliseconds that a job probably still runs, or will run; None where nothing is predicted."""
    if (predicted := job.outcome.predicted_execution_ms) is None:
        return None
    run = 0 if job.started_at is None else max(0, now - job.started_at)
    return max(0, adapter.wall_ms(predicted) - run)

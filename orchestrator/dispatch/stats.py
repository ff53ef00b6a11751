"""How long the queues are, kept by counting commits: asking costs nothing and never scans a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from orchestrator.lifecycle import JobStatus
from orchestrator.storage.abc import Committed

_WAITING: Final = frozenset({JobStatus.SUBMITTED, JobStatus.READY})
#: Weight of the newest job in the moving average of queue times.
_NEWEST: Final = 0.1


class QueueStats:
    """Leaf jobs waiting for each backend, and the moving average of how long the last ones waited."""

    def __init__(self, waiting: Mapping[str, int]) -> None:
        self._waiting = dict(waiting)
        self._average_ms: dict[str, float] = {}

    def notice(self, entries: Sequence[Committed]) -> None:
        """Listener of the bus."""
        for event, job in entries:
            before, after = event.before, event.after
            if job is None or job.children or before is after:
                continue
            change = (after in _WAITING) - (before in _WAITING)
            if not change:
                continue
            backend = job.spec.backend
            self._waiting[backend] = self._waiting.get(backend, 0) + change
            if after is JobStatus.STARTED:
                waited = event.at - job.submitted_at
                average = self._average_ms.get(backend, float(waited))
                self._average_ms[backend] = average + _NEWEST * (waited - average)

    def of(self, backend: str) -> tuple[int, int]:
        """Jobs waiting, and the average queue time in milliseconds."""
        return self._waiting.get(backend, 0), round(self._average_ms.get(backend, 0.0))

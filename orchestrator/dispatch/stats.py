"""How long the queues are and who waits in them, kept by counting commits: asking never scans a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from orchestrator.dispatch.ranks import Ranks
from orchestrator.lifecycle import JobStatus
from orchestrator.storage.abc import Committed, Store, Waiting

_WAITING: Final = frozenset({JobStatus.SUBMITTED, JobStatus.READY})
_READY: Final = JobStatus.READY
#: Weight of the newest job in the moving average of queue times.
_NEWEST: Final = 0.1
#: Waiting jobs read from the store at once.
PAGE: Final = 10_000


class QueueStats:
    """Leaf jobs waiting for each backend, and the moving average of how long the last ones waited."""

    def __init__(self) -> None:
        self._waiting: Counter[str] = Counter()
        self._ready: dict[str, Ranks] = {}
        self._average_ms: dict[str, float] = {}

    async def load(self, store: Store) -> None:
        """Begin with what the store has, before anything is committed."""
        after = ("", "")
        while page := await store.waiting(after=after, limit=PAGE):
            after = page[-1].backend, page[-1].id
            for entry in page:
                self._waiting[entry.backend] += 1
                if entry.status is _READY:
                    self.ready(entry.backend).add(entry)

    def notice(self, entries: Sequence[Committed]) -> None:
        """Listener of the bus."""
        for event, job in entries:
            before, after = event.before, event.after
            if job is None or job.children or before is after:
                continue
            backend = job.spec.backend
            if after is _READY:
                if job.status is _READY:  # not in passing
                    predicted_ms = job.outcome.predicted_execution_ms
                    self.ready(backend).add(
                        Waiting(
                            backend, job.id, after, job.project_id, job.parent_id, job.spec.session_id, predicted_ms
                        )
                    )
            elif before is _READY and (ranks := self._ready.get(backend)):
                ranks.discard(job.id)
            change = (after in _WAITING) - (before in _WAITING)
            if not change:
                continue
            self._waiting[backend] += change
            if after is JobStatus.STARTED:
                waited = event.at - job.submitted_at
                average = self._average_ms.get(backend, float(waited))
                self._average_ms[backend] = average + _NEWEST * (waited - average)

    def ready(self, backend: str) -> Ranks:
        """Who is ready to run on a backend."""
        ranks = self._ready.get(backend)
        if ranks is None:
            ranks = self._ready[backend] = Ranks()
        return ranks

    def of(self, backend: str) -> tuple[int, int]:
        """Jobs waiting, and the average queue time in milliseconds."""
        return self._waiting[backend], round(self._average_ms.get(backend, 0.0))

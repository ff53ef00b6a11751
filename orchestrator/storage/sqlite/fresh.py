"""Results of the last commits, in memory: who has just heard that a job ended asks for its result next."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final

from orchestrator.events import EventKind
from orchestrator.storage.abc import Apply, Committed

#: Bytes of results that are remembered, and most of one of them.
MEMORY: Final = 4 * 1024 * 1024
LARGEST: Final = 65_536


class FreshResults:
    """The newest results that were committed, encoded. Results never change; those of deleted jobs are forgotten."""

    def __init__(self) -> None:
        self._bodies: OrderedDict[str, tuple[str, bytes]] = OrderedDict()
        self._bytes = 0

    def notice(self, operations: Sequence[object], answers: Sequence[Any], entries: Sequence[Committed]) -> None:
        """These were committed, answered so, and recorded as that."""
        for operation, applied in zip(operations, answers, strict=True):
            if not isinstance(operation, Apply):
                continue
            for move, ok in zip(operation.moves, applied, strict=True):
                if ok and move.result is not None and len(move.result) <= LARGEST:
                    self._bodies[move.after.id] = (move.after.project_id, move.result)
                    self._bytes += len(move.result)
        for deleted in [job.id for event, job in entries if event.kind is EventKind.JOB_DELETED and job is not None]:
            self._forget(deleted)
        while self._bytes > MEMORY:
            self._forget(next(iter(self._bodies)))

    def _forget(self, job_id: str) -> None:
        if (known := self._bodies.pop(job_id, None)) is not None:
            self._bytes -= len(known[1])

    def of(self, project_id: str, job_ids: Sequence[str]) -> dict[str, bytes] | None:
        """The results of these jobs of that project; None unless all are remembered."""
        found: dict[str, bytes] = {}
        for job_id in job_ids:
            owner, body = self._bodies.get(job_id, ("", b""))
            if owner != project_id:
                return None
            found[job_id] = body
        return found

    def clear(self) -> None:
        """Rows were removed."""
        self._bodies.clear()
        self._bytes = 0

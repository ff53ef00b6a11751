"""Results of the last commits, in memory: who has just heard that a job ended asks for its result next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from orchestrator.events import EventKind
from orchestrator.storage.abc import Apply, Move

#: Results of a generation; of the current one and the one before, all are remembered.
GENERATION: Final = 256
#: Most bytes of one of them.
LARGEST: Final = 8_192


class FreshResults:
    """The newest results that were committed. Results never change; of deleted jobs nothing is remembered."""

    def __init__(self) -> None:
        self._new: dict[str, Move] = {}
        self._old: dict[str, Move] = {}

    def notice(self, operations: Sequence[object], answers: Sequence[Any]) -> None:
        """These were committed, and answered so."""
        for operation, applied in zip(operations, answers, strict=True):
            if type(operation) is not Apply:
                continue
            for move, ok in zip(operation.moves, applied, strict=True):
                if move.result is not None:
                    if ok and len(move.result) <= LARGEST:
                        self._new[move.after.id] = move
                elif move.kind is EventKind.JOB_DELETED:
                    self.clear()  # children go with their parents
        if len(self._new) >= GENERATION:
            self._new, self._old = {}, self._new

    def of(self, project_id: str, job_ids: Sequence[str]) -> dict[str, bytes] | None:
        """The results of these jobs of that project; None unless all are remembered."""
        found: dict[str, bytes] = {}
        for job_id in job_ids:
            move = self._new.get(job_id) or self._old.get(job_id)
            if move is None or move.result is None or move.after.project_id != project_id:
                return None
            found[job_id] = move.result
        return found

    def clear(self) -> None:
        """Rows were removed."""
        self._new, self._old = {}, {}

"""Events: the record of what happened, in the order it was committed.

An event is written in the same commit as the change it records. Its `sequence` is assigned by the
store so that sequence order is commit order; a cursor is ``epoch:sequence``, where the epoch is a
random id made with the log, so that a cursor of a restored or different log is recognised.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Final

import msgspec

from orchestrator.errors import InvalidCursor, InvalidRequest
from orchestrator.lifecycle import Cause, JobStatus


class EventKind(StrEnum):
    """Kinds of events. The first seven are the causes of the state machine."""

    JOB_SUBMITTED = "job.submitted"
    JOB_READY = "job.ready"
    JOB_STARTED = "job.started"
    JOB_REQUEUED = "job.requeued"
    JOB_COMPLETED = "job.completed"
    JOB_FAILED = "job.failed"
    JOB_CANCELED = "job.canceled"
    JOB_PROGRESS = "job.progress"
    JOB_DELETED = "job.deleted"
    BACKEND_CALIBRATED = "backend.calibrated"
    BACKEND_CHANGED = "backend.changed"
    BUDGET_REFUSED = "budget.refused"
    """A job has failed because it would cost more than may be spent; told beside its `JOB_FAILED`."""
    BUDGET_EXHAUSTED = "budget.exhausted"
    """A session has spent what its jobs may cost, and has ended."""
    HOOK_TEST = "hook.test"
    """Sent to a hook when somebody tries it; never in the log."""


#: Kinds of events the log holds; those of hooks are told to hooks alone.
LOGGED: Final = tuple(kind for kind in EventKind if not kind.startswith("hook."))
#: What stands for all kinds of a family, such as ``job.*``.
FAMILIES: Final = {
    f"{family}.*": frozenset(kind for kind in LOGGED if kind.startswith(f"{family}."))
    for family in dict.fromkeys(kind.partition(".")[0] for kind in LOGGED)
}
KIND_OF: dict[Cause, EventKind] = {cause: EventKind(f"job.{cause}") for cause in Cause}
CAUSE_OF: dict[EventKind, Cause] = {kind: cause for cause, kind in KIND_OF.items()}


def kinds_named(names: Iterable[str], field: str = "kind") -> frozenset[EventKind]:
    """Kinds of the log by their names and those of families.

    Raises:
        InvalidRequest: One is neither; names `field`.
    """
    found: set[EventKind] = set()
    for name in names:
        if name not in LOGGED and name not in FAMILIES:
            raise InvalidRequest(f"{field} must be one of {', '.join((*LOGGED, *FAMILIES))}", fields=(field,))
        found |= FAMILIES.get(name) or {EventKind(name)}
    return frozenset(found)


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One committed event.

    Attributes:
        sequence: Place in the log, from 1, without holes.
        job_id: The job, or None for events of a backend or of a session's budget.
        before: Status before; None for a submit. `after`: status after. Both equal the current status for
            kinds that do not move a job.
        at: Wall time of the commit's request, Unix milliseconds.
        data: What else is known: progress, failure, execution time; small.
        session_id: The job's session. By it feeds choose; it is not told.
    """

    sequence: int
    kind: EventKind
    at: int
    job_id: str | None = None
    parent_id: str | None = None
    project_id: str | None = None
    backend: str | None = None
    attempt: int = 0
    before: JobStatus | None = None
    after: JobStatus | None = None
    data: dict[str, Any] | None = None
    session_id: str | None = None


class Cursor(msgspec.Struct, frozen=True, order=True):
    """Where a reader stands: it has seen everything up to and including `sequence`."""

    epoch: str
    sequence: int

    def __str__(self) -> str:
        return f"{self.epoch}:{self.sequence}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Read a cursor back.

        Raises:
            InvalidCursor: The text is not of the form ``epoch:sequence``.
        """
        epoch, separator, digits = text.partition(":")
        if not (separator and epoch and digits.isascii() and digits.isdigit() and len(digits) <= 18):
            raise InvalidCursor
        return cls(epoch, int(digits))

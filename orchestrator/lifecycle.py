"""The job state machine: one table, no side effects.

Theory of operation
-------------------
A job has a status. Something happens to it (a *cause*), and the pair
``(status, cause)`` names the next status, or the cause is illegal there.
Nothing else in the program decides what may follow what: the service asks
`transition`, the store guards its write with the status that was asked about,
and the event log records the answer.

A cause has one of three outcomes:

* it **moves** the job: the new status differs from the old one;
* it finds the job **already** there (a repeated event): nothing changes;
* it is **illegal**: `IllegalTransition` is raised and nothing changes.

Terminal statuses are computed from the table: those that no cause leaves.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from orchestrator.errors import IllegalTransition


class JobStatus(StrEnum):
    """Where a job stands. v0.3 spells ``started`` as ``running``, in its wire module only."""

    SUBMITTED = "submitted"
    READY = "ready"
    STARTED = "started"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"


class Cause(StrEnum):
    """What can happen to a job. Each becomes the event kind ``job.<cause>``."""

    SUBMITTED = "submitted"
    READY = "ready"
    STARTED = "started"
    REQUEUED = "requeued"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"


_S = JobStatus
_C = Cause

TABLE: Final[Mapping[tuple[JobStatus, Cause], JobStatus]] = MappingProxyType(
    {
        (_S.SUBMITTED, _C.READY): _S.READY,
        (_S.READY, _C.STARTED): _S.STARTED,
        (_S.STARTED, _C.REQUEUED): _S.READY,
        (_S.STARTED, _C.COMPLETED): _S.COMPLETED,
        (_S.SUBMITTED, _C.FAILED): _S.FAILED,
        (_S.READY, _C.FAILED): _S.FAILED,
        (_S.STARTED, _C.FAILED): _S.FAILED,
        (_S.SUBMITTED, _C.CANCELED): _S.CANCELED,
        (_S.READY, _C.CANCELED): _S.CANCELED,
        (_S.STARTED, _C.CANCELED): _S.CANCELED,
    }
)

#: The status each cause leads to, wherever it is legal.
TARGET: Final[Mapping[Cause, JobStatus]] = MappingProxyType(
    {_C.SUBMITTED: _S.SUBMITTED} | {cause: status for (_, cause), status in TABLE.items()}
)

TERMINAL: Final[frozenset[JobStatus]] = frozenset(JobStatus) - {status for status, _ in TABLE}
ACTIVE: Final[frozenset[JobStatus]] = frozenset(JobStatus) - TERMINAL


def transition(status: JobStatus, cause: Cause) -> JobStatus:
    """The status after `cause`; equal to `status` when the job is already there.

    Raises:
        IllegalTransition: The table knows no such move.
    """
    after = TABLE.get((status, cause))
    if after is not None:
        return after
    if TARGET[cause] is status:
        return status
    raise IllegalTransition(status, cause)


#: Causes that lead a job forward, in order; the way to a status is a run of these.
_FORWARD: Final = (_C.SUBMITTED, _C.READY, _C.STARTED, _C.COMPLETED)


def path(before: JobStatus | None, after: JobStatus) -> tuple[Cause, ...]:
    """The causes that lead from `before` (None: not yet submitted) to `after`, shortest way.

    Used where several steps are known together and are written together: a submit that is ready at once, a
    parent whose children did all their steps in one batch.

    Raises:
        IllegalTransition: No run of causes leads there.
    """
    if before is after:
        return ()
    if before is None:
        return (_C.SUBMITTED, *path(_S.SUBMITTED, after))
    if (before, after) == (_S.STARTED, _S.READY):
        return (_C.REQUEUED,)
    cause = Cause(after)
    if after in {_S.FAILED, _S.CANCELED}:
        transition(before, cause)
        return (cause,)
    steps = [TARGET[step] for step in _FORWARD]
    if before not in steps or steps.index(before) > steps.index(after):
        raise IllegalTransition(before, cause)
    return _FORWARD[steps.index(before) + 1 : steps.index(after) + 1]


def mermaid() -> str:
    """The table as a Mermaid state diagram; the one in the docs is this text."""
    lines = ["stateDiagram-v2", f"    [*] --> {_S.SUBMITTED}"]
    lines += [f"    {before} --> {after}: {cause}" for (before, cause), after in TABLE.items()]
    lines += [f"    {status} --> [*]" for status in JobStatus if status in TERMINAL]
    return "\n".join(lines)


def derive_parent(children: Mapping[JobStatus, int]) -> JobStatus:
    """The status of a parent, a pure function of how many children stand where.

    Any failed child fails the parent (its other children are then canceled); when all
    have ended it is completed if all completed, else canceled; once any child has begun
    or ended it is started; with a first ready child it is ready; else submitted. (Ready comes
    before submitted, so that a parent whose only started child is requeued has a way back.)

    Raises:
        ValueError: There are no children.
    """
    present = {status for status, number in children.items() if number}
    if not present:
        raise ValueError("a parent has at least one child")
    if _S.FAILED in present:
        return _S.FAILED
    if present <= TERMINAL:
        return _S.COMPLETED if present == {_S.COMPLETED} else _S.CANCELED
    if _S.STARTED in present or present & TERMINAL:
        return _S.STARTED
    return _S.READY if _S.READY in present else _S.SUBMITTED

"""Records to rows and back.

Rows for writing are plain tuples of what SQLite binds without asking: members of an enumeration go in as their
`_value_`, a plain string. Bodies above 4 KiB are stored as zlib blobs, smaller ones as text.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from orchestrator.events import Event, EventKind
from orchestrator.lifecycle import JobStatus
from orchestrator.model import Job, JobSpec, Outcome, Session
from orchestrator.storage.abc import Move, Waiting

COMPRESS_ABOVE: Final = 4096
JOB_COLUMNS: Final = 17

_encoder = msgspec.json.Encoder()
encode = _encoder.encode
_spec = msgspec.json.Decoder(JobSpec).decode
_outcome = msgspec.json.Decoder(Outcome).decode
session = msgspec.json.Decoder(Session).decode
_data = msgspec.json.Decoder(dict[str, Any]).decode
_KINDS: Final = {str(kind): kind for kind in EventKind}
_STATUSES: Final = {str(status): status for status in JobStatus}
_NOTHING: Final = Outcome()


def job_row(job: Job) -> tuple[Any, ...]:
    """A new job, in the order of the table's columns."""
    return (
        job.id,
        job.project_id,
        job.parent_id,
        job.child_index,
        job.children,
        job.spec.session_id,
        job.spec.backend,
        job.status._value_,
        job.attempt,
        job.failed_attempts,
        job.submitted_at,
        job.ready_at,
        job.started_at,
        job.completed_at,
        job.deleted_at,
        encode(job.spec).decode(),
        None if job.outcome == _NOTHING else encode(job.outcome).decode(),
    )


def waiting(row: tuple[Any, ...]) -> Waiting:
    """What a waiting job is to others."""
    backend, job_id, status, *rest = row
    return Waiting(backend, job_id, _STATUSES[status], *rest)


def move_row(move: Move) -> tuple[Any, ...]:
    """A move: its guard, then the columns it sets."""
    before, after = move.before, move.after
    return (
        before.id,
        before.status._value_,
        before.attempt,
        after.status._value_,
        after.attempt,
        after.failed_attempts,
        after.ready_at,
        after.started_at,
        after.completed_at,
        after.deleted_at,
        None if after.outcome == _NOTHING else encode(after.outcome).decode(),
    )


def event_row(event: Event) -> tuple[Any, ...]:
    """An event, in the order of the table's columns."""
    return (
        event.sequence,
        event.kind._value_,
        event.at,
        event.job_id,
        event.parent_id,
        event.project_id,
        event.backend,
        event.attempt,
        None if event.before is None else event.before._value_,
        None if event.after is None else event.after._value_,
        None if event.data is None else encode(event.data).decode(),
        event.session_id,
    )


def job(row: Sequence[Any]) -> Job:
    """A job from all columns of its row."""
    return Job(
        id=row[0],
        project_id=row[1],
        parent_id=row[2],
        child_index=row[3],
        children=row[4],
        status=_STATUSES[row[7]],
        attempt=row[8],
        failed_attempts=row[9],
        submitted_at=row[10],
        ready_at=row[11],
        started_at=row[12],
        completed_at=row[13],
        deleted_at=row[14],
        spec=_spec(row[15]),
        outcome=_NOTHING if row[16] is None else _outcome(row[16]),
    )


def event(row: Sequence[Any]) -> Event:
    """An event from all columns of its row."""
    return Event(
        sequence=row[0],
        kind=_KINDS[row[1]],
        at=row[2],
        job_id=row[3],
        parent_id=row[4],
        project_id=row[5],
        backend=row[6],
        attempt=row[7],
        before=None if row[8] is None else _STATUSES[row[8]],
        after=None if row[9] is None else _STATUSES[row[9]],
        data=None if row[10] is None else _data(row[10]),
        session_id=row[11],
    )


def session_row(session: Session) -> tuple[Any, ...]:
    """A session, in the order of the table's columns: what is asked for, and the whole record."""
    return (
        session.id,
        session.project_id,
        session.expires_at,
        session.ended_at,
        session.closing,
        encode(session).decode(),
    )


def pack(body: bytes) -> str | bytes:
    """A body as it is stored."""
    return zlib.compress(body, 1) if len(body) > COMPRESS_ABOVE else body.decode()


def unpack(value: str | bytes) -> bytes:
    """A stored body."""
    return value.encode() if isinstance(value, str) else zlib.decompress(value)

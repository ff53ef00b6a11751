"""What a machine is told: the body of a webhook."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from orchestrator.events import Event
from orchestrator.model import Job
from orchestrator.notify.abc import Notification

#: A body is no longer; what would be has its long texts cut to this many characters.
MAX_BODY: Final = 65_536
_MAX_TEXT: Final = 1_000

#: Grows when a member changes its meaning or goes; new members may come without.
VERSION: Final = 1

_encoder = msgspec.json.Encoder()


def body(notification: Notification) -> bytes:
    """The JSON text: ``{"version", "type", "timestamp", "data": {"event", "project", "job", "link"}}``.

    ``type`` and ``timestamp`` are those of the Standard Webhooks convention: the event's kind, and when it was
    committed. The same notification always gives the same bytes as long as its job stands where it stood. Where
    texts of the submitter make it too long they are cut, and ``data.truncated`` says so.
    """
    data = {
        "event": event_members(notification.event),
        "project": {"id": notification.project.id, "name": notification.project.name},
        "job": None if notification.job is None else job_members(notification.job),
        "link": notification.link,
    }
    head = {"version": VERSION, "type": notification.event.kind, "timestamp": iso(notification.event.at)}
    content = _encoder.encode(head | {"data": data})
    if len(content) <= MAX_BODY:
        return content
    return _encoder.encode(head | {"data": _cut(msgspec.to_builtins(data)) | {"truncated": True}})


def _cut(value: Any) -> Any:
    """The same with its long texts cut."""
    if isinstance(value, str):
        return value if len(value) <= _MAX_TEXT else value[: _MAX_TEXT - 1] + "…"
    if isinstance(value, dict):
        return {name: _cut(member) for name, member in value.items()}
    return [_cut(member) for member in value] if isinstance(value, list) else value


def event_members(event: Event) -> dict[str, Any]:
    """An event as feeds show it; `sequence` in place of the cursor, which belongs to a reader."""
    return {
        "sequence": event.sequence,
        "kind": event.kind,
        "job_id": event.job_id,
        "parent_id": event.parent_id,
        "project_id": event.project_id,
        "backend": event.backend,
        "attempt": event.attempt,
        "from": event.before,
        "to": event.after,
        "at": event.at,
        "data": event.data,
    }


def job_members(job: Job) -> dict[str, Any]:
    """A job in short; times in Unix milliseconds."""
    return {
        "id": job.id,
        "name": job.spec.name,
        "status": job.status,
        "type": job.spec.type,
        "backend": job.backend,
        "shots": job.spec.shots,
        "qubits": job.spec.stats.qubits,
        "metadata": job.spec.metadata,
        "parent_id": job.parent_id,
        "children": job.children,
        "attempt": job.attempt,
        "submitted_at": job.submitted_at,
        "started_at": job.started_at,
        "completed_at": job.completed_at,
        "execution_ms": job.outcome.execution_ms,
        "failure": job.outcome.failure,
    }


def iso(at_ms: int) -> str:
    """Unix milliseconds as RFC 3339, UTC."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

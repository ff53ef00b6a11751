"""What a machine is told: the body of a webhook."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from orchestrator.events import Event
from orchestrator.model import Job
from orchestrator.notify.abc import Notification

#: Grows when a member changes its meaning or goes; new members may come without.
VERSION: Final = 1

_encoder = msgspec.json.Encoder()


def body(notification: Notification) -> bytes:
    """The JSON text: ``{"version", "type", "timestamp", "data": {"event", "project", "job", "link"}}``.

    ``type`` and ``timestamp`` are those of the Standard Webhooks convention: the event's kind, and when it was
    committed. The same notification always gives the same bytes as long as its job stands where it stood.
    """
    return _encoder.encode(
        {
            "version": VERSION,
            "type": notification.event.kind,
            "timestamp": iso(notification.event.at),
            "data": {
                "event": event_members(notification.event),
                "project": {"id": notification.project.id, "name": notification.project.name},
                "job": None if notification.job is None else job_members(notification.job),
                "link": notification.link,
            },
        }
    )


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

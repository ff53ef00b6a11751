"""Records of notifications: rules, what is to be delivered by them, and how each attempt went."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

import msgspec

from orchestrator.events import Event, EventKind

#: What a hook tells of unless it says otherwise: the vendor, too, writes a mail when a job fails.
DEFAULT_KINDS: Final = (EventKind.JOB_FAILED,)


class Hook(msgspec.Struct, frozen=True, kw_only=True):
    """A notification rule of a project.

    Attributes:
        channel: Name of the channel that delivers.
        target: Where to, in the channel's own words; may hold a secret.
        kinds: Kinds of events it tells of.
        backend: Only jobs, and events, of this backend.
        tag: Only jobs whose metadata has this key, or with ``key=value`` this member.
        name: Only jobs whose name matches this pattern (``fnmatch``, case matters).
        children: Also the circuits of a multi-circuit job, each for itself.
        disabled_at: When deliveries ended; `disabled_reason` says why.
    """

    id: str
    project_id: str
    channel: str
    target: dict[str, Any]
    created_at: int
    kinds: tuple[EventKind, ...] = DEFAULT_KINDS
    backend: str | None = None
    tag: str | None = None
    name: str | None = None
    children: bool = False
    disabled_at: int | None = None
    disabled_reason: str | None = None


class DeliveryState(StrEnum):
    """Where a delivery stands. A dead one is given up, and waits for somebody to redeliver it."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One event on its way to one hook: a row of the outbox, written in the commit of its event.

    Attributes:
        id: The same over all attempts, restarts and redeliveries.
        event: A copy, so that retention of the log takes nothing from a delivery.
        attempts: How many failed since it was last (re)started.
        due_at: Not to be tried earlier.
        settled_at: When it was delivered or given up.
        detail: What the last attempt came to.
        batch: The digest it belongs to, by the id of its first delivery, from before the first attempt on; None
            until then, and where a channel sends each delivery alone.
    """

    id: str
    hook_id: str
    event: Event
    state: DeliveryState = DeliveryState.PENDING
    attempts: int = 0
    due_at: int = 0
    settled_at: int | None = None
    detail: str = ""
    batch: str | None = None


class DeliveryAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a hook's delivery log.

    Attributes:
        position: Place in the log, assigned by the store; later attempts have higher ones.
        number: Which attempt of the delivery it was, from 1.
    """

    hook_id: str
    delivery_id: str
    kind: EventKind
    number: int
    at: int
    verdict: str
    detail: str
    duration_ms: int
    job_id: str | None = None
    position: int = 0

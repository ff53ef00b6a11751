"""The channel contract: what an author of a notification channel writes.

A channel turns notifications into messages to the outside: mail, webhooks, chat. Rules, durability, order, the
retry schedule and the log are the delivery engine's work; a channel says how one attempt went. Register the
class under the entry-point group ``orchestrator.channels``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

import msgspec

from orchestrator.clock import Clock
from orchestrator.errors import InvalidRequest
from orchestrator.events import Event
from orchestrator.lifecycle import JobStatus
from orchestrator.model import Job, Project, Result


class Verdict(StrEnum):
    """How an attempt ended.

    ``retry``: it may work later. ``rejected``: this message never will. ``gone``: the target wants no more; the
    hook is disabled.
    """

    DELIVERED = "delivered"
    RETRY = "retry"
    REJECTED = "rejected"
    GONE = "gone"


class Attempted(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of one attempt.

    Attributes:
        detail: For the delivery log, one line: a status, an SMTP answer; never a secret, never raw bytes.
        retry_after_s: What the receiver asked for.
    """

    verdict: Verdict
    detail: str = ""
    retry_after_s: float | None = None


@dataclass(frozen=True)
class Part:
    """A circuit of a multi-circuit job, and its result if it has one."""

    job: Job
    result: Result | None = None


@dataclass(frozen=True)
class Notification:
    """One event on its way to one hook.

    Attributes:
        id: Stable over all attempts and restarts; receivers drop duplicates by it.
        job: The job as it stands now; None for events of a backend.
        result: Of a completed single-circuit job, if the channel asked for results.
        ended: Of a multi-circuit job that ended, how many of its circuits stand where. This and `parts` only where the
            channel asked for results and the notification goes alone.
        parts: Of such a job a few circuits in their order: those that failed by preference, then the first ones.
        link: Where a person can look at the job, if the server knows its public address.
    """

    id: str
    event: Event
    project: Project
    job: Job | None = None
    result: Result | None = None
    ended: Mapping[JobStatus, int] = field(default_factory=dict)
    parts: Sequence[Part] = ()
    link: str | None = None


@dataclass(frozen=True)
class ChannelContext:
    """What a channel is given when it is opened."""

    clock: Clock
    settings: Mapping[str, Any] = field(default_factory=dict)


class Channel(ABC):
    """Base class of channels. Opened once, closed once; attempts for different targets may run concurrently.

    Attributes:
        wants_results: Load the result of a completed job into its notification, of several circuits those of the
            first few.
        digest_s: Gather a target's notifications for up to this long once several come; 0 sends each alone.
        limit_s: Longest attempt, seconds; after that it is cut off and counts as `retry`.
        secrets: Members of a target that are told once, when the hook is made, and never again.
    """

    name: ClassVar[str]
    wants_results: ClassVar[bool] = False
    digest_s: float = 0.0
    limit_s: float = 20.0
    secrets: ClassVar[frozenset[str]] = frozenset({"secret", "secrets", "password", "token"})

    async def open(self, context: ChannelContext) -> None:  # noqa: B027 - may be left out
        """Acquire what is needed."""

    async def aclose(self) -> None:  # noqa: B027 - may be left out
        """Release everything."""

    @abstractmethod
    def check(self, target: Mapping[str, Any]) -> dict[str, Any]:
        """The target of a new hook, checked and completed (a generated secret, say), as it will be stored.

        Raises:
            InvalidRequest: It cannot be delivered to; names the member.
        """

    def rotated(self, target: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        """A target with a new secret beside its newest one, both in use; and that secret.

        Raises:
            InvalidRequest: Targets of this channel have no secret of its making.
        """
        raise InvalidRequest("hooks of this channel have no secret to rotate", code="no_secret", fields=("channel",))

    def with_newest_secret(self, target: Mapping[str, Any]) -> dict[str, Any]:
        """A target with its newest secret alone: what ends a rotation.

        Raises:
            InvalidRequest: As `rotated`.
        """
        raise InvalidRequest("hooks of this channel have no secret to rotate", code="no_secret", fields=("channel",))

    @abstractmethod
    async def deliver(self, target: Mapping[str, Any], notifications: Sequence[Notification]) -> Attempted:
        """Make one attempt: one notification, or several gathered into a digest. Exceptions count as `retry`."""

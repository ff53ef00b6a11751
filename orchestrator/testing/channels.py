"""A channel for tests: it delivers to a list, and answers what the test says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import anyio

from orchestrator.errors import InvalidRequest
from orchestrator.notify.abc import Attempted, Channel, Notification, Verdict

DELIVERED = Attempted(verdict=Verdict.DELIVERED, detail="kept")

Answer = Callable[[Mapping[str, Any], Sequence[Notification]], Awaitable[Attempted]]


class RecordingChannel(Channel):
    """Keeps every attempt.

    Args:
        answers: What the next attempts come to, an exception to raise included; after them all are delivered.
        answer: Decides each attempt instead.
        digest_s: See `Channel`.

    Attributes:
        attempts: The target and the notifications of every attempt, in order.
        delivered: Notifications whose attempt was answered so.
        wants_results: See `Channel`.
    """

    name = "recording"

    def __init__(
        self,
        *answers: Attempted | Exception,
        answer: Answer | None = None,
        digest_s: float = 0.0,
        wants_results: bool = False,
    ) -> None:
        self.digest_s = digest_s
        self.wants_results = wants_results  # type: ignore[misc]  # one class, channels of both kinds
        self.attempts: list[tuple[Mapping[str, Any], list[Notification]]] = []
        self.delivered: list[Notification] = []
        self._answers = list(answers)
        self._answer = answer
        self._tried = anyio.Condition()

    def check(self, target: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(target.get("to"), str):
            raise InvalidRequest("to is required", fields=("target.to",))
        return {"secret": "drawn by the channel", **target}

    async def deliver(self, target: Mapping[str, Any], notifications: Sequence[Notification]) -> Attempted:
        self.attempts.append((target, list(notifications)))
        async with self._tried:
            self._tried.notify_all()
        if self._answer is not None:
            answer = await self._answer(target, notifications)
        else:
            given = self._answers.pop(0) if self._answers else DELIVERED
            if isinstance(given, Exception):
                raise given
            answer = given
        if answer.verdict is Verdict.DELIVERED:
            self.delivered += notifications
            async with self._tried:
                self._tried.notify_all()
        return answer

    async def tried(self, number: int) -> None:
        """Wait until there were so many attempts."""
        async with self._tried:
            while len(self.attempts) < number:
                await self._tried.wait()

    async def received(self, number: int) -> list[Notification]:
        """Wait until so many notifications were delivered; answers all that were."""
        async with self._tried:
            while len(self.delivered) < number:
                await self._tried.wait()
        return list(self.delivered)

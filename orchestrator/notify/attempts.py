"""One attempt: time limit, whatever the channel raises, and what follows from its verdict."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import anyio
import msgspec
import structlog

from orchestrator.clock import Clock
from orchestrator.foreign import apart, name_of
from orchestrator.hooks import Delivery, DeliveryState
from orchestrator.notify.abc import Attempted, Channel, Notification, Verdict

log = structlog.get_logger()

#: Waits between attempts, seconds; the first attempt is immediate (the example of Standard Webhooks).
SCHEDULE_S: Final = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
#: Each wait is longer by up to this share, so that receivers that came back are not met by all at once.
JITTER: Final = 0.1
#: The longest a receiver may ask for.
RETRY_AFTER_CAP_S: Final = 86_400.0
_DETAIL: Final = 300


async def attempt(
    channel: Channel, target: Mapping[str, Any], notifications: Sequence[Notification], clock: Clock
) -> Attempted:
    """Let the channel try once; answers whatever it does. Only cancellation gets through."""
    answered: Attempted | None = None
    async with anyio.create_task_group() as tasks:

        async def stop() -> None:
            await clock.sleep(channel.limit_s)
            tasks.cancel_scope.cancel()

        tasks.start_soon(stop)
        try:
            deliver = partial(channel.deliver, target, notifications)
            answered = await apart(deliver, "deliver", channel=channel.name)
        except Exception as error:
            # The text of a foreign error may hold the target's secrets: it goes to the server's log alone.
            log.exception("channel raised", channel=channel.name)
            answered = Attempted(verdict=Verdict.RETRY, detail=f"the channel raised {name_of(error)}")
        tasks.cancel_scope.cancel()
    if answered is None:
        return Attempted(verdict=Verdict.RETRY, detail=f"no answer within {channel.limit_s:g} s")
    return msgspec.structs.replace(answered, detail=_line(answered.detail))


def followed(delivery: Delivery, answer: Attempted, now: int, due_at: int) -> Delivery:
    """The delivery after an attempt that was answered so at `now`; `due_at` is when to try again, if at all."""
    delivery = msgspec.structs.replace(delivery, attempts=delivery.attempts + 1, detail=answer.detail)
    if answer.verdict is Verdict.DELIVERED:
        return msgspec.structs.replace(delivery, state=DeliveryState.DELIVERED, settled_at=now)
    if answer.verdict is not Verdict.RETRY or delivery.attempts > len(SCHEDULE_S):
        return msgspec.structs.replace(delivery, state=DeliveryState.DEAD, settled_at=now)
    return msgspec.structs.replace(delivery, due_at=due_at)


def retry_wait_ms(failed: int, asked_s: float | None, rng: random.Random) -> int:
    """How long to wait after that many failed attempts, milliseconds; longer if the receiver asked for it."""
    wait_s = SCHEDULE_S[min(failed, len(SCHEDULE_S)) - 1] * (1 + JITTER * rng.random())
    if asked_s is not None and asked_s > wait_s:  # also false for a NaN
        wait_s = min(asked_s, RETRY_AFTER_CAP_S)
    return round(wait_s * 1000)


def _line(text: str) -> str:
    """One printable line of bounded length."""
    return " ".join("".join(char if char.isprintable() else " " for char in text[: 4 * _DETAIL]).split())[:_DETAIL]

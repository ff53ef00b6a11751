"""What follows from one attempt."""

from __future__ import annotations

import asyncio
import random

import anyio
import pytest

from orchestrator.events import Event, EventKind
from orchestrator.hooks import Delivery, DeliveryState
from orchestrator.notify.abc import Attempted, Verdict
from orchestrator.notify.attempts import RETRY_AFTER_CAP_S, SCHEDULE_S, attempt, followed, retry_wait_ms
from orchestrator.testing.channels import DELIVERED, RecordingChannel
from orchestrator.testing.clock import ManualClock

DELIVERY = Delivery(id="d", hook_id="h", event=Event(sequence=1, kind=EventKind.JOB_FAILED, at=0))
RETRY = Attempted(verdict=Verdict.RETRY, detail="HTTP 500")


def test_schedule() -> None:
    """Ten attempts: at once, and after each wait of the published schedule, up to a tenth longer; then dead."""
    rng = random.Random(1)
    delivery, waits = DELIVERY, []
    while delivery.state is DeliveryState.PENDING:
        wait = retry_wait_ms(delivery.attempts + 1, None, rng)
        delivery = followed(delivery, RETRY, now=1_000, due_at=1_000 + wait)
        waits.append((delivery.due_at - 1_000) / 1000)
    assert delivery.attempts == 10
    assert (delivery.state, delivery.settled_at, delivery.detail) == (DeliveryState.DEAD, 1_000, "HTTP 500")
    for wait_s, planned_s in zip(waits, SCHEDULE_S, strict=False):
        assert planned_s <= wait_s <= 1.1 * planned_s
    assert SCHEDULE_S == (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)


@pytest.mark.parametrize(
    ("asked_s", "wait_ms"),
    [(1.0, 5_000), (60.0, 60_000), (1e9, RETRY_AFTER_CAP_S * 1000), (float("nan"), 5_000), (-1.0, 5_000)],
)
def test_receiver_may_ask_for_more_time(asked_s: float, wait_ms: float) -> None:
    """A receiver's wish lengthens a wait, within reason; it never shortens one."""

    class NoJitter(random.Random):
        def random(self) -> float:
            return 0.0

    assert retry_wait_ms(1, asked_s, NoJitter()) == wait_ms


@pytest.mark.parametrize(
    ("verdict", "state"),
    [
        (Verdict.DELIVERED, DeliveryState.DELIVERED),
        (Verdict.REJECTED, DeliveryState.DEAD),
        (Verdict.GONE, DeliveryState.DEAD),
        (Verdict.RETRY, DeliveryState.PENDING),
    ],
)
def test_verdicts(verdict: Verdict, state: DeliveryState) -> None:
    """Only a retry leaves a delivery pending."""
    after = followed(DELIVERY, Attempted(verdict=verdict), now=9, due_at=99)
    assert after.state is state
    assert (after.settled_at is None) is (state is DeliveryState.PENDING)


async def test_time_limit() -> None:
    """A channel that does not answer is cut off at its limit, which counts as a retry."""
    clock = ManualClock()
    ended: list[Attempted] = []

    async def forever(*_: object) -> Attempted:
        await anyio.sleep_forever()
        return DELIVERED

    async def run() -> None:
        ended.append(await attempt(RecordingChannel(answer=forever), {}, [], clock))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await clock.until_sleeping()
        await clock.advanced(19.9)
        assert ended == []
        await clock.advanced(0.2)
    assert ended == [Attempted(verdict=Verdict.RETRY, detail="no answer within 20 s")]


async def test_exception_counts_as_retry_and_tells_nothing() -> None:
    """What a channel raises is a retry; its text, which may hold a secret, is not repeated."""
    answer = await attempt(RecordingChannel(ValueError("password=hunter2")), {}, [], ManualClock())
    assert answer == Attempted(verdict=Verdict.RETRY, detail="the channel raised ValueError")


async def test_details_are_one_printable_line() -> None:
    """A detail is kept as one line of bounded length, whatever a receiver wrote into it."""
    answered = Attempted(verdict=Verdict.RETRY, detail="550 no\r\n\x1b[31msuch\x00 user " + "x" * 5_000)
    detail = (await attempt(RecordingChannel(answered), {}, [], ManualClock())).detail
    assert detail.startswith("550 no [31msuch user x")
    assert detail.isprintable()
    assert len(detail) == 300


async def test_cancellation_gets_through() -> None:
    """A canceled attempt answers nothing."""
    with anyio.move_on_after(0) as scope:
        await attempt(RecordingChannel(answer=lambda *_: anyio.sleep_forever()), {}, [], ManualClock())  # type: ignore[arg-type]
    assert scope.cancelled_caught


@pytest.mark.parametrize("raised", [asyncio.CancelledError, SystemExit])
async def test_a_channel_cannot_end_more_than_its_attempt(raised: type[BaseException]) -> None:
    """A cancel that nobody asked for, or an exit, counts as a failed attempt."""

    class Giving(RecordingChannel):
        async def deliver(self, target: object, notifications: object) -> Attempted:
            raise raised

    answer = await attempt(Giving(), {}, [], ManualClock())
    assert answer.verdict is Verdict.RETRY
    assert raised.__name__ in answer.detail

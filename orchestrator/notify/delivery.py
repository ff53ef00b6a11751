"""Delivers what the outbox holds: at least once, in order for each hook, whatever crashes in between.

The outbox is the truth. The bus only says whose lane to wake; at the start every hook with something pending gets
one. A lane is the one task that delivers for a hook: oldest event first, and nothing overtakes a delivery that
waits for its next try, since the order for an endpoint is part of the promise. Lanes run beside each other, with a
cap on attempts at one time. A lane ends when nothing is left to do, so an idle hook costs nothing.

An attempt is recorded after it was made: a crash between the two makes the same delivery again, under the same id.
For a channel that gathers, which deliveries go together is kept before the first attempt. A digest so keeps its
members, and with them its id, over its attempts and over crashes, whatever came to the outbox meanwhile.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import takewhile
from typing import Final

import anyio
import anyio.abc
import msgspec
import structlog

from orchestrator.clock import Clock
from orchestrator.errors import ChannelUnavailable, StorageError
from orchestrator.hooks import Delivery, DeliveryAttempt, Hook
from orchestrator.notify.abc import Attempted, Channel, Verdict
from orchestrator.notify.attempts import attempt, followed, retry_wait_ms
from orchestrator.notify.composing import Composer
from orchestrator.notify.lanes import Lane
from orchestrator.notify.registry import Channels
from orchestrator.notify.rules import Rules
from orchestrator.storage.abc import Committed
from orchestrator.storage.outbox import Outbox

log = structlog.get_logger()

#: Attempts at one time, over all hooks; and of one project, whose slow receivers must not delay those of others.
CONCURRENT: Final = 32
OF_PROJECT: Final = 8
#: Most notifications in one digest.
DIGEST: Final = 100
#: After something unforeseen the first pause, and the longest one, seconds.
_PAUSE_S: Final = 1.0
BACKOFF_CAP_S: Final = 60.0
#: A channel that cannot be used is tried again after this long.
CHANNEL_RETRY_MS: Final = 60_000


class Deliverer:
    """See the module."""

    def __init__(
        self,
        outbox: Outbox,
        rules: Rules,
        channels: Channels,
        *,
        composer: Composer,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._outbox = outbox
        self._rules = rules
        self._channels = channels
        self._composer = composer
        self._clock = clock
        self._rng = rng
        self._lanes: dict[str, Lane] = {}
        self._slots = anyio.CapacityLimiter(CONCURRENT)
        self._of_project: dict[str, anyio.CapacityLimiter] = {}
        self._tasks: anyio.abc.TaskGroup | None = None
        self._draining = False

    def notice(self, entries: Sequence[Committed]) -> None:
        """Listener of the bus."""
        for hook_id in self._rules.concerned(entries):
            lane = self._lanes.get(hook_id)
            if lane is None:
                self.wake(hook_id)
            else:
                lane.more = True

    def wake(self, hook_id: str) -> None:
        """See to a hook now: it changed, or its deliveries did."""
        lane = self._lanes.get(hook_id)
        if lane is not None:
            lane.more = True
            lane.woken.set()
        elif self._tasks is not None and not self._draining:
            self._lanes[hook_id] = lane = Lane(hook_id)
            self._tasks.start_soon(self._serve, lane)

    async def run(self) -> None:
        """Deliver until canceled, beginning with what an earlier instance left."""
        async with anyio.create_task_group() as self._tasks:
            pause_s = _PAUSE_S
            while True:
                try:
                    for hook_id in await self._outbox.waiting():
                        self.wake(hook_id)
                    break
                except Exception:
                    log.exception("the outbox could not be read")
                    await self._clock.sleep(pause_s)
                    pause_s = min(2 * pause_s, BACKOFF_CAP_S)
            await anyio.sleep_forever()

    async def drain(self) -> None:
        """Begin no further attempts, and wait for those being made."""
        self._draining = True
        for lane in tuple(self._lanes.values()):
            lane.woken.set()
            await lane.idle.wait()

    async def fire(self, hook: Hook, delivery: Delivery) -> Attempted:
        """One attempt outside the queue, answered and logged; nothing follows from it.

        Raises:
            ChannelUnavailable: The hook's channel cannot be used.
            StorageError: It could not be logged.
        """
        channel = await self._channels.get(hook.channel)
        async with self._slot(hook.project_id):
            answer, lines = await self._attempt(hook, channel, [delivery])
        await self._outbox.record([], lines)
        return answer

    # -- lanes --------------------------------------------------------------------------

    async def _serve(self, lane: Lane) -> None:
        """Run a lane to its end; a crash costs a pause."""
        pause_s = _PAUSE_S
        while True:
            try:
                if not await self._step(lane):
                    del self._lanes[lane.hook_id]
                    return
                pause_s = _PAUSE_S
            except Exception:
                log.exception("deliveries were interrupted", hook=lane.hook_id)
                await self._clock.sleep(pause_s)
                pause_s = min(2 * pause_s, BACKOFF_CAP_S)

    async def _step(self, lane: Lane) -> bool:
        """Deliver once, or wait for the time to; False once there is nothing to do."""
        lane.more, lane.woken = False, anyio.Event()
        hook = self._rules.get(lane.hook_id)
        if hook is None or hook.disabled_at is not None or self._draining:
            return False
        try:
            channel = await self._channels.get(hook.channel)
        except ChannelUnavailable as problem:
            log.warning("deliveries wait for their channel", hook=hook.id, reason=str(problem))
            await lane.until(self._clock.now_ms() + CHANNEL_RETRY_MS, self._clock)
            return True
        pending = await self._outbox.pending(hook.id, limit=DIGEST if channel.digest_s > 0 else 1)
        if not pending:
            if lane.gathering_ms <= self._clock.now_ms():
                return lane.more
            await lane.until(lane.gathering_ms, self._clock)
            return True
        together = await self._together(pending)
        if not together:
            return True  # buried meanwhile
        due_ms = min(each.due_at for each in together)
        if together[0].batch is None:
            due_ms = max(due_ms, lane.gathering_ms)
        if self._clock.now_ms() < due_ms:
            await lane.until(due_ms, self._clock)
            return True
        lane.idle = anyio.Event()
        try:
            async with self._slot(hook.project_id):
                if not self._draining and self._rules.get(hook.id) is hook:  # else it was changed meanwhile
                    if channel.digest_s > 0 and together[0].batch is None:
                        together = await self._gathered(together)
                    await self._deliver(hook, channel, together)
                    lane.gathering_ms = self._clock.now_ms() + round(channel.digest_s * 1000)
        finally:
            lane.idle.set()
        return True

    async def _together(self, pending: Sequence[Delivery]) -> list[Delivery]:
        """Of what is pending, what goes out next, and together."""
        head = pending[0]
        if head.batch is not None:
            return await self._outbox.pending(head.hook_id, limit=DIGEST, batch=head.batch)
        return list(takewhile(lambda each: each.batch is None and each.attempts == head.attempts, pending))

    async def _gathered(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """The deliveries as members of one digest, and kept as such."""
        batch = deliveries[0].id
        await self._outbox.gather(deliveries, batch)
        return [msgspec.structs.replace(each, batch=batch) for each in deliveries]

    @asynccontextmanager
    async def _slot(self, project_id: str) -> AsyncIterator[None]:
        """Room for one attempt."""
        async with self._of_project.setdefault(project_id, anyio.CapacityLimiter(OF_PROJECT)), self._slots:
            yield

    # -- attempts -----------------------------------------------------------------------

    async def _deliver(self, hook: Hook, channel: Channel, deliveries: Sequence[Delivery]) -> None:
        """Make an attempt, and keep what came of it."""
        answer, lines = await self._attempt(hook, channel, deliveries)
        now = self._clock.now_ms()
        # One count and one draw for all: what goes together fails together. Of a digest whose members were partly
        # asked for again, the count begins anew.
        failed = min(each.attempts for each in deliveries)
        due_ms = now + retry_wait_ms(failed + 1, answer.retry_after_s, self._rng)
        tried = [msgspec.structs.replace(each, attempts=failed) for each in deliveries]
        await self._record([followed(each, answer, now, due_ms) for each in tried], lines)
        known = self._rules.get(hook.id)
        if answer.verdict is Verdict.GONE and known is not None and known.target == hook.target:
            reason = answer.detail or "the target is gone"
            gone = msgspec.structs.replace(known, disabled_at=now, disabled_reason=reason)
            self._rules.put(gone)  # first, so that nothing is routed to it after its deliveries were buried
            await self._outbox.replace_hook(gone)
            log.info("hook disabled", hook=hook.id, reason=reason)

    async def _attempt(
        self, hook: Hook, channel: Channel, deliveries: Sequence[Delivery]
    ) -> tuple[Attempted, list[DeliveryAttempt]]:
        """Make an attempt; its answer, and its lines for the log."""
        events = [(each.id, each.event) for each in deliveries]
        notifications = await self._composer.compose(hook, events, with_results=channel.wants_results)
        at, began = self._clock.now_ms(), self._clock.monotonic()
        answer = await attempt(channel, hook.target, notifications, self._clock)
        duration_ms = round((self._clock.monotonic() - began) * 1000)
        return answer, [
            DeliveryAttempt(
                hook_id=hook.id,
                delivery_id=each.id,
                kind=each.event.kind,
                number=each.attempts + 1,
                at=at,
                verdict=answer.verdict,
                detail=answer.detail,
                duration_ms=duration_ms,
                job_id=each.event.job_id,
            )
            for each in deliveries
        ]

    async def _record(self, deliveries: Sequence[Delivery], lines: Sequence[DeliveryAttempt]) -> None:
        """Try until it is kept: to go on without would send the same again, and again.

        What was answered is kept even if the orchestrator stops meanwhile.
        """
        pause_s = _PAUSE_S
        while True:
            try:
                with anyio.CancelScope(shield=True):
                    await self._outbox.record(deliveries, lines)
            except StorageError as error:
                log.warning("an attempt could not be recorded", error=repr(error))
                await self._clock.sleep(pause_s)
                pause_s = min(2 * pause_s, BACKOFF_CAP_S)
            else:
                return

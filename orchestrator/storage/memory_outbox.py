"""The outbox of the memory store."""

from __future__ import annotations

from bisect import insort
from collections.abc import Awaitable, Callable, Sequence
from itertools import count, islice

import msgspec

from orchestrator.errors import StorageError
from orchestrator.hooks import Delivery, DeliveryAttempt, DeliveryState, Hook
from orchestrator.storage.outbox import Outbox

replace = msgspec.structs.replace


class MemoryOutbox(Outbox):
    """See `Outbox`. Deliveries are held per hook in the order of their events.

    Args:
        turn: Lets others run first; raises once the store is closed.
    """

    def __init__(self, turn: Callable[[], Awaitable[object]]) -> None:
        self._turn = turn
        self._hooks: dict[str, Hook] = {}
        self._deliveries: dict[str, dict[str, Delivery]] = {}
        self._queues: dict[str, list[tuple[int, str]]] = {}
        self._log: list[DeliveryAttempt] = []
        self._positions = count(1)

    # -- for the ledger's tables, inside a transaction ----------------------------------

    def insert(self, delivery: Delivery) -> bool:
        """Add a delivery; False where its event has one for that hook, or the hook is gone."""
        if delivery.hook_id not in self._hooks or delivery.id in self._deliveries.get(delivery.hook_id, {}):
            return False
        self._keep(delivery)
        return True

    def discard(self, delivery: Delivery) -> None:
        """Take an inserted delivery back."""
        self._keep(delivery, gone=True)

    # -- the contract -------------------------------------------------------------------

    async def hooks(self) -> list[Hook]:
        await self._turn()
        return sorted(self._hooks.values(), key=lambda hook: hook.id)

    async def add_hook(self, hook: Hook) -> None:
        await self._turn()
        if hook.id in self._hooks:
            raise StorageError(f"hook {hook.id} exists")
        self._hooks[hook.id] = hook

    async def replace_hook(self, hook: Hook) -> None:
        await self._turn()
        if hook.id not in self._hooks:
            return
        self._hooks[hook.id] = hook
        if hook.disabled_at is not None:
            for delivery in self._in_state(hook.id, DeliveryState.PENDING):
                detail = "the hook is disabled"
                self._keep(replace(delivery, state=DeliveryState.DEAD, settled_at=hook.disabled_at, detail=detail))

    async def remove_hook(self, hook_id: str) -> None:
        await self._turn()
        self._hooks.pop(hook_id, None)
        self._deliveries.pop(hook_id, None)
        self._queues.pop(hook_id, None)
        self._log = [attempt for attempt in self._log if attempt.hook_id != hook_id]

    async def waiting(self) -> list[str]:
        await self._turn()
        return [hook_id for hook_id in sorted(self._hooks) if self._queues.get(hook_id)]

    async def pending(self, hook_id: str, *, limit: int, batch: str | None = None) -> list[Delivery]:
        await self._turn()
        rows = self._deliveries.get(hook_id, {})
        waiting = (rows[delivery_id] for _, delivery_id in self._queues.get(hook_id, []))
        return list(islice((each for each in waiting if batch is None or each.batch == batch), limit))

    async def gather(self, deliveries: Sequence[Delivery], batch: str) -> None:
        await self._turn()
        for delivery in deliveries:
            known = self._deliveries.get(delivery.hook_id, {}).get(delivery.id)
            if known is not None and known.state is DeliveryState.PENDING:
                self._keep(replace(known, batch=batch))

    async def dead(self, hook_id: str, *, limit: int) -> list[Delivery]:
        await self._turn()
        return self._in_state(hook_id, DeliveryState.DEAD)[:limit]

    async def record(self, deliveries: Sequence[Delivery], attempts: Sequence[DeliveryAttempt]) -> None:
        await self._turn()
        for delivery in deliveries:
            known = self._deliveries.get(delivery.hook_id, {}).get(delivery.id)
            if known is not None and known.state is DeliveryState.PENDING:
                self._keep(delivery)
        kept = (attempt for attempt in attempts if attempt.hook_id in self._hooks)
        self._log += [replace(attempt, position=next(self._positions)) for attempt in kept]

    async def revive(self, hook_id: str, delivery_id: str | None, *, due_at: int) -> int:
        await self._turn()
        rows = self._deliveries.get(hook_id, {})
        if delivery_id is None:
            chosen = self._in_state(hook_id, DeliveryState.DEAD)
        else:
            chosen = [rows[delivery_id]] if delivery_id in rows else []
        for delivery in chosen:
            batch = delivery.batch if delivery.state is DeliveryState.PENDING else None
            again = replace(delivery, state=DeliveryState.PENDING, attempts=0, due_at=due_at, settled_at=None)
            self._keep(replace(again, batch=batch))
        return len(chosen)

    async def log(self, hook_id: str, *, limit: int, before: int | None = None) -> list[DeliveryAttempt]:
        await self._turn()
        found = (
            attempt
            for attempt in reversed(self._log)
            if attempt.hook_id == hook_id and (before is None or attempt.position < before)
        )
        return list(islice(found, limit))

    async def prune(self, settled_before: int, *, limit: int) -> int:
        await self._turn()
        settled = [
            delivery
            for rows in self._deliveries.values()
            for delivery in rows.values()
            if delivery.settled_at is not None and delivery.settled_at < settled_before
        ]
        settled.sort(key=lambda delivery: delivery.settled_at or 0)
        for delivery in settled[:limit]:
            self._keep(delivery, gone=True)
        aged = [attempt.position for attempt in self._log if attempt.at < settled_before][:limit]
        positions = set(aged)
        self._log = [attempt for attempt in self._log if attempt.position not in positions]
        return len(settled[:limit]) + len(aged)

    # -- rows ---------------------------------------------------------------------------

    def _in_state(self, hook_id: str, state: DeliveryState) -> list[Delivery]:
        found = [delivery for delivery in self._deliveries.get(hook_id, {}).values() if delivery.state is state]
        return sorted(found, key=lambda delivery: delivery.event.sequence)

    def _keep(self, delivery: Delivery, *, gone: bool = False) -> None:
        """Set a row and its place in the queue."""
        rows = self._deliveries.setdefault(delivery.hook_id, {})
        queue = self._queues.setdefault(delivery.hook_id, [])
        place = delivery.event.sequence, delivery.id
        known = rows.pop(delivery.id, None)
        if known is not None and known.state is DeliveryState.PENDING:
            queue.remove(place)
        if not gone:
            rows[delivery.id] = delivery
            if delivery.state is DeliveryState.PENDING:
                insort(queue, place)

"""The outbox in SQLite: reads through the store's readers, writes as single calls of its writer."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec

from orchestrator.events import Event, EventKind
from orchestrator.hooks import Delivery, DeliveryAttempt, DeliveryState, Hook
from orchestrator.storage.outbox import Outbox
from orchestrator.storage.sqlite import queries, rows

T = TypeVar("T")
Call = Callable[[sqlite3.Connection], T]

_SQL = queries.load("outbox")
_hook = msgspec.json.Decoder(Hook).decode
_event = msgspec.json.Decoder(Event).decode


def delivery_row(delivery: Delivery) -> tuple[Any, ...]:
    """A delivery, in the order of the table's columns."""
    return (
        delivery.hook_id,
        delivery.event.sequence,
        delivery.id,
        rows.encode(delivery.event).decode(),
        delivery.state._value_,
        delivery.attempts,
        delivery.due_at,
        delivery.settled_at,
        delivery.detail,
        delivery.batch,
    )


def _delivery(row: Sequence[Any]) -> Delivery:
    return Delivery(
        hook_id=row[0],
        id=row[2],
        event=_event(row[3]),
        state=DeliveryState(row[4]),
        attempts=row[5],
        due_at=row[6],
        settled_at=row[7],
        detail=row[8],
        batch=row[9],
    )


class SqliteOutbox(Outbox):
    """See `Outbox`.

    Args:
        read: Runs a call on a reader's thread.
        write: Runs a call inside the writer's next transaction.
    """

    def __init__(
        self, read: Callable[[Call[Any]], Awaitable[Any]], write: Callable[[Call[Any]], Awaitable[Any]]
    ) -> None:
        self._read = read
        self._write = write

    def _fetch(self, name: str, arguments: Any) -> Awaitable[list[Any]]:
        return self._read(lambda connection: connection.execute(_SQL[name], arguments).fetchall())

    async def hooks(self) -> list[Hook]:
        return [_hook(row[0]) for row in await self._fetch("hooks", ())]

    async def add_hook(self, hook: Hook) -> None:
        row = (hook.id, hook.project_id, rows.encode(hook).decode())
        await self._write(lambda connection: connection.execute(_SQL["add_hook"], row).rowcount)

    async def replace_hook(self, hook: Hook) -> None:
        def replace(connection: sqlite3.Connection) -> None:
            connection.execute(_SQL["replace_hook"], (rows.encode(hook).decode(), hook.id))
            if hook.disabled_at is not None:
                connection.execute(_SQL["bury"], (hook.disabled_at, "the hook is disabled", hook.id))

        await self._write(replace)

    async def remove_hook(self, hook_id: str) -> None:
        def remove(connection: sqlite3.Connection) -> None:
            for name in ("remove_hook", "remove_deliveries", "remove_attempts"):
                connection.execute(_SQL[name], (hook_id,))

        await self._write(remove)

    async def waiting(self) -> list[str]:
        return [row[0] for row in await self._fetch("hooks_waiting", ())]

    async def pending(self, hook_id: str, *, limit: int, batch: str | None = None) -> list[Delivery]:
        if batch is None:
            return [_delivery(row) for row in await self._fetch("pending", (hook_id, limit))]
        return [_delivery(row) for row in await self._fetch("pending_of_batch", (hook_id, batch, limit))]

    async def gather(self, deliveries: Sequence[Delivery], batch: str) -> None:
        members = [(batch, each.hook_id, each.event.sequence) for each in deliveries]
        await self._write(lambda connection: connection.executemany(_SQL["gather"], members).rowcount)

    async def dead(self, hook_id: str, *, limit: int) -> list[Delivery]:
        return [_delivery(row) for row in await self._fetch("dead", (hook_id, limit))]

    async def record(self, deliveries: Sequence[Delivery], attempts: Sequence[DeliveryAttempt]) -> None:
        settled = [
            (each.state._value_, each.attempts, each.due_at, each.settled_at, each.detail, each.id)
            for each in deliveries
        ]
        lines = [
            (
                each.hook_id,
                each.delivery_id,
                each.kind._value_,
                each.number,
                each.at,
                each.verdict,
                each.detail,
                each.duration_ms,
                each.job_id,
                each.hook_id,
            )
            for each in attempts
        ]

        def record(connection: sqlite3.Connection) -> None:
            connection.executemany(_SQL["settle"], settled)
            connection.executemany(_SQL["insert_attempt"], lines)

        await self._write(record)

    async def revive(self, hook_id: str, delivery_id: str | None, *, due_at: int) -> int:
        def revive(connection: sqlite3.Connection) -> int:
            if delivery_id is None:
                return connection.execute(_SQL["revive_dead"], (due_at, hook_id)).rowcount
            return connection.execute(_SQL["revive"], (due_at, hook_id, delivery_id)).rowcount

        revived: int = await self._write(revive)
        return revived

    async def log(self, hook_id: str, *, limit: int, before: int | None = None) -> list[DeliveryAttempt]:
        return [
            DeliveryAttempt(
                hook_id=row[0],
                delivery_id=row[1],
                kind=EventKind(row[2]),
                number=row[3],
                at=row[4],
                verdict=row[5],
                detail=row[6],
                duration_ms=row[7],
                job_id=row[8],
                position=row[9],
            )
            for row in await self._fetch("log", {"hook": hook_id, "before": before, "limit": limit})
        ]

    async def prune(self, settled_before: int, *, limit: int) -> int:
        def prune(connection: sqlite3.Connection) -> int:
            aged = ("prune_deliveries", "prune_attempts")
            return sum(connection.execute(_SQL[name], (settled_before, limit)).rowcount for name in aged)

        removed: int = await self._write(prune)
        return removed

"""Reading the event log from a cursor: history first, then live, in order, without gap or duplicate.

The log is the truth; a commit only wakes the reader, which then reads on from where it stands. A reader is slow at
nobody's cost but its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection
from dataclasses import dataclass
from typing import Any, Final

from orchestrator.bus import Bus
from orchestrator.errors import CursorExpired, InvalidCursor, Unavailable
from orchestrator.events import Cursor, Event
from orchestrator.storage.abc import Store

EARLIEST: Final = "earliest"
LATEST: Final = "latest"
PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Delivered:
    """An event, and the cursor to go on from after it."""

    event: Event
    cursor: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Events before `cursor` are gone; `snapshot` tells where the chosen jobs stand."""

    cursor: str
    snapshot: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Live:
    """History is through; what follows happens now."""

    cursor: str


FeedItem = Delivered | Gap | Live


class EventLog:
    """Readers of one store's events."""

    def __init__(self, store: Store, bus: Bus) -> None:
        self._store = store
        self._waiters: set[asyncio.Future[None]] = set()
        self._closed = False
        self._unsubscribe = bus.subscribe(lambda _: self._wake())

    def close(self) -> None:
        """Nothing is committed any more: readers are told `Unavailable`."""
        self._closed = True
        self._unsubscribe()
        self._wake()

    def last_cursor(self) -> str:
        """The cursor of the newest committed event."""
        return str(Cursor(self._store.epoch, self._store.last_sequence()))

    async def position(self, cursor: str) -> int:
        """The sequence a cursor stands at.

        Raises:
            InvalidCursor: Not a cursor of this log.
            CursorExpired: Retention has removed events after it.
        """
        horizon = await self._store.horizon()
        if cursor == EARLIEST:
            return horizon
        if cursor == LATEST:
            return self._store.last_sequence()
        parsed = Cursor.parse(cursor)
        if parsed.epoch != self._store.epoch or parsed.sequence > self._store.last_sequence():
            raise InvalidCursor
        if parsed.sequence < horizon:
            raise CursorExpired(self.last_cursor())
        return parsed.sequence

    async def read(
        self, cursor: str, *, project_id: str | None, jobs: Collection[str] = (), kinds: Collection[str] = ()
    ) -> AsyncGenerator[FeedItem]:
        """Events after the cursor (also `EARLIEST`, `LATEST`), then live ones, until closed.

        Raises:
            InvalidCursor, CursorExpired: See `position`; also when retention overtakes a reader that is slow.
            Unavailable: The orchestrator was closed.
        """
        sequence = await self.position(cursor)
        announced = False
        while True:
            newest = self._store.last_sequence()
            page: list[Event] = []
            if newest > sequence:
                page = await self._store.events(sequence, limit=PAGE, project_id=project_id, jobs=jobs, kinds=kinds)
                if await self._store.horizon() > sequence:  # asked after the read: the page may have a hole
                    raise CursorExpired(self.last_cursor())
            for event in page:
                sequence = event.sequence
                yield Delivered(event, self._cursor(sequence))
            if len(page) == PAGE:
                continue
            sequence = max(sequence, newest)
            if not announced:
                announced = True
                yield Live(self._cursor(sequence))
            if self._store.last_sequence() <= sequence:
                await self._wait(sequence)
            if self._closed:
                raise Unavailable("the orchestrator was closed")

    def _cursor(self, sequence: int) -> str:
        return str(Cursor(self._store.epoch, sequence))

    async def _wait(self, sequence: int) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            if self._store.last_sequence() <= sequence and not self._closed:
                await waiter
        finally:
            self._waiters.discard(waiter)

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

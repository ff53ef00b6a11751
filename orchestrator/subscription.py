"""Reading the event log from a cursor: history first, then live, in order, without gap or duplicate.

The log is the truth. A commit extends the tail, the newest events kept in memory, and wakes whoever waits; a
reader within the tail reads there, one behind it reads the store in pages until it has caught up. A reader is
slow at nobody's cost but its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from orchestrator.bus import Bus
from orchestrator.errors import CursorExpired, InvalidCursor, InvalidRequest, Unavailable
from orchestrator.events import Cursor, Event, kinds_named
from orchestrator.storage.abc import Committed, Store

EARLIEST: Final = "earliest"
LATEST: Final = "latest"
#: Events looked at in one step of reading.
PAGE: Final = 500
#: Events the tail keeps at least, once there are so many; it is shortened at twice as many.
TAIL: Final = 4096


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events a reader wants; an empty set means any.

    Events of backends belong to no project: they are for everyone, but not among the events of chosen jobs or of
    chosen sessions.

    Attributes:
        project_id: Whose; None for all projects.
        jobs: Ids of jobs; a parent stands for its children too.
        sessions: Ids of sessions, for all events of their jobs.
    """

    project_id: str | None = None
    jobs: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()
    backends: frozenset[str] = frozenset()
    sessions: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls,
        project_id: str | None,
        *,
        jobs: Collection[str] = (),
        sessions: Collection[str] = (),
        kinds: Collection[str] = (),
        backends: Collection[str] = (),
        resolve: Callable[[str], str],
    ) -> Selection:
        """What was asked for by name.

        Args:
            kinds: Kinds, and families such as ``job.*``.
            backends: Names of backends, aliases too.
            resolve: The full name of a backend.

        Raises:
            InvalidRequest: A name is empty, of no kind or of no backend; `BackendNotFound` is such.
        """
        for field, names in (("job", jobs), ("session", sessions), ("kind", kinds), ("backend", backends)):
            if not all(names):
                raise InvalidRequest(f"{field} must not be empty", fields=(field,))
        return cls(
            project_id,
            jobs=frozenset(jobs),
            sessions=frozenset(sessions),
            kinds=frozenset(kinds_named(kinds)),
            backends=frozenset(map(resolve, backends)),
        )

    def matches(self, event: Event) -> bool:
        """Whether the reader wants this one."""
        if self.jobs:
            if event.job_id not in self.jobs and event.parent_id not in self.jobs:
                return False
            if self.project_id is not None and event.project_id != self.project_id:
                return False
        elif self.project_id is not None and event.project_id is not None and event.project_id != self.project_id:
            return False
        if self.sessions and event.session_id not in self.sessions:
            return False
        if self.kinds and event.kind not in self.kinds:
            return False
        return not self.backends or event.backend in self.backends


@dataclass(frozen=True, slots=True)
class Delivered:
    """An event, and the cursor to go on from after it."""

    event: Event
    cursor: str


@dataclass(frozen=True, slots=True)
class Live:
    """History is through; what follows happens now."""

    cursor: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Retention has removed events up to the cursor; what follows begins there. The snapshot tells where things stand.

    It is newer than the cursor: events after it may tell what the snapshot shows already.
    """

    cursor: str
    snapshot: dict[str, Any]


FeedItem = Delivered | Live | Gap


@dataclass(frozen=True, slots=True)
class Start:
    """Where a reader begins, and whether events before that are gone that it wanted."""

    sequence: int
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """Wanted events in order, and the sequence up to which the log was looked through for them."""

    events: Sequence[Event]
    reached: int


class Tail:
    """The newest committed events, consecutive: those beyond `start` up to and including `newest`."""

    def __init__(self, newest: int) -> None:
        self.start = self.newest = newest
        self._events: list[Event] = []

    def extend(self, entries: Sequence[Committed]) -> None:
        """Take in a commit.

        One that does not continue the tail begins it anew: whoever stands before it reads the store.
        """
        first = entries[0].event.sequence
        if first != self.newest + 1:
            self._events.clear()
            self.start = first - 1
        self._events += [entry.event for entry in entries]
        self.newest = entries[-1].event.sequence
        if (surplus := len(self._events) - TAIL) > TAIL:
            del self._events[:surplus]
            self.start += surplus

    def after(self, sequence: int, limit: int) -> list[Event]:
        """Up to `limit` events beyond a sequence that is not before `start`."""
        first = sequence - self.start
        return self._events[first : first + limit]


class EventLog:
    """Readers of one store's events."""

    def __init__(self, store: Store, bus: Bus) -> None:
        self.epoch = store.epoch
        self._store = store
        self._tail = Tail(store.last_sequence())
        self._waiters: set[asyncio.Future[None]] = set()
        self._listeners: tuple[Callable[[Sequence[Event]], None], ...] = ()
        self.closed = False
        self._unsubscribe = bus.subscribe(self._notice)

    def close(self) -> None:
        """Nothing is committed any more: readers are told `Unavailable`."""
        self.closed = True
        self._unsubscribe()
        self._wake()

    @property
    def newest(self) -> int:
        """The sequence of the newest committed event."""
        return self._tail.newest

    def cursor(self, sequence: int) -> str:
        """How clients spell a sequence."""
        return f"{self.epoch}:{sequence}"

    def last_cursor(self) -> str:
        """The cursor of the newest committed event."""
        return self.cursor(self.newest)

    def listen(self, listener: Callable[[Sequence[Event]], None]) -> Callable[[], None]:
        """Call a quick function with the events of each commit, in order; answers the function that ends that."""
        self._listeners = (*self._listeners, listener)

        def unlisten() -> None:
            self._listeners = tuple(known for known in self._listeners if known is not listener)

        return unlisten

    async def start(self, cursor: str) -> Start:
        """Where a cursor stands; `EARLIEST` at the oldest event behind which there is no hole.

        Raises:
            InvalidCursor: Not a cursor of this log.
            CursorExpired: Retention has removed events after it.
        """
        if cursor == LATEST:
            return Start(self.newest)
        horizon = await self._store.horizon()
        if cursor == EARLIEST:
            return Start(horizon, gone=horizon > 0)
        parsed = Cursor.parse(cursor)
        if parsed.epoch != self.epoch or parsed.sequence > self.newest:
            raise InvalidCursor
        if parsed.sequence < horizon:
            raise CursorExpired(self.last_cursor())
        return Start(parsed.sequence)

    async def batch(self, sequence: int, selection: Selection) -> Batch:
        """The next wanted events beyond a sequence, at most `PAGE`; never waits for new ones.

        Raises:
            CursorExpired: Retention has overtaken the reader.
        """
        newest = self.newest
        if sequence >= newest:
            return Batch((), sequence)
        if sequence >= self._tail.start:
            found = self._tail.after(sequence, PAGE)
            return Batch([event for event in found if selection.matches(event)], found[-1].sequence)
        page = await self._page(sequence, selection)
        if await self._store.horizon() > sequence:  # asked after the read: the page may have a hole
            raise CursorExpired(self.last_cursor())
        # A read may see a commit whose notice is still to come; it is left to the notice.
        reached = min(page[-1].sequence, newest) if len(page) == PAGE else newest
        return Batch([event for event in page if event.sequence <= newest and selection.matches(event)], reached)

    async def _page(self, sequence: int, selection: Selection) -> list[Event]:
        """A page of the store; a selection by backend is left to `matches`."""
        jobs: Collection[str] = selection.jobs
        if jobs:
            jobs = {*jobs, *await self._store.child_ids(jobs)}
        return await self._store.events(
            sequence,
            limit=PAGE,
            project_id=selection.project_id,
            jobs=jobs,
            sessions=selection.sessions,
            kinds=selection.kinds,
        )

    async def read(
        self, cursor: str, selection: Selection, snapshot: Callable[[Selection], Awaitable[dict[str, Any]]]
    ) -> AsyncGenerator[FeedItem]:
        """Events after the cursor (also `EARLIEST`, `LATEST`), then live ones, until closed.

        Args:
            snapshot: Where the selected jobs stand, for a gap.

        Raises:
            InvalidCursor, CursorExpired: See `start`; the latter also when retention overtakes a slow reader.
            Unavailable: The orchestrator was closed.
        """
        start = await self.start(cursor)
        sequence = start.sequence
        if start.gone:
            yield Gap(self.cursor(sequence), await snapshot(selection))
        announced = False
        while True:
            batch = await self.batch(sequence, selection)
            for event in batch.events:
                yield Delivered(event, self.cursor(event.sequence))
            sequence = batch.reached
            if sequence < self.newest:
                continue
            if not announced:
                announced = True
                yield Live(self.cursor(sequence))
            await self._wait(sequence)
            if self.closed:
                raise Unavailable("the orchestrator was closed")

    async def _wait(self, sequence: int) -> None:
        if self.newest > sequence or self.closed:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    def _notice(self, entries: Sequence[Committed]) -> None:
        self._tail.extend(entries)
        self._wake()
        if self._listeners:
            events = [entry.event for entry in entries]
            for listener in self._listeners:
                listener(events)

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

"""The open feeds: how each catches up, how all that want the same are served at once, and how they end.

A feed that has caught up joins the group of those with the same selection and the same wire. A commit is looked
at once per group that could want it; what a group wants is encoded once, joined once per turn of the loop, and
the same bytes are written to all its members. A member whose buffer is full leaves its group. It is waited for,
catches up by itself from where it stands, and joins again; or it is cut, with its cursor, for being slow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import anyio
import structlog

from orchestrator.api.feed.connection import Connection
from orchestrator.api.feed.frames import Frames, GapFrame, LiveFrame, encode
from orchestrator.api.feed.groups import CHUNK, Groups
from orchestrator.api.feed.places import Places
from orchestrator.errors import CursorExpired
from orchestrator.events import Cursor, Event
from orchestrator.subscription import Selection, Start

if TYPE_CHECKING:
    from orchestrator.service import Orchestrator

log = structlog.get_logger()

#: Seconds between signs of life; a client has as long to answer one.
HEARTBEAT_S: Final = 15.0
#: Seconds a client has to take what it was sent, and to answer a close.
SEND_S: Final = 5.0
CLOSE_S: Final = 1.0
#: Seconds that a close which tells where to go on waits for a client that does not read.
FAREWELL_S: Final = 30.0


class Close(IntEnum):
    """Close codes of the feed."""

    SHUTDOWN = 1001
    BROKEN = 1011
    KEY = 4401
    SLOW = 4408
    EXPIRED = 4410


_TELLING: Final = frozenset({Close.SLOW, Close.EXPIRED})
_SHUTDOWN: Final = (Close.SHUTDOWN, "the server stops")
_REVOKED: Final = "the key was revoked"


class Feed:
    """One client's subscription.

    Attributes:
        sequence: Where it stands: all it wants up to here was written. While it is in a group, where it joined.
        queue: Whether it wants to know of places in line.
        gone: Events before its sequence are gone: it is told a gap first.
        resume: Where to go on if its cursor has expired; then it is told a gap instead of events.
        left: Set when it has to see to itself: it is full, or gone.
    """

    def __init__(
        self,
        connection: Connection,
        selection: Selection,
        start: Start,
        key_id: str | None,
        *,
        queue: bool = False,
        resume: str | None = None,
    ) -> None:
        self.connection = connection
        self.selection = selection
        self.sequence = start.sequence
        self.gone = start.gone
        self.key_id = key_id
        self.queue = queue
        self.resume = resume
        self.left = asyncio.Event()
        self.closed = asyncio.Event()
        self._scope = anyio.CancelScope()
        self._closing = anyio.CancelScope()
        self._verdict: tuple[Close, str] | None = None

    def end(self, code: Close, reason: str = "") -> None:
        """Let it end, from outside; `closed` is set when it has. A farewell under way gets no more time."""
        self._verdict = self._verdict or (code, reason)
        self._scope.cancel()
        self._closing.deadline = min(self._closing.deadline, anyio.current_time() + CLOSE_S)

    async def run(self, hub: Hub) -> None:
        """Serve it until the client leaves, is too slow, or `end` is called; then close it."""
        try:
            with self._scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(self._listen)
                    verdict = await self._follow(hub)
                    self._verdict = self._verdict or verdict
                    self._scope.cancel()
        finally:
            hub.leave(self)
            if self._verdict is None:
                self.connection.abort()  # gone, or said to be: what it has not read shall not keep it open
            else:
                await self.close(*self._verdict)
            self.closed.set()

    async def _listen(self) -> None:
        await self.connection.listen()
        self._scope.cancel()

    async def _follow(self, hub: Hub) -> tuple[Close, str] | None:
        resume = self.resume
        try:
            if resume is None:
                try:
                    await hub.follow(self)
                except CursorExpired as error:
                    resume = error.resume
            if resume is not None:
                self.sequence = Cursor.parse(resume).sequence
                await hub.tell_gap(self)
                return Close.EXPIRED, resume
        except TimeoutError:
            return Close.SLOW, hub.frames.cursor(self.sequence)
        except ConnectionError:
            return None  # the client went away: nothing is owed to it
        except Exception:
            log.exception("a feed broke")
            return Close.BROKEN, hub.frames.cursor(self.sequence)
        return None

    async def close(self, code: Close, reason: str = "") -> None:
        """End it, with a close frame if the client takes one in time.

        Nothing more is written to it meanwhile, so waiting for a client that reads nothing costs one full buffer.
        """
        closed = False
        limit_s = FAREWELL_S if code in _TELLING else CLOSE_S
        with anyio.move_on_after(limit_s, shield=True) as self._closing, suppress(ConnectionError):
            closed = await self.connection.close(code, reason)
        if not closed:
            self.connection.abort()


class Hub:
    """All open feeds of one application."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator
        self._log = orchestrator.event_log
        self.frames = Frames(self._log.epoch)
        self._feeds: set[Feed] = set()
        self._groups = Groups(self.frames)
        self._closed = False
        self._places = Places(orchestrator, self._write_aside)
        self._unlisten = self._log.listen(self._notice)

    @property
    def open(self) -> int:
        """How many feeds are open."""
        return len(self._feeds)

    def _notice(self, events: Sequence[Event]) -> None:
        """Listener of the log."""
        self._groups.tell(events)
        self._places.stir()

    async def serve(self, feed: Feed) -> None:
        """Serve a feed to its end."""
        if self._closed:
            feed.end(*_SHUTDOWN)
        self._feeds.add(feed)
        if feed.key_id is not None and self._orchestrator.accounts.is_revoked(feed.key_id):
            feed.end(Close.KEY, _REVOKED)  # while the feed was being opened
        try:
            await feed.run(self)
        finally:
            self._feeds.discard(feed)

    def leave(self, feed: Feed) -> None:
        """It is served no longer."""
        self._groups.leave(feed)
        self._places.farewell(feed)

    def revoked(self, key_id: str) -> None:
        """Close the feeds of a key that died."""
        for feed in self._feeds:
            if feed.key_id == key_id:
                feed.end(Close.KEY, _REVOKED)

    async def aclose(self) -> None:
        """Close all feeds, all at once."""
        self._closed = True
        self._unlisten()
        self._places.close()
        feeds = tuple(self._feeds)
        for feed in feeds:
            feed.end(*_SHUTDOWN)
        for feed in feeds:
            await feed.closed.wait()

    async def follow(self, feed: Feed) -> None:
        """Write all a feed wants, from where it stands, until it is gone.

        Raises:
            TimeoutError: The client is too slow.
            CursorExpired: Retention has overtaken it.
        """
        if feed.gone:
            await self.tell_gap(feed)
        announced = False
        while not feed.connection.gone:
            batch = await self._log.batch(feed.sequence, feed.selection)
            await self._send(feed, batch.events)
            feed.sequence = batch.reached
            if feed.sequence < self._log.newest:
                await asyncio.sleep(0)  # reading the tail waits for nothing: let others run
                continue
            if not announced:
                announced = True
                cursor = self.frames.cursor(feed.sequence)
                self._write(feed, encode(LiveFrame(cursor=cursor)), cursor)
            self._groups.join(feed)
            if feed.queue:
                self._places.welcome(feed)
            await self._member(feed)
            await self._drained(feed)

    async def tell_gap(self, feed: Feed) -> None:
        """Tell where things stand, for a client whose events are gone, and the cursor to go on from: where it stands.

        The cursor is older than the snapshot: events after it may tell what the snapshot shows already.

        Raises:
            TimeoutError: The client is too slow.
        """
        cursor = self.frames.cursor(feed.sequence)
        state = await self._orchestrator.snapshot(feed.selection)
        if not self._write(feed, encode(GapFrame(cursor=cursor, snapshot=state)), cursor):
            await self._drained(feed)

    def _write(self, feed: Feed, payload: bytes, cursor: str) -> bool:
        wire = feed.connection.wire
        return feed.connection.write(wire.joined((wire.frame(payload, cursor),)))

    def _write_aside(self, feed: Feed, payloads: Sequence[bytes]) -> None:
        """Write what is no event; a feed that has not read enough for it sees to itself then, like any slow one."""
        wire = feed.connection.wire
        if not feed.connection.write(wire.joined(map(wire.frame, payloads))):
            self._groups.leave(feed)
            feed.left.set()

    async def _send(self, feed: Feed, events: Sequence[Event]) -> None:
        wire = feed.connection.wire
        frames: list[bytes] = []
        size = 0
        for event in events:
            frames.append(wire.event(self.frames, event))
            size += len(frames[-1])
            if size >= CHUNK or event is events[-1]:
                written = feed.connection.write(wire.joined(frames))
                feed.sequence = event.sequence
                frames, size = [], 0
                if not written:
                    await self._drained(feed)

    async def _drained(self, feed: Feed) -> None:
        async with asyncio.timeout(SEND_S):
            await feed.connection.drained()

    async def _member(self, feed: Feed) -> None:
        """Until the feed has to see to itself.

        Raises:
            TimeoutError: The client gives no sign of life.
        """
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    await feed.left.wait()
            except TimeoutError:
                if feed.connection.silent:
                    self._groups.leave(feed)
                    raise
                if feed.connection.beat():
                    continue
                self._groups.leave(feed)
            feed.left.clear()
            return

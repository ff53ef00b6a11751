"""The hub without sockets: who is served together, how a slow member falls out and comes back, what is cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import anyio
import anyio.abc
import pytest
from aiohttp import web

from orchestrator import subscription
from orchestrator.accounts import Principal
from orchestrator.api.feed import groups
from orchestrator.api.feed import hub as hubs
from orchestrator.api.feed.connection import Connection
from orchestrator.api.feed.frames import WEBSOCKET
from orchestrator.api.feed.hub import Close, Feed, Hub
from orchestrator.api.feed.tickets import PER_KEY, VALID_S, Tickets
from orchestrator.events import Event, EventKind
from orchestrator.service import Orchestrator
from orchestrator.storage.abc import Record
from orchestrator.subscription import Delivered, Selection, Start
from orchestrator.testing.clock import ManualClock


class Client(Connection):
    """A client in memory; takes everything until `full` is set."""

    wire = WEBSOCKET

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.full = False
        self.room = asyncio.Event()
        self.closing: tuple[int, str] | None = None
        self.closed = asyncio.Event()
        self.beaten = asyncio.Event()

    def _response(self) -> web.StreamResponse:
        raise NotImplementedError

    @property
    def gone(self) -> bool:
        return False

    def write(self, data: bytes) -> bool:
        self.taken.append(data)
        return not self.full

    async def drained(self) -> None:
        if self.full:
            await self.room.wait()

    async def listen(self) -> None:
        await anyio.sleep_forever()

    async def close(self, code: int, reason: str) -> bool:
        self.closing = (code, reason)
        self.closed.set()
        return True

    def abort(self) -> None:
        raise AssertionError

    def beat(self) -> bool:
        self.beaten.set()
        return super().beat()

    def sequences(self) -> list[int]:
        """Sequences of the events that were written, in order."""
        parts = b"".join(self.taken).split(b'"cursor":"')[1:]
        kept = [part for part in parts if b'"kind"' in part[:60]]
        return [int(part.partition(b'"')[0].rpartition(b":")[2]) for part in kept]


@pytest.fixture
async def orchestrator() -> AsyncIterator[Orchestrator]:
    """One in memory, without backends."""
    async with Orchestrator.open(adapters=[]) as opened:
        yield opened


@pytest.fixture
async def hub(orchestrator: Orchestrator) -> AsyncIterator[Hub]:
    """A hub whose feeds end with the test."""
    opened = Hub(orchestrator)
    yield opened
    await opened.aclose()


async def record(orchestrator: Orchestrator, number: int, backend: str = "b") -> None:
    """Commit so many events, one by one."""
    for _ in range(number):
        await orchestrator.store.record(
            Record(Event(sequence=0, kind=EventKind.BACKEND_CHANGED, at=0, backend=backend))
        )


async def settle() -> None:
    """Let everybody run who can."""
    for _ in range(50):
        await asyncio.sleep(0)


def opened(hub: Hub, orchestrator: Orchestrator, group: anyio.abc.TaskGroup, **options: frozenset[str]) -> Client:
    """A feed from now on."""
    client = Client()
    selection = Selection(orchestrator.project.id, **options)
    group.start_soon(hub.serve, Feed(client, selection, Start(orchestrator.event_log.newest), "key"))
    return client


async def test_an_event_is_encoded_once_for_all(hub: Hub, orchestrator: Orchestrator) -> None:
    """Feeds with equal selections get the very same bytes object; others get what they chose."""
    async with anyio.create_task_group() as group:
        first, second = (opened(hub, orchestrator, group) for _ in range(2))
        other = opened(hub, orchestrator, group, backends=frozenset({"other"}))
        await settle()
        await record(orchestrator, 2)
        await settle()
        assert first.sequences() == second.sequences() == [1, 2]
        assert all(mine is yours for mine, yours in zip(first.taken[1:], second.taken[1:], strict=True))
        assert other.sequences() == []
        await hub.aclose()
    assert first.closing == (Close.SHUTDOWN, "the server stops")


async def test_a_full_member_leaves_and_comes_back(hub: Hub, orchestrator: Orchestrator) -> None:
    """While it does not take anything nothing is written to it; afterwards it misses nothing. Others go on."""
    async with anyio.create_task_group() as group:
        slow, quick = (opened(hub, orchestrator, group) for _ in range(2))
        await settle()
        slow.full = True
        await record(orchestrator, 10)
        await settle()
        assert quick.sequences() == list(range(1, 11))
        assert slow.sequences() == [1]
        slow.full = False
        slow.room.set()
        await settle()
        await record(orchestrator, 5)
        await settle()
        assert slow.sequences() == quick.sequences() == list(range(1, 16))
        await hub.aclose()


@pytest.mark.parametrize("way", ["aside", "beat"])
async def test_what_is_no_event_and_fills_a_member_repeats_nothing(
    hub: Hub, orchestrator: Orchestrator, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """A member that is full after a place in line, or a sign of life, goes on after the last event it was written."""
    if way == "beat":
        monkeypatch.setattr(hubs, "HEARTBEAT_S", 0.01)
    async with anyio.create_task_group() as group:
        client = opened(hub, orchestrator, group)
        await settle()
        await record(orchestrator, 3)
        await settle()
        client.full = True
        client.beaten.clear()
        if way == "aside":
            (feed,) = hub._feeds
            hub._write_aside(feed, [b"{}"])
        else:
            with anyio.fail_after(5):
                await client.beaten.wait()
        await settle()
        client.full = False
        client.room.set()
        await record(orchestrator, 2)
        await settle()
        assert client.sequences() == [1, 2, 3, 4, 5]
        await hub.aclose()


async def test_a_reader_behind_the_tail_reads_the_store(
    hub: Hub, orchestrator: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However short the tail, and whenever it joins: contiguous."""
    monkeypatch.setattr(subscription, "TAIL", 3)
    monkeypatch.setattr(subscription, "PAGE", 4)
    monkeypatch.setattr(groups, "CHUNK", 300)
    monkeypatch.setattr(hubs, "CHUNK", 300)
    async with anyio.create_task_group() as group:
        clients = [opened(hub, orchestrator, group)]
        slow = opened(hub, orchestrator, group)
        await settle()
        slow.full = True
        for _ in range(5):
            await record(orchestrator, 9)
            late = Client()
            group.start_soon(hub.serve, Feed(late, Selection(orchestrator.project.id), Start(0), None))
            clients.append(late)
        slow.full = False
        slow.room.set()
        await record(orchestrator, 9)
        await settle()
        for client in (*clients, slow):
            assert client.sequences() == list(range(1, 55))
        await hub.aclose()


async def test_a_slow_client_is_cut_at_its_cursor(
    hub: Hub, orchestrator: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4408, and the reason is where it can go on: after the last event it was sent."""
    monkeypatch.setattr(hubs, "SEND_S", 0.01)
    async with anyio.create_task_group() as group:
        slow = opened(hub, orchestrator, group)
        await settle()
        slow.full = True
        await record(orchestrator, 3)
        with anyio.fail_after(5):
            await slow.closed.wait()
    assert slow.closing == (Close.SLOW, orchestrator.event_log.cursor(1))
    assert slow.sequences() == [1]


async def test_a_revoked_key_ends_its_feeds(hub: Hub, orchestrator: Orchestrator) -> None:
    """At once, and no others."""
    async with anyio.create_task_group() as group:
        mine = opened(hub, orchestrator, group)
        other = Client()
        group.start_soon(hub.serve, Feed(other, Selection(orchestrator.project.id), Start(0), "other"))
        await settle()
        hub.revoked("key")
        await settle()
        assert (mine.closing, other.closing) == ((Close.KEY, "the key was revoked"), None)
        await hub.aclose()


async def test_embedded_readers_follow_families(orchestrator: Orchestrator) -> None:
    """`events` of the embedding API selects as the feed does, from store and tail alike."""
    await record(orchestrator, 3)
    found = []
    async for item in orchestrator.events("earliest", kinds=["backend.*"]):
        if not isinstance(item, Delivered):
            break
        found.append(item.event.sequence)
    assert found == [1, 2, 3]


async def test_a_tail_that_is_not_continued_begins_anew(
    orchestrator: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hole in what the bus tells is read from the store, never skipped."""
    log = orchestrator.event_log
    await record(orchestrator, 2)
    with monkeypatch.context() as deaf:
        deaf.setattr(orchestrator.bus, "publish", lambda _: None)
        await record(orchestrator, 2)
    await record(orchestrator, 1)
    batch = await log.batch(0, Selection())
    assert [event.sequence for event in batch.events] == [1, 2, 3, 4, 5]


def test_tickets_are_short_lived_and_few() -> None:
    """One use, 30 seconds, a bounded number for each key."""
    clock = ManualClock()
    tickets = Tickets(clock)
    principal = Principal(key_id="key", key_name="", project_id="project")
    text = tickets.issue(principal)
    assert tickets.redeem(text) is principal
    assert tickets.redeem(text) is None
    late = tickets.issue(principal)
    clock.advance(VALID_S)
    assert tickets.redeem(late) is None
    issued = [tickets.issue(principal) for _ in range(PER_KEY + 1)]
    assert [tickets.redeem(issued[0]), tickets.redeem(issued[1])] == [None, principal]


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_websocket_frames_of_all_lengths(size: int) -> None:
    """The length takes one, three or nine bytes (RFC 6455, section 5.2)."""
    frame = WEBSOCKET.frame(b"x" * size)
    assert frame[0] == 0x81
    short = frame[1]
    head = 2 if short < 126 else 4 if short == 126 else 10
    length = short if head == 2 else int.from_bytes(frame[2:head])
    assert (length, len(frame)) == (size, head + size)

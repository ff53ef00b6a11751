"""Clients that do not keep up, over real sockets: each is told where to go on, whenever it reads again."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

import anyio
import msgspec
import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType

from orchestrator.api.feed import connection as connections
from orchestrator.api.feed import hub
from orchestrator.api.feed.groups import CHUNK
from orchestrator.events import Event, EventKind
from orchestrator.storage.abc import Record
from tests.contract.harness import Client, Service

#: Of each event, so that a few hundred fill all buffers.
_REASON = "x" * 1_000
_EVENTS = 400
#: Bytes that the kernel holds for a client that reads nothing.
_RECEIVED = 32_768


class Closing:
    """The closes of all feeds, as they begin and end.

    Attributes:
        begun: Feeds that are being closed, with code and reason.
        held: Most bytes that were waiting for one of them when its close began.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun: list[tuple[hub.Feed, hub.Close, str]] = []
        self.held = 0
        self._changed = anyio.Event()
        close = hub.Feed.close

        async def watched(feed: hub.Feed, code: hub.Close, reason: str = "") -> None:
            transport = feed.connection._transport
            assert transport is not None
            self.held = max(self.held, transport.get_write_buffer_size())
            self.begun.append((feed, code, reason))
            self._changed.set()
            await close(feed, code, reason)

        monkeypatch.setattr(hub.Feed, "close", watched)

    @property
    def codes(self) -> list[hub.Close]:
        return [code for _, code, _ in self.begun]

    async def next(self) -> None:
        """Wait until a close begins."""
        with anyio.fail_after(10):
            await self._changed.wait()
        self._changed = anyio.Event()


@pytest.fixture
def closing(monkeypatch: pytest.MonkeyPatch) -> Closing:
    """Little patience, none for the usual close, and small buffers in the kernel."""
    monkeypatch.setattr(hub, "SEND_S", 0.5)
    monkeypatch.setattr(hub, "CLOSE_S", 0.0)
    monkeypatch.setattr(connections, "_KERNEL_BUFFER", 4_096)
    return Closing(monkeypatch)


async def happen(service: Service, number: int) -> None:
    """So many events, not all at once."""
    data = {"status": "available", "reason": _REASON}
    event = Event(sequence=0, kind=EventKind.BACKEND_CHANGED, at=0, backend="simulator", data=data)
    for _ in range(number):
        await service.orchestrator.store.record(Record(event))


def transport_of(answer: Any) -> asyncio.Transport:
    transport: asyncio.Transport = answer.connection.transport
    return transport


async def stalled(client: Client, **query: str) -> ClientWebSocketResponse:
    """A websocket that is live, and from then on does not read."""
    opened = await client.session.ws_connect("/events/v1", params=query)
    assert msgspec.json.decode((await opened.receive()).data)["type"] == "live"
    transport = transport_of(opened._response)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVED)
    transport.pause_reading()
    return opened


async def rest(opened: ClientWebSocketResponse) -> tuple[list[dict[str, Any]], int | None, str]:
    """Read on to the end: the frames, the close code and its reason."""
    transport_of(opened._response).resume_reading()
    found = []
    with anyio.fail_after(10):
        while (message := await opened.receive()).type is WSMsgType.TEXT:
            found.append(msgspec.json.decode(message.data))
    return found, opened.close_code, str(message.extra or "")


def numbers(frames: Sequence[dict[str, Any]]) -> list[int]:
    return [int(frame["cursor"].rpartition(":")[2]) for frame in frames if frame["type"] == "event"]


async def events(opened: ClientWebSocketResponse, number: int) -> list[int]:
    """The sequences of so many events."""
    found: list[int] = []
    with anyio.fail_after(10):
        while len(found) < number:
            found += numbers([msgspec.json.decode((await opened.receive()).data)])
    return found


async def test_a_slow_client_that_reads_on_is_told_where_to_go_on(
    service: Service, client: Client, closing: Closing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets all that was sent, then 4408 with the cursor of the last of it; from there on nothing is missing."""
    before = service.orchestrator.event_log.newest
    slow = await stalled(client)
    quick = await client.session.ws_connect("/events/v1?cursor=earliest")
    reading = asyncio.create_task(events(quick, before + _EVENTS))
    await happen(service, _EVENTS)
    await closing.next()
    frames, code, reason = await rest(slow)
    assert (code, reason) == (hub.Close.SLOW, frames[-1]["cursor"])
    assert numbers(frames) == list(range(before + 1, before + 1 + len(frames)))
    assert len(frames) < _EVENTS
    assert closing.held <= connections.BUFFER + CHUNK + 4 * len(_REASON)
    monkeypatch.setattr(hub, "SEND_S", 30.0)  # this one reads, however busy the machine
    resumed = await client.session.ws_connect("/events/v1", params={"cursor": reason})
    missed = _EVENTS - len(frames)
    assert await events(resumed, missed) == list(range(before + _EVENTS + 1 - missed, before + _EVENTS + 1))
    assert await reading == list(range(1, before + _EVENTS + 1))


async def test_a_slow_event_stream_that_reads_on_is_told_too(
    service: Service, client: Client, closing: Closing
) -> None:
    """Its last frame is the close, and its last id the cursor that tells."""
    headers = {"Accept": "text/event-stream"}
    async with client.session.get("/events/v1", headers=headers) as answer:
        lines = answer.content
        while b"live" not in await lines.readline():
            pass
        transport = transport_of(answer)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVED)
        transport.pause_reading()
        await happen(service, _EVENTS)
        await closing.next()
        transport.resume_reading()
        with anyio.fail_after(10):
            told = (await lines.read()).decode()
    ids = [line[4:] for line in told.split("\n") if line.startswith("id: ")]
    last = msgspec.json.decode(told.strip().rpartition("data: ")[2])
    assert last == {"type": "close", "code": hub.Close.SLOW, "reason": ids[-1]}


async def test_one_that_never_reads_is_dropped_in_the_end(
    service: Service, client: Client, closing: Closing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its farewell has a limit."""
    monkeypatch.setattr(hub, "FAREWELL_S", 0.05)
    slow = await stalled(client)
    await happen(service, _EVENTS)
    await closing.next()
    (feed, _, _) = closing.begun[0]
    with anyio.fail_after(10):
        await feed.closed.wait()
    assert (await rest(slow))[1] != hub.Close.SLOW


@pytest.mark.parametrize("end", ["stop", "revoke"])
async def test_a_farewell_holds_nothing_up(service: Service, client: Client, closing: Closing, end: str) -> None:
    """A stop, and the death of the key, do not wait for who reads nothing."""
    slow = await stalled(client)
    await happen(service, _EVENTS)
    await closing.next()
    (feed, code, _) = closing.begun[0]
    assert (code, feed.closed.is_set()) == (hub.Close.SLOW, False)
    with anyio.fail_after(5):
        if end == "stop":
            await service.stop()
        else:
            await service.orchestrator.accounts.revoke_key(client.key_id, project=service.orchestrator.project.id)
        await feed.closed.wait()
    assert (await rest(slow))[1] != hub.Close.SLOW


async def test_one_that_gives_no_sign_of_life_is_told_too(
    client: Client, closing: Closing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where little happens and no buffer is full; whoever reads stays."""
    monkeypatch.setattr(hub, "HEARTBEAT_S", 0.3)
    quick = await client.session.ws_connect("/events/v1")
    reading = asyncio.create_task(events(quick, 8))  # answers the pings
    slow = await stalled(client)
    job_id = await client.submit()
    await closing.next()
    frames, code, reason = await rest(slow)
    assert [frame["job_id"] for frame in frames] == [job_id] * 4
    assert (code, reason) == (hub.Close.SLOW, frames[-1]["cursor"])
    assert closing.codes == [hub.Close.SLOW]
    assert not reading.done()
    await client.submit()
    assert len(await reading) == 8


@pytest.fixture
async def client(service: Service) -> Client:
    """A client of the first project, alone with its key."""
    return await service.client()

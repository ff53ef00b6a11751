"""The event feed over real websockets: order, resumption, filters, and every way it ends."""

from __future__ import annotations

from typing import Any

import anyio
import msgspec
import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType, WSServerHandshakeError

from orchestrator.api.feed import hub
from tests.contract.harness import BELL, MULTI, Client, Service, launched

LIFE = ["job.submitted", "job.ready", "job.started", "job.completed"]


async def frames(socket: ClientWebSocketResponse, until: str = "live") -> list[dict[str, Any]]:
    """Frames up to and including the first of that type or kind."""
    found: list[dict[str, Any]] = []
    with anyio.fail_after(10):
        while not found or until not in {found[-1]["type"], found[-1].get("kind")}:
            message = await socket.receive()
            assert message.type is WSMsgType.TEXT, message
            found.append(msgspec.json.decode(message.data))
    return found


async def close_of(socket: ClientWebSocketResponse) -> tuple[int | None, str]:
    """Close code and reason, whatever comes before."""
    with anyio.fail_after(10):
        while True:
            message = await socket.receive()
            if message.type in {WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.CLOSING, WSMsgType.ERROR}:
                return socket.close_code, str(message.extra or "")


async def test_history_then_live_in_order(service: Service, client: Client) -> None:
    """From the beginning: all events of the project in order, then `live`, then what happens now."""
    first = await client.submit()
    await service.orchestrator.wait(first, timeout_s=10)
    async with client.session.ws_connect("/events/v1?cursor=earliest") as socket:
        history = [frame for frame in await frames(socket) if frame.get("job_id") == first]
        assert [frame["kind"] for frame in history] == LIFE
        assert [(frame["from"], frame["to"]) for frame in history] == [
            (None, "submitted"), ("submitted", "ready"), ("ready", "started"), ("started", "completed"),
        ]  # fmt: skip
        expected = {"type", "cursor", "kind", "job_id", "parent_id", "project_id", "backend", "attempt", "from", "to"}
        assert set(history[0]) == expected | {"at", "data"}
        second = await client.submit()
        live = await frames(socket, "job.completed")
        assert [(frame["job_id"], frame["kind"]) for frame in live] == [(second, kind) for kind in LIFE]


async def test_a_cut_feed_resumes_without_gap_or_duplicate(service: Service, client: Client) -> None:
    """Cut after every frame and resumed at its cursor, a reader sees what an uncut one sees."""
    await service.orchestrator.wait(await client.submit(MULTI), timeout_s=10)
    async with client.session.ws_connect("/events/v1?cursor=earliest") as socket:
        whole = (await frames(socket))[:-1]
    pieces, cursor = [], "earliest"
    for _ in whole:
        async with client.session.ws_connect("/events/v1", params={"cursor": cursor}) as socket:
            frame = msgspec.json.decode((await socket.receive()).data)
        pieces.append(frame)
        cursor = frame["cursor"]
    assert pieces == whole


async def test_latest_tells_nothing_old(service: Service, client: Client) -> None:
    """Without a cursor a feed begins now."""
    await service.orchestrator.wait(await client.submit(), timeout_s=10)
    async with client.session.ws_connect("/events/v1") as socket:
        assert [frame["type"] for frame in await frames(socket)] == ["live"]


async def test_filters_by_job_and_kind(service: Service, client: Client) -> None:
    """`job` and `kind` repeat, and both must hold."""
    jobs = [await client.submit() for _ in range(3)]
    for job_id in jobs:
        await service.orchestrator.wait(job_id, timeout_s=10)
    path = f"/events/v1?cursor=earliest&job={jobs[0]}&job={jobs[2]}&kind=job.completed&kind=job.failed"
    async with client.session.ws_connect(path) as socket:
        found = (await frames(socket))[:-1]
    assert {(frame["job_id"], frame["kind"]) for frame in found} == {
        (jobs[0], "job.completed"), (jobs[2], "job.completed"),
    }  # fmt: skip


async def test_a_project_sees_its_own_events_only(service: Service, client: Client) -> None:
    """Foreign and unknown jobs are equally silent."""
    job_id = await client.submit()
    await service.orchestrator.wait(job_id, timeout_s=10)
    other = await service.client("other")
    for query in ("", f"&job={job_id}", "&job=unknown"):
        async with other.session.ws_connect(f"/events/v1?cursor=earliest{query}") as socket:
            assert {frame["type"] for frame in await frames(socket) if frame.get("project_id")} == set()


async def test_a_feed_needs_a_key_and_an_allowed_origin(service: Service, client: Client) -> None:
    """401 without a key, 403 for pages of other origins; same origin may."""
    stranger = await service.stranger()
    for asker, headers, status in (
        (stranger, {}, 401),
        (client, {"Origin": "https://elsewhere.example"}, 403),
        (client, {"Origin": "null"}, 403),
        (client, {"Origin": "http://["}, 403),
    ):
        with pytest.raises(WSServerHandshakeError) as refused:
            await asker.session.ws_connect("/events/v1", headers=headers)
        assert refused.value.status == status
    async with client.session.ws_connect("/events/v1", headers={"Origin": service.bound.url}) as socket:
        assert await frames(socket)


async def test_a_revoked_key_closes_its_feeds(service: Service, client: Client) -> None:
    """4401 for the key's feeds, none for others'."""
    other = await service.client()
    async with (
        client.session.ws_connect("/events/v1") as socket,
        other.session.ws_connect("/events/v1") as untouched,
    ):
        await frames(socket)
        await frames(untouched)
        await service.orchestrator.accounts.revoke_key(client.key_id, project=service.orchestrator.project.id)
        assert (await close_of(socket))[0] == hub.Close.KEY
        await other.submit()
        assert await frames(untouched, "job.completed")


async def test_shutdown_closes_all_feeds_at_once() -> None:
    """All feeds get 1001 and the server is gone soon after."""
    with anyio.fail_after(10):
        async with launched() as service:
            client = await service.client()
            sockets = [await client.session.ws_connect("/events/v1") for _ in range(20)]
            for socket in sockets:
                await frames(socket)
            codes: list[int | None] = []

            async def watch(socket: ClientWebSocketResponse) -> None:
                codes.append((await close_of(socket))[0])

            async with anyio.create_task_group() as group:
                for socket in sockets:
                    group.start_soon(watch, socket)
                await service.stop()
    assert codes == [hub.Close.SHUTDOWN] * len(sockets)


async def test_ping_and_noise_from_the_client(client: Client) -> None:
    """What a client says is ignored; an oversized message ends its feed alone."""
    async with client.session.ws_connect("/events/v1") as socket:
        await frames(socket)
        await socket.send_str("hello")
        await client.submit(BELL)
        await frames(socket, "job.completed")
        await socket.send_bytes(b"x" * 100_000)
        assert (await close_of(socket))[0] == 1009

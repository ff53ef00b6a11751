"""What a feed tells, over both transports: selections, resumption, tickets, gaps, places in line, its schema."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import jsonschema
import msgspec
import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType, WSServerHandshakeError

from orchestrator.api.feed import places
from orchestrator.api.feed.hub import Close
from orchestrator.api.feed.routes import schema_bytes
from orchestrator.api.server import serve
from orchestrator.events import LOGGED
from orchestrator.service import Orchestrator
from orchestrator.settings import ServerSettings, Settings
from tests.contract.harness import BELL, MULTI, Client, Service

SCHEMA = msgspec.json.decode(schema_bytes())
VALID = jsonschema.Draft202012Validator(SCHEMA)
STREAM = {"Accept": "text/event-stream"}
Frame = dict[str, Any]


def read(text: str) -> Frame:
    """A frame, held against the schema."""
    frame: Frame = msgspec.json.decode(text)
    VALID.validate(frame)
    return frame


async def told(socket: ClientWebSocketResponse, until: str = "live") -> list[Frame]:
    """Frames up to and including the first of that type or kind."""
    found: list[Frame] = []
    with anyio.fail_after(10):
        while not found or until not in {found[-1]["type"], found[-1].get("kind")}:
            message = await socket.receive()
            assert message.type is WSMsgType.TEXT, message
            found.append(read(message.data))
    return found


async def history(client: Client, query: str) -> list[Frame]:
    """What a websocket tells of the past."""
    async with client.session.ws_connect(f"/events/v1?cursor=earliest&{query}") as socket:
        return (await told(socket))[:-1]


async def stream(client: Client, query: str = "", **headers: str) -> AsyncIterator[tuple[str | None, Frame]]:
    """Ids and frames of an event stream."""
    async with client.session.get(f"/events/v1?{query}", headers={**STREAM, **headers}) as response:
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        lines: list[str] = []
        async for raw in response.content:
            if line := raw.decode().rstrip("\n"):
                lines.append(line)
                continue
            fields = dict(line.split(": ", 1) for line in lines if not line.startswith(":"))
            lines = []
            if fields:
                yield fields.get("id"), read(fields["data"])


async def past(client: Client, query: str = "", **headers: str) -> list[tuple[str | None, Frame]]:
    """What an event stream tells of the past."""
    found = []
    with anyio.fail_after(10):
        async for entry in stream(client, query, **headers):
            if entry[1]["type"] == "live":
                break
            found.append(entry)
    return found


async def finished(service: Service, client: Client, body: Any = BELL) -> str:
    """A job that has ended."""
    job_id = await client.submit(body)
    await service.orchestrator.wait(job_id, timeout_s=10)
    return job_id


async def test_both_transports_tell_the_same(service: Service, client: Client) -> None:
    """Frame by frame; the id of a streamed frame is its cursor, and goes on from there."""
    await finished(service, client, MULTI)
    frames = await history(client, "")
    streamed = await past(client, "cursor=earliest")
    assert [frame for _, frame in streamed] == frames
    assert [cursor for cursor, _ in streamed] == [frame["cursor"] for frame in frames]
    middle = frames[4]["cursor"]
    assert [frame for _, frame in await past(client, "cursor=earliest", **{"Last-Event-ID": middle})] == frames[5:]


async def test_a_stream_goes_on_live_and_says_why_it_ends(service: Service, client: Client) -> None:
    """History, `live`, what happens now, and at shutdown a last frame with the code."""
    seen: list[Frame] = []
    with anyio.fail_after(20):
        async for _, frame in stream(client, "kind=job.completed"):
            seen.append(frame)
            if frame["type"] == "live":
                await client.submit()
            elif frame["type"] == "event":
                async with anyio.create_task_group() as group:
                    group.start_soon(service.stop)
    assert [frame["type"] for frame in seen] == ["live", "event", "close"]
    assert seen[-1]["code"] == Close.SHUTDOWN


async def test_a_parent_stands_for_its_children(service: Service, client: Client) -> None:
    """In history as live: all events of parent and children, progress among them, none of other jobs."""
    async with client.session.ws_connect("/events/v1") as everything:
        await told(everything)
        parent = await client.submit(MULTI)
        async with client.session.ws_connect(f"/events/v1?cursor=earliest&job={parent}") as chosen:
            live: list[Frame] = []
            with anyio.fail_after(10):
                while not live or (live[-1].get("job_id"), live[-1].get("kind")) != (parent, "job.completed"):
                    live += [read((await chosen.receive()).data)]
    await finished(service, client)
    family = [frame for frame in await history(client, "") if parent in {frame["job_id"], frame["parent_id"]}]
    assert await history(client, f"job={parent}") == family
    assert [frame for frame in live if frame["type"] == "event"] == family
    progress = [frame["data"] for frame in family if frame["kind"] == "job.progress"]
    assert progress
    assert all(data["total"] == 3 for data in progress)
    assert len({frame["job_id"] for frame in family}) == 4


async def test_families_of_kinds_and_backends(service: Service, client: Client) -> None:
    """``backend.*`` means all its kinds, ``backend`` restricts to that backend's jobs and own events."""
    await finished(service, client)
    await finished(service, client, {**BELL, "backend": "qpu.aria-1"})
    frames = await history(client, "")
    kinds = [frame for frame in frames if frame["kind"].startswith("backend.")]
    assert await history(client, "kind=backend.*") == kinds != []
    qpu = [frame for frame in frames if frame["backend"] == "qpu.aria-1"]
    assert await history(client, "backend=qpu.aria-1") == qpu != []
    assert await history(client, "backend=aria-1") == qpu
    async with client.session.ws_connect("/events/v1?backend=aria-1") as socket:
        await told(socket)
        job_id = await client.submit({**BELL, "backend": "aria-1"})
        assert (await told(socket, "job.completed"))[-1]["job_id"] == job_id


@pytest.mark.parametrize(
    "query",
    [
        "kind=nothing.*",
        "kind=hook.test",
        "kind=",
        "backend=aria-9",
        "backend=",
        "job=",
        "session=",
        "job=x&job=",
        "cursor=",
        "queue=maybe",
    ],
)
async def test_what_nothing_can_match_is_refused_by_name(client: Client, query: str) -> None:
    """A feed that would stay silent for ever is a mistake, and so is one that begins where nobody said."""
    for headers in ({}, STREAM):
        status, answer = await client.ask("GET", f"/events/v1?{query}", headers=headers)
        field = query.partition("=")[0]
        assert (status, answer["validation"]) == (400, {"keys": [field], "source": "query"})


async def test_a_parameter_that_there_is_not_is_refused(client: Client) -> None:
    """A misspelt filter would let everything through."""
    status, answer = await client.ask("GET", "/events/v1?kinds=job.failed", headers=STREAM)
    assert (status, answer["code"]) == (422, "unknown_field")
    assert answer["validation"] == {"keys": ["kinds"], "source": "query"}


async def test_a_ticket_opens_one_feed_once(service: Service, client: Client) -> None:
    """Without a key in the header, for the project of the key that asked for it; a revoked key takes it along."""
    job_id = await finished(service, client)
    stranger = await service.stranger()
    status, answer = await client.ask("POST", "/events/v1/tickets")
    assert (status, answer["expires_in_s"]) == (201, 30)
    path = f"/events/v1?cursor=earliest&ticket={answer['ticket']}"
    async with stranger.session.ws_connect(path) as socket:
        assert job_id in {frame.get("job_id") for frame in await told(socket)}
    unused = (await client.ask("POST", "/events/v1/tickets"))[1]["ticket"]
    await service.orchestrator.accounts.revoke_key(client.key_id, project=service.orchestrator.project.id)
    for ticket in (answer["ticket"], unused, "x"):
        with pytest.raises(WSServerHandshakeError) as refused:
            await stranger.session.ws_connect(f"/events/v1?ticket={ticket}")
        assert refused.value.status == 401
    assert (await stranger.ask("POST", "/events/v1/tickets"))[0] == 401


async def test_a_ticket_is_not_for_foreign_pages(client: Client) -> None:
    """The origin counts for tickets and streams as for websockets; no browser is told that it may read anything."""
    headers = {"Origin": "https://elsewhere.example"}
    for method, path in (("POST", "/events/v1/tickets"), ("GET", "/events/v1"), ("OPTIONS", "/events/v1/tickets")):
        assert (await client.ask(method, path, headers={**STREAM, **headers}))[0] == 403
        assert "Access-Control-Allow-Origin" not in client.headers


async def test_pages_of_allowed_origins_may_read_what_they_ask() -> None:
    """Preflight, ticket, stream and refusals all name the origin that asked, and no other."""
    origin = "https://app.example"
    settings = Settings(server=ServerSettings(allowed_origins=(origin, "https://other.example")))
    async with Orchestrator.open(adapters=[], settings=settings) as orchestrator:
        _, key = await orchestrator.accounts.add_key(orchestrator.project.id, "test")
        async with serve(orchestrator, "127.0.0.1", 0) as bound, ClientSession(bound.url) as session:
            for path, method in (("/events/v1/tickets", "POST"), ("/events/v1", "GET")):
                asked = {"Origin": origin, "Access-Control-Request-Method": method}
                async with session.options(path, headers=asked) as answer:
                    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (204, origin)
                    assert method in answer.headers["Access-Control-Allow-Methods"]
                    assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
            headers = {"Origin": origin, "Authorization": f"apiKey {key}"}
            async with session.post("/events/v1/tickets", headers=headers) as answer:
                assert answer.headers["Access-Control-Allow-Origin"] == origin
                ticket = (await answer.json())["ticket"]
            for status in (200, 401):  # a ticket is good once, and a page may read that it was
                url = f"/events/v1?ticket={ticket}"
                async with session.get(url, headers={"Origin": origin, **STREAM}) as answer:
                    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (status, origin)
                    assert answer.headers["Vary"] == "Origin"
            async with session.get("/events/v1/schema") as answer:
                assert "Access-Control-Allow-Origin" not in answer.headers


async def test_an_expired_cursor_gets_a_snapshot_to_go_on_from(service: Service, client: Client) -> None:
    """A gap with where things stand, then 4410; from its cursor on nothing is missing."""
    old = await finished(service, client)
    cursor = (await history(client, ""))[0]["cursor"]
    held = await client.submit({**BELL, "name": "hold"})
    await service.orchestrator.store.trim(2**60, 100)
    async with client.session.ws_connect("/events/v1", params={"cursor": cursor}) as socket:
        gap = (await told(socket, "gap"))[0]
        with anyio.fail_after(10):
            closing = await socket.receive()
    assert (socket.close_code, closing.extra) == (Close.EXPIRED, gap["cursor"])
    assert [job["id"] for job in gap["snapshot"]["jobs"]] == [held]
    assert {backend["backend"] for backend in gap["snapshot"]["backends"]} == {"simulator", "qpu.aria-1"}
    chosen = [frame async for _, frame in stream(client, f"job={old}&job={held}", **{"Last-Event-ID": cursor})]
    assert [frame["type"] for frame in chosen] == ["gap", "close"]
    assert [job["id"] for job in chosen[0]["snapshot"]["jobs"]] == [held]
    async with client.session.ws_connect("/events/v1", params={"cursor": gap["cursor"]}) as socket:
        await told(socket)
        service.adapter.held.set()
        assert (await told(socket, "job.completed"))[-1]["job_id"] == held


async def test_earliest_tells_of_what_retention_has_removed(service: Service, client: Client) -> None:
    """A gap first, with a snapshot of what began before it; then what is left, on the same connection, and live."""
    assert [frame["type"] for frame in await history(client, "")] == ["event"]
    held = await client.submit({**BELL, "name": "hold"})
    await finished(service, client)
    left = await finished(service, client)
    await service.orchestrator.store.trim(2**60, 1)
    async with client.session.ws_connect("/events/v1?cursor=earliest&queue=true") as socket:
        gap, *frames = await told(socket)
        assert gap["type"] == "gap"
        assert [job["id"] for job in gap["snapshot"]["jobs"]] == [held]
        assert [frame["job_id"] for frame in frames[:-1]] == [left] * 4
        service.adapter.held.set()
        assert (await told(socket, "job.completed"))[-1]["job_id"] == held
    assert gap["cursor"].rpartition(":")[2] == str(int(frames[0]["cursor"].rpartition(":")[2]) - 1)
    streamed = await past(client, "cursor=earliest&kind=job.*")
    assert streamed[0][0] == gap["cursor"]
    assert [frame for _, frame in streamed[1:5]] == frames[:4]
    async with client.session.ws_connect("/events/v1", params={"cursor": gap["cursor"]}) as socket:
        assert (await told(socket))[0] == frames[0]


async def opened_session(client: Client, backend: str = "simulator") -> str:
    """The id of a new session."""
    _, session = await client.ask("POST", "/v0.4/sessions", {"backend": backend})
    session_id: str = session["id"]
    return session_id


async def test_a_session_stands_for_its_jobs(service: Service, client: Client) -> None:
    """In history as live, over both transports, children included; with other filters all have to hold."""
    one, two = await opened_session(client), await opened_session(client)
    async with client.session.ws_connect(f"/events/v1?session={one}") as chosen:
        await told(chosen)
        await finished(service, client)
        parent = await finished(service, client, {**MULTI, "session_id": one})
        other = await finished(service, client, {**BELL, "session_id": two})
        live: list[Frame] = []
        with anyio.fail_after(10):
            while not live or (live[-1]["job_id"], live[-1]["kind"]) != (parent, "job.completed"):
                live.append(read((await chosen.receive()).data))
    frames = await history(client, "")
    family = [frame for frame in frames if parent in {frame["job_id"], frame["parent_id"]}]
    assert len({frame["job_id"] for frame in family}) == 4
    assert live == await history(client, f"session={one}") == family
    assert [frame for _, frame in await past(client, f"cursor=earliest&session={one}")] == family
    both = [frame for frame in frames if {parent, other} & {frame["job_id"], frame["parent_id"]}]
    assert await history(client, f"session={one}&session={two}") == both
    assert await history(client, f"session={one}&job={other}") == []
    assert await history(client, f"session={one}&session={two}&job={other}&kind=job.ready") == [
        frame for frame in both if (frame["job_id"], frame["kind"]) == (other, "job.ready")
    ]
    stranger = await service.client("other")
    assert await history(stranger, f"session={one}") == await history(stranger, "session=unknown") == []
    many = "&".join(f"session={number}" for number in range(101))
    status, answer = await client.ask("GET", f"/events/v1?{many}")
    assert (status, answer["code"]) == (422, "session_out_of_range")


async def test_a_session_cursor_that_expired_gets_the_sessions_jobs(service: Service, client: Client) -> None:
    """The snapshot holds the jobs of the session with their children, whatever became of them, and no others."""
    session_id, empty = await opened_session(client), await opened_session(client)
    await finished(service, client)
    cursor = (await history(client, ""))[0]["cursor"]
    await service.orchestrator.store.trim(2**60, 100)
    await client.submit({**BELL, "name": "hold"})
    parent = await finished(service, client, {**MULTI, "session_id": session_id})
    held = await client.submit({**BELL, "name": "hold", "session_id": session_id})
    query = f"session={session_id}&session={empty}&session=unknown"
    frames = [frame async for _, frame in stream(client, query, **{"Last-Event-ID": cursor})]
    assert [frame["type"] for frame in frames] == ["gap", "close"]
    snapshot = frames[0]["snapshot"]
    children = [job["id"] for job in snapshot["jobs"] if job["parent_id"] == parent]
    assert {job["id"] for job in snapshot["jobs"]} == {parent, held, *children}
    assert (len(children), snapshot["backends"], snapshot["truncated"]) == (3, [], False)


async def test_places_in_line_of_a_session(service: Service, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A feed of a session is told of the places of all its waiting jobs, and of no others."""
    monkeypatch.setattr(places, "INTERVAL_S", 0.0)
    monkeypatch.setattr(places, "HEAD", 1)
    session_id = await opened_session(client)
    for _ in range(6):
        await client.submit({**BELL, "name": "hold"})
    mine = {await client.submit({**BELL, "name": "hold", "session_id": session_id}) for _ in range(3)}
    waiting = {place.job.id for place in service.orchestrator.forecast()}
    assert mine <= waiting
    async with client.session.ws_connect(f"/events/v1?queue=true&session={session_id}") as socket:
        await told(socket)
        seen: set[str] = set()
        while seen < mine:
            seen.add((await told(socket, "queue"))[-1]["job_id"])
        assert seen == mine
        service.adapter.held.set()
        assert {frame["job_id"] for frame in await told(socket, "job.completed")} <= mine


async def test_places_in_line(service: Service, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks is told where waiting jobs stand, once when live and when it changes; nobody else is."""
    monkeypatch.setattr(places, "INTERVAL_S", 0.0)
    for _ in range(8):
        await client.submit({**BELL, "name": "hold"})
    waiting = [place.job.id for place in service.orchestrator.forecast()]
    assert waiting
    last = waiting[-1]
    async with client.session.ws_connect(f"/events/v1?queue=true&job={last}") as socket:
        await told(socket)
        first = (await told(socket, "queue"))[-1]
        assert (first["job_id"], first["position"]) == (last, len(waiting))
        await service.orchestrator.cancel([waiting[0]])
        service.adapter.held.set()
        kinds = [frame["type"] for frame in await told(socket, "job.completed")]
        assert set(kinds) <= {"event", "queue"}
    assert {frame["type"] for frame in await history(client, f"job={last}")} == {"event"}


async def test_the_schema_is_served_and_complete(service: Service) -> None:
    """Anyone may read it; it is a valid schema and names the kinds the log knows."""
    status, schema = await (await service.stranger()).ask("GET", "/events/v1/schema")
    assert status == 200
    jsonschema.Draft202012Validator.check_schema(schema)
    assert set(schema["$defs"]["event"]["properties"]["kind"]["enum"]) == set(LOGGED)
    codes = set(schema["$defs"]["close"]["properties"]["code"]["enum"])
    assert codes == set(map(int, Close))


async def test_neither_transport_is_a_plain_refusal(client: Client) -> None:
    """A request that asks for no transport, or shakes hands wrongly, is a 400 and not a fault."""
    assert (await client.ask("GET", "/events/v1"))[0] == 400
    broken = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    assert (await client.ask("GET", "/events/v1", headers=broken))[0] == 400

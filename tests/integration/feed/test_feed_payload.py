"""What events tell, all of it, on a live server: of single jobs, families, sessions and budgets; by its own schema."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import anyio
import jsonschema
import msgspec
import pytest
from aiohttp import ClientWebSocketResponse

from orchestrator.api.feed import places
from orchestrator.backends.abc import Attempt
from orchestrator.dispatch import dispatcher
from orchestrator.errors import ExecutionError
from orchestrator.events import LOGGED, EventKind
from orchestrator.model import Cost
from orchestrator.testing.adapters import ScriptedAdapter, zeros
from tests.contract.harness import BELL, Client, Service, launched

K = EventKind
Frame = dict[str, Any]
SOLO = {**BELL, "backend": "paid"}
FAMILY = {
    "type": "ionq.multi-circuit.v1",
    "backend": "paid",
    "input": {"gateset": "qis", "qubits": 1, "circuits": [{"circuit": [{"gate": "x", "target": 0}]}] * 3},
}


class Paid(ScriptedAdapter):
    """Each run costs ten cents and is predicted to take a minute; some jobs are named after what they come to."""

    def predict_ms(self, spec: Any) -> int | None:
        return 60_000


def outcome(attempt: Attempt) -> Any:
    name = attempt.job.spec.name
    if name == "dear":
        return ExecutionError("QuotaExhaustedError", "estimated to cost too much")
    if name == "again" and attempt.number == 1:
        return ExecutionError("InternalError", "once", retryable=True)
    return msgspec.structs.replace(zeros(attempt), cost=Cost(value=0.1, unit="usd"))


@pytest.fixture
async def paid() -> Paid:
    """A backend that runs one job after the other."""
    return Paid("paid", answer=outcome, held=True, concurrency=1)


@pytest.fixture
async def service(paid: Paid, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    """One server that serves it."""
    monkeypatch.setattr(places, "INTERVAL_S", 0.0)
    monkeypatch.setattr(dispatcher, "delay_s", lambda *_, **__: 0.0)
    async with launched(beside=[paid]) as started:
        yield started


class Reading:
    """A feed of everything, each frame held against the schema that the same server serves."""

    def __init__(self, socket: ClientWebSocketResponse, schema: Any) -> None:
        self._socket = socket
        self.schema = schema
        self._valid = jsonschema.Draft202012Validator(schema)
        self.frames: list[Frame] = []

    async def until(self, **members: Any) -> Frame:
        """Read to a frame with these members."""
        with anyio.fail_after(10):
            while not (self.frames and members.items() <= self.frames[-1].items()):
                frame: Frame = msgspec.json.decode((await self._socket.receive()).data)
                self._valid.validate(frame)
                self.frames.append(frame)
        return self.frames[-1]

    def of(self, job_id: str) -> list[Frame]:
        return [frame for frame in self.frames if frame["type"] == "event" and frame["job_id"] == job_id]


@pytest.fixture
async def reading(service: Service, client: Client) -> AsyncIterator[Reading]:
    """From the beginning, with places in line."""
    _, schema = await client.ask("GET", "/events/v1/schema")
    async with client.session.ws_connect("/events/v1?cursor=earliest&queue=true") as socket:
        yield Reading(socket, schema)


def path(frames: list[Frame]) -> list[tuple[str, str | None, str, int]]:
    """Kinds, statuses and attempts of a job that moves."""
    moves = [frame for frame in frames if frame["kind"] != K.JOB_PROGRESS]
    assert all(after["from"] == before["to"] for before, after in pairwise(moves))
    assert all(after["at"] >= before["at"] for before, after in pairwise(frames))
    return [(frame["kind"], frame["from"], frame["to"], frame["attempt"]) for frame in moves]


async def test_a_job_and_its_place_in_line(service: Service, client: Client, paid: Paid, reading: Reading) -> None:
    """Who, where, from what to what, in which attempt, when; position and start while it waits, when they change."""
    first = await client.submit({**SOLO, "name": "again"})
    await paid.until_seen(1)
    second = await client.submit(SOLO)
    told = await reading.until(type="queue", job_id=second)
    project = service.orchestrator.project.id
    assert (told["position"], told["project_id"], told["backend"], told["parent_id"]) == (1, project, "paid", None)
    now = service.orchestrator.clock.now_ms()
    assert abs(told["estimated_start"] - now - 60_000) < 10_000
    third = await client.submit(SOLO)
    assert (await reading.until(type="queue", job_id=third))["position"] == 2
    paid.release()
    await reading.until(kind=K.JOB_REQUEUED, job_id=first)
    await reading.until(kind=K.JOB_COMPLETED, job_id=third)
    service.orchestrator._dispatcher.lines["paid"].ready.release_due()
    await reading.until(kind=K.JOB_COMPLETED, job_id=first)
    for job_id in (first, second, third):
        whose = {(frame["project_id"], frame["backend"], frame["parent_id"]) for frame in reading.of(job_id)}
        assert whose == {(project, "paid", None)}
    assert path(reading.of(second)) == [
        (K.JOB_SUBMITTED, None, "submitted", 0),
        (K.JOB_READY, "submitted", "ready", 0),
        (K.JOB_STARTED, "ready", "started", 1),
        (K.JOB_COMPLETED, "started", "completed", 1),
    ]
    assert path(reading.of(first))[3:] == [
        (K.JOB_REQUEUED, "started", "ready", 1),
        (K.JOB_STARTED, "ready", "started", 2),
        (K.JOB_COMPLETED, "started", "completed", 2),
    ]


async def test_a_family_and_its_progress(client: Client, paid: Paid, reading: Reading) -> None:
    """Children name their parent, in events and in line; the parent counts them."""
    parent = await client.submit(FAMILY)
    await paid.until_seen(1)
    waiting = [await reading.until(type="queue", position=position) for position in (1, 2)]
    assert {frame["parent_id"] for frame in waiting} == {parent}
    paid.release()
    await reading.until(kind=K.JOB_COMPLETED, job_id=parent)
    family = [frame for frame in reading.frames if frame["type"] == "event" and frame["parent_id"] == parent]
    children = {frame["job_id"] for frame in family}
    assert len(children) == 3
    for child in children:
        assert [step[2] for step in path(reading.of(child))] == ["submitted", "ready", "started", "completed"]
    progress = [frame for frame in reading.of(parent) if frame["kind"] == K.JOB_PROGRESS]
    assert [(frame["data"]["done"], frame["data"]["total"]) for frame in progress][-1] in {(2, 3), (3, 3)}
    assert all(frame["from"] == frame["to"] == "started" for frame in progress)
    assert path(reading.of(parent))[-1][:3] == (K.JOB_COMPLETED, "started", "completed")


async def test_a_session_and_its_budget(client: Client, paid: Paid, reading: Reading) -> None:
    """What a session spends is told when it is all; what costs too much is told beside its failure."""
    body = {"backend": "paid", "settings": {"cost_limit": {"value": 0.2, "unit": "usd"}}}
    status, session = await client.ask("POST", "/v0.4/sessions", body)
    assert status == 201, session
    paid.release()
    jobs = [await client.submit({**SOLO, "session_id": session["id"]}) for _ in range(2)]
    told = await reading.until(kind=K.BUDGET_EXHAUSTED)
    cost = {"value": 0.2, "unit": "usd"}
    assert told["data"] == {"session_id": session["id"], "spent": cost, "limit": cost}
    assert (told["backend"], told["job_id"], told["from"], told["to"]) == ("paid", None, None, None)
    dear = await client.submit({**SOLO, "name": "dear"})
    refused = await reading.until(kind=K.BUDGET_REFUSED)
    failed = reading.frames[-2]
    assert (failed["kind"], failed["job_id"], refused["job_id"]) == (K.JOB_FAILED, dear, dear)
    assert refused["data"] == failed["data"]
    assert refused["data"]["failure"]["code"] == "QuotaExhaustedError"
    chosen = f"/events/v1?cursor=earliest&session={session['id']}&kind=budget.*&kind=job.completed"
    async with client.session.ws_connect(chosen) as socket:
        of_session = Reading(socket, reading.schema)
        await of_session.until(type="live")
    kinds = [(frame.get("kind"), frame.get("job_id")) for frame in of_session.frames[:-1]]
    assert kinds == [*((K.JOB_COMPLETED, job_id) for job_id in jobs), (K.BUDGET_EXHAUSTED, None)]


async def test_every_kind_and_every_frame_fits_the_schema(
    service: Service, client: Client, paid: Paid, reading: Reading
) -> None:
    """All kinds that the log knows occur; so do all types of frames."""
    orchestrator = service.orchestrator
    await client.submit(FAMILY)
    await paid.until_seen(1)
    canceled = await client.submit(SOLO)
    await client.ask("PUT", f"/v0.4/jobs/{canceled}/status/cancel")
    await orchestrator.delete([canceled])
    body = {"backend": "paid", "settings": {"cost_limit": {"value": 0.1, "unit": "usd"}}}
    _, session = await client.ask("POST", "/v0.4/sessions", body)
    await client.submit({**SOLO, "session_id": session["id"]})
    await client.submit({**SOLO, "name": "dear"})
    await client.submit({**SOLO, "name": "again"})
    await reading.until(type="queue")
    await orchestrator.fleet.pause("simulator")
    paid.release()
    await reading.until(kind=K.BACKEND_CHANGED)
    await reading.until(kind=K.JOB_REQUEUED)
    assert {frame["kind"] for frame in reading.frames if frame["type"] == "event"} == {*LOGGED}
    old = next(frame["cursor"] for frame in reading.frames if frame["type"] == "event")
    await orchestrator.store.trim(2**60, 100)
    async with client.session.ws_connect("/events/v1", params={"cursor": old}) as socket:
        expired = Reading(socket, reading.schema)
        gap = await expired.until(type="gap")
    assert gap["snapshot"]["truncated"] is False
    headers = {"Accept": "text/event-stream", "Last-Event-ID": old}
    async with client.session.get("/events/v1", headers=headers) as answer:
        last = msgspec.json.decode((await answer.read()).strip().rpartition(b"data: ")[2])
    jsonschema.validate(last, reading.schema)
    types = {frame["type"] for frame in (*reading.frames, gap, last)}
    assert types == {each["$ref"].rpartition("/")[2] for each in reading.schema["oneOf"]}

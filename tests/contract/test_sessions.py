"""Sessions over HTTP: their bodies, their limits, the jobs they take and refuse, and how they end."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from tests.contract.harness import BELL, MULTI, Client, Service

REQUIRED = {
    "id", "created_at", "organization_id", "backend", "project_id", "creator_id", "started_at", "ended_at", "ender_id",
    "active", "status", "settings", "state", "usage_time",
}  # fmt: skip
LIMITS = {"job_count_limit": 10, "duration_limit_min": 30, "cost_limit": {"value": 2.5, "unit": "usd"}}


async def opened(client: Client, backend: str = "simulator", **settings: Any) -> str:
    """The id of a new session."""
    status, session = await client.ask("POST", "/v0.4/sessions", {"backend": backend, "settings": settings})
    assert status == 201, session
    session_id: str = session["id"]
    return session_id


async def look(client: Client, session_id: str) -> Any:
    """The session as it stands."""
    status, session = await client.ask("GET", f"/v0.4/sessions/{session_id}")
    assert status == 200
    return session


async def test_a_session_has_all_members(service: Service, client: Client) -> None:
    """All documented members and those that qiskit-ionq reads; of the settings only those that were given."""
    body = {"backend": "aria-1", "settings": LIMITS, "extra": 1}
    status, session = await client.ask("POST", "/v0.4/sessions", body)
    assert status == 201
    assert set(session) == REQUIRED
    expires_at = session["settings"].pop("expires_at")
    assert session["settings"] == LIMITS
    assert session["created_at"] < expires_at
    assert (session["backend"], session["project_id"]) == ("qpu.aria-1", service.orchestrator.project.id)
    assert (session["status"], session["state"], session["active"]) == ("created", "created", True)
    assert session["creator_id"] == client.key_id
    assert [session[name] for name in ("started_at", "ended_at", "ender_id")] == [None] * 3
    assert await look(client, session["id"]) == {**session, "settings": {**LIMITS, "expires_at": expires_at}}
    status, plain = await client.ask("POST", "/v0.4/sessions", {"backend": "simulator"})
    assert (status, plain["settings"]) == (201, {})


@pytest.mark.parametrize(("given", "minutes"), [("10m", 10), ("10", 10), ("2h", 120), ("5 min", 5), (7.0, 7)])
async def test_durations_as_people_write_them(client: Client, given: Any, minutes: int) -> None:
    """qiskit-ionq passes on what its user wrote."""
    session = await look(client, await opened(client, duration_limit_min=given, cost_limit={"value": "1.5"}))
    assert session["settings"]["duration_limit_min"] == minutes
    assert session["settings"]["cost_limit"] == {"value": 1.5, "unit": "usd"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "backend"),
        ({"backend": 5}, "backend"),
        ({"backend": "nowhere"}, "backend"),
        ({"backend": "simulator", "settings": []}, "settings"),
        ({"backend": "simulator", "settings": {"job_count_limit": 0}}, "settings.job_count_limit"),
        ({"backend": "simulator", "settings": {"job_count_limit": "x"}}, "settings.job_count_limit"),
        ({"backend": "simulator", "settings": {"job_count_limit": 2**62}}, "settings.job_count_limit"),
        ({"backend": "simulator", "settings": {"duration_limit_min": -1}}, "settings.duration_limit_min"),
        ({"backend": "simulator", "settings": {"duration_limit_min": "soon"}}, "settings.duration_limit_min"),
        ({"backend": "simulator", "settings": {"duration_limit_min": "1e3"}}, "settings.duration_limit_min"),
        ({"backend": "simulator", "settings": {"duration_limit_min": "9999999h"}}, "settings.duration_limit_min"),
        ({"backend": "simulator", "settings": {"cost_limit": 5}}, "settings.cost_limit"),
        ({"backend": "simulator", "settings": {"cost_limit": {}}}, "settings.cost_limit.value"),
        ({"backend": "simulator", "settings": {"cost_limit": {"value": 0}}}, "settings.cost_limit.value"),
        ({"backend": "simulator", "settings": {"cost_limit": {"value": "a lot"}}}, "settings.cost_limit.value"),
        ({"backend": "simulator", "settings": {"cost_limit": {"value": 1, "unit": ""}}}, "settings.cost_limit.unit"),
    ],
)
async def test_bad_sessions_are_refused_by_name(client: Client, body: Any, field: str) -> None:
    """400, with the member that is wrong; nothing is opened."""
    status, answer = await client.ask("POST", "/v0.4/sessions", body)
    assert (status, answer["validation"]["keys"]) == (400, [field])
    assert (await client.ask("GET", "/v0.4/sessions"))[1]["sessions"] == []


async def test_jobs_in_a_session(service: Service, client: Client) -> None:
    """The created answer, the job and its children name the session; lists choose by it; both versions may join."""
    session_id = await opened(client)
    status, created = await client.ask("POST", "/v0.4/jobs", {**BELL, "session_id": session_id})
    assert (status, created["session_id"]) == (201, session_id)
    parent = await client.submit({**MULTI, "session_id": session_id})
    old = {"target": "simulator", "input": BELL["input"], "session_id": session_id}
    v03 = await client.submit(old, version="v0.3")
    outside = await client.submit({**BELL, "session_id": ""})
    for job_id in (created["id"], parent, v03, outside):
        await service.orchestrator.wait(job_id, timeout_s=10)
    _, job = await client.ask("GET", f"/v0.4/jobs/{parent}")
    assert job["session_id"] == session_id
    _, child = await client.ask("GET", f"/v0.4/jobs/{job['child_job_ids'][0]}")
    assert child["session_id"] == session_id
    inside = [v03, parent, created["id"]]
    for path in (f"/v0.4/jobs?session_id={session_id}", f"/v0.4/sessions/{session_id}/jobs"):
        _, page = await client.ask("GET", path)
        assert [entry["id"] for entry in page["jobs"]] == inside
        assert page["next"] is None
    _, first = await client.ask("GET", f"/v0.4/sessions/{session_id}/jobs?limit=2")
    _, rest = await client.ask("GET", f"/v0.4/sessions/{session_id}/jobs?limit=2&next={first['next']}")
    assert [entry["id"] for entry in first["jobs"] + rest["jobs"]] == inside
    session = await look(client, session_id)
    assert (session["status"], session["usage_time"]) == ("started", 0.015)
    assert session["started_at"] >= session["created_at"]


async def test_jobs_that_a_session_refuses(service: Service, client: Client) -> None:
    """Unknown, foreign and ended ones, one on another backend, and one that is full: 400, and no job."""
    other = await service.client("other")
    foreign = await opened(other)
    ended = await opened(client)
    await client.ask("POST", f"/v0.4/sessions/{ended}/end")
    elsewhere = await opened(client, "qpu.aria-1")
    full = await opened(client, job_count_limit=1)
    taken = await client.submit({**BELL, "name": "hold", "session_id": full})
    refusals = {}
    for session_id in ("0197c3b0-0000-7000-8000-00000000000a", foreign, ended, elsewhere, full):
        for version, body in (("v0.4", BELL), ("v0.3", {"target": "simulator", "input": BELL["input"]})):
            status, answer = await client.ask("POST", f"/{version}/jobs", {**body, "session_id": session_id})
            assert (status, answer["validation"]["keys"]) == (400, ["session_id"])
        refusals[session_id] = answer
    codes = [answer["code"] for answer in refusals.values()]
    assert codes == ["unknown_session"] * 2 + ["session_ended", "session_backend", "session_full"]
    first, second, *_ = refusals.values()
    assert first == second
    assert [job["id"] for job in (await client.ask("GET", "/v0.4/jobs"))[1]["jobs"]] == [taken]


async def test_only_one_of_many_submits_is_the_last(service: Service, client: Client) -> None:
    """Twenty clients at once, room for seven: seven jobs."""
    session_id = await opened(client, job_count_limit=7)
    statuses: list[int] = []

    async def one() -> None:
        status, _ = await client.ask("POST", "/v0.4/jobs", {**BELL, "session_id": session_id})
        statuses.append(status)

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(one)
    assert sorted(statuses) == [201] * 7 + [400] * 13
    jobs = (await client.ask("GET", f"/v0.4/sessions/{session_id}/jobs"))[1]["jobs"]
    assert len(jobs) == 7
    for job in jobs:
        await service.orchestrator.wait(job["id"], timeout_s=10)
    session = await look(client, session_id)
    assert (session["status"], session["ender_id"]) == ("ended", None)


async def test_ending_cancels_what_is_queued(service: Service, client: Client) -> None:
    """The answer of an end finds queued jobs canceled and running ones running; ending again changes nothing."""
    session_id = await opened(client, "qpu.aria-1")
    body = {**BELL, "backend": "qpu.aria-1", "session_id": session_id}
    running = await client.submit({**body, "name": "hold"})
    async with client.session.ws_connect(f"/events/v1?cursor=earliest&job={running}&kind=job.started") as socket:
        assert (await socket.receive_json())["to"] == "started"
    queued = [await client.submit(body) for _ in range(3)]
    status, ended = await client.ask("POST", f"/v0.4/sessions/{session_id}/end")
    assert (status, ended["status"], ended["active"]) == (200, "ended", False)
    assert ended["ender_id"] == client.key_id
    assert await look(client, session_id) == ended
    _, page = await client.ask("GET", f"/v0.4/sessions/{session_id}/jobs")
    assert {job["id"]: job["status"] for job in page["jobs"]} == {
        **dict.fromkeys(queued, "canceled"),
        running: "started",
    }
    assert await client.ask("POST", f"/v0.4/sessions/{session_id}/end") == (200, ended)
    service.adapter.held.set()
    assert (await service.orchestrator.wait(running, timeout_s=10)).status == "completed"


async def test_sessions_are_listed_by_activity(client: Client) -> None:
    """Newest first; ``active`` in any letter case, and nothing else than true or false."""
    first, second = await opened(client), await opened(client)
    await client.ask("POST", f"/v0.4/sessions/{first}/end")
    for query, expected in (("", [second, first]), ("?active=True", [second]), ("?active=false", [first])):
        status, body = await client.ask("GET", f"/v0.4/sessions{query}")
        assert (status, [session["id"] for session in body["sessions"]]) == (200, expected)
        assert body["organization_id"] == body["sessions"][0]["organization_id"]
    status, body = await client.ask("GET", "/v0.4/sessions?active=maybe")
    assert (status, body["validation"]) == (400, {"keys": ["active"], "source": "query"})


async def test_clones_and_moved_jobs_join_only_by_name(service: Service, client: Client) -> None:
    """A clone, and a moved job, is in the session it names, and otherwise in none."""
    old, new = await opened(client), await opened(client, job_count_limit=1)
    job_id = await client.submit({**BELL, "session_id": old})
    await client.ask("POST", f"/v0.4/sessions/{old}/end")
    status, created = await client.ask("POST", f"/v0.4/jobs/{job_id}/clone")
    assert (status, created["session_id"]) == (201, None)
    status, created = await client.ask("POST", f"/v0.4/jobs/{job_id}/clone", {"name": "hold", "session_id": new})
    assert (status, created["session_id"]) == (201, new)
    status, refusal = await client.ask("POST", f"/v0.4/jobs/{job_id}/clone", {"session_id": new})
    assert (status, refusal["code"]) == (400, "session_full")
    await client.submit({**BELL, "name": "hold", "backend": "aria-1"})
    waiting = await client.submit({**BELL, "backend": "aria-1"})
    status, refusal = await client.ask("POST", f"/v0.4/jobs/{waiting}/move", {"session_id": old})
    assert (status, refusal["code"]) == (400, "session_ended")
    assert (await client.ask("GET", f"/v0.4/jobs/{waiting}"))[1]["status"] in {"submitted", "ready"}

"""Hooks over HTTP and over the admin socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest
from aiohttp import web

from orchestrator import Circuit, Gate, Orchestrator
from orchestrator.api.admin import create_admin_app
from orchestrator.api.app import create_app
from orchestrator.hooks import Hook
from orchestrator.notify.abc import Attempted, Verdict
from orchestrator.telemetry import Telemetry
from orchestrator.testing.adapters import ScriptedAdapter
from orchestrator.testing.channels import RecordingChannel

BELL = Circuit(qubits=2, gates=(Gate("h", (0,)), Gate("x", (1,), (0,))))
REJECTED = Attempted(verdict=Verdict.REJECTED, detail="550")


class Api:
    """Both doors of one orchestrator."""

    def __init__(self, orchestrator: Orchestrator, channel: RecordingChannel) -> None:
        self.orchestrator, self.channel = orchestrator, channel
        self.sessions: dict[str, aiohttp.ClientSession] = {}

    async def ask(self, door: str, method: str, path: str, body: Any = None, **params: str) -> tuple[int, Any]:
        url = f"/hooks/v1{path}"
        async with self.sessions[door].request(method, url, json=body, params=params) as response:
            return response.status, await response.json()


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    channel = RecordingChannel(REJECTED)
    async with Orchestrator.open(adapters=[ScriptedAdapter()], channels=[channel]) as orchestrator:
        made = Api(orchestrator, channel)
        telemetry = Telemetry(orchestrator)
        apps = {"http": create_app(orchestrator, telemetry=telemetry)}
        apps["admin"] = create_admin_app(orchestrator, telemetry=telemetry)
        runners = []
        await orchestrator.accounts.add_project("other")
        for door, app in apps.items():
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            runners.append(runner)
            path = str(tmp_path / door)
            await web.UnixSite(runner, path).start()
            for project in ("default", "other"):
                _, secret = await orchestrator.accounts.add_key(project, door)
                made.sessions[door if project == "default" else f"{door}-other"] = aiohttp.ClientSession(
                    "http://here",
                    connector=aiohttp.UnixConnector(path),
                    headers={"Authorization": f"apiKey {secret}"} if door == "http" else {},
                )
        yield made
        for session in made.sessions.values():
            await session.close()
        for runner in runners:
            await runner.cleanup()
        telemetry.close()


@pytest.mark.parametrize("door", ["http", "admin"])
async def test_life_of_a_hook(api: Api, door: str) -> None:
    """Everything that can be done with a hook can be done over both doors."""
    status, hook = await api.ask(
        door, "POST", "", {"channel": "recording", "target": {"to": "me"}, "kinds": ["job.completed"], "tag": "team"}
    )
    assert status == 201
    assert hook["target"] == {"secret": "drawn by the channel", "to": "me"}
    shown = {**hook, "target": {"secret": "***", "to": "me"}}
    assert await api.ask(door, "GET", "") == (200, {"hooks": [shown]})
    assert await api.ask(door, "GET", f"/{hook['id']}") == (200, shown)
    assert await api.ask(door, "PATCH", f"/{hook['id']}", {"tag": None, "target": {"to": "you"}}) == (
        200,
        {**shown, "tag": None, "target": {"secret": "***", "to": "you"}},
    )
    job = await api.orchestrator.submit(BELL, backend="scripted")
    with anyio.fail_after(10):
        while not (await api.ask(door, "GET", f"/{hook['id']}/deliveries"))[1]["deliveries"]:
            pass
    _, found = await api.ask(door, "GET", f"/{hook['id']}/deliveries", state="dead")
    (dead,) = found["deliveries"]
    assert (dead["event"]["job_id"], dead["detail"]) == (job.id, "550")
    assert (await api.ask(door, "POST", f"/{hook['id']}/redeliver")) == (200, {"redelivered": 1})
    assert [each.id for each in await api.channel.received(1)] == [dead["id"]]
    assert (await api.ask(door, "POST", f"/{hook['id']}/test"))[1]["verdict"] == "delivered"
    with anyio.fail_after(10):
        while len((log := (await api.ask(door, "GET", f"/{hook['id']}/log"))[1])["attempts"]) < 3:
            pass
    assert sorted(line["verdict"] for line in log["attempts"]) == ["delivered", "delivered", "rejected"]
    _, page = await api.ask(door, "GET", f"/{hook['id']}/log", limit="1")
    _, rest = await api.ask(door, "GET", f"/{hook['id']}/log", before=str(page["next"]))
    assert page["attempts"] + rest["attempts"] == log["attempts"]
    assert await api.ask(door, "DELETE", f"/{hook['id']}") == (200, {"id": hook["id"]})
    assert await api.ask(door, "GET", "") == (200, {"hooks": []})


async def test_foreign_hooks_look_unknown(api: Api) -> None:
    """What belongs to another project answers exactly like an unknown id; without a key nothing is told."""
    hook: Hook = await api.orchestrator.hooks.add("recording", {"to": "me"})
    calls = [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/test"), ("GET", "/log"), ("GET", "/deliveries")]
    for method, path in [*calls, ("POST", "/redeliver"), ("POST", "/rotate")]:
        body: Any = {} if method == "PATCH" else None
        foreign = await api.ask("http-other", method, f"/{hook.id}{path}", body)
        assert foreign == await api.ask("http", method, f"/unknown{path}", body)
        assert foreign[0] == 404
    assert await api.ask("http-other", "GET", "") == (200, {"hooks": []})
    assert await api.ask("admin", "GET", "", project="other") == (200, {"hooks": []})
    assert (await api.ask("admin", "GET", "", project="default"))[1]["hooks"][0]["id"] == hook.id
    async with api.sessions["http"].get("/hooks/v1", headers={"Authorization": "apiKey wrong"}) as response:
        assert response.status == 401


@pytest.mark.parametrize(
    ("body", "status", "code", "member"),
    [
        ({"channel": "recording", "target": {"to": "me"}, "kind": "job.failed"}, 422, "unknown_field", "kind"),
        ({"target": {"to": "me"}}, 400, "missing_field", "channel"),
        ({"channel": "recording", "target": "me"}, 422, "wrong_type", "target"),
        ({"channel": "recording", "target": {}}, 400, "invalid_request", "target.to"),
        ({"channel": "recording", "target": {"to": "me"}, "kinds": ["job.done"]}, 400, "invalid_request", "kinds"),
        ({"channel": "recording", "target": {"to": "me"}, "children": 1}, 422, "wrong_type", "children"),
        ({"channel": "pigeon", "target": {}}, 422, "channel_unavailable", "channel"),
        ({"channel": "recording", "target": {"to": "me"}, "backend": "nowhere"}, 400, "unknown_backend", "backend"),
        ({"channel": "recording", "target": {"to": "me"}, "backend": ""}, 400, "invalid_request", "backend"),
    ],
)
async def test_wrong_bodies_are_refused(api: Api, body: Any, status: int, code: str, member: str) -> None:
    """A refusal names the member; the routes are strict."""
    answered, refusal = await api.ask("http", "POST", "", body)
    assert (answered, refusal["code"], refusal["validation"]["keys"]) == (status, code, [member])
    assert api.orchestrator.hooks.list() == []

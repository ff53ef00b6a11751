"""The admin socket: who may open the file may do everything commands need, while the server runs."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import anyio.to_thread
import msgspec
from aiohttp import ClientSession, UnixConnector

from orchestrator.api.admin_socket import reachable, served
from orchestrator.clock import SystemClock
from orchestrator.datafolder import ADMIN_SOCKET
from orchestrator.model import Job, Result
from orchestrator.storage.abc import Report
from tests.contract.harness import BELL, MULTI, Client, launched


@asynccontextmanager
async def owner(folder: Path) -> AsyncIterator[Client]:
    """A client of the folder's admin socket."""
    with reachable(folder / ADMIN_SOCKET) as address:
        async with ClientSession("http://admin", connector=UnixConnector(address)) as session:
            yield Client(session, "")


class Onward(SystemClock):
    """Its wall only goes forward, which a machine's does not promise."""

    def __init__(self) -> None:
        self._last_ms = 0

    def now_ms(self) -> int:
        self._last_ms = max(self._last_ms + 1, super().now_ms())
        return self._last_ms


async def test_projects_and_keys(tmp_path: Path) -> None:
    """Made and revoked while the server runs; digests are never told."""
    async with launched(data=tmp_path, clock=Onward()) as service, owner(tmp_path) as admin:
        assert service.bound.admin == tmp_path / ADMIN_SOCKET
        assert stat.S_IMODE(service.bound.admin.stat().st_mode) == 0o600
        status, project = await admin.ask("POST", "/projects", {"name": "lab"})
        assert status == 201
        _, listed = await admin.ask("GET", "/projects")
        assert [each["name"] for each in listed] == ["default", "lab"]
        assert (await admin.ask("POST", "/projects", {"name": "lab"}))[0] == 400
        assert (await admin.ask("POST", "/projects", {"name": "x", "extra": 1}))[0] == 422
        _, made = await admin.ask("POST", "/keys?project=lab", {"name": "first"})
        _, keys = await admin.ask("GET", f"/keys?project={project['id']}")
        assert keys == [made["key"]]
        assert "digest" not in made["key"]
        assert (await admin.ask("GET", "/keys?project=nothing"))[0] == 404
        client = await service.stranger()
        headers = {"Authorization": f"apiKey {made['secret']}"}
        assert (await client.ask("GET", "/v0.4/whoami", headers=headers))[1]["project_id"] == project["id"]
        _, revoked = await admin.ask("DELETE", f"/keys/{made['key']['id']}?project=lab")
        assert made["key"]["created_at"] < revoked["revoked_at"]
        assert datetime.fromisoformat(project["created_at"]) < datetime.fromisoformat(made["key"]["created_at"])
        assert (await client.ask("GET", "/v0.4/whoami", headers=headers))[0] == 401
    assert not service.bound.admin.exists()
    assert not served(tmp_path)


async def test_jobs_backends_and_verify(tmp_path: Path) -> None:
    """What commands do with jobs: they look as over v0.4, results as the domain's own records."""
    async with launched(data=tmp_path) as service, owner(tmp_path) as admin:
        status, raw = await admin.raw("POST", "/jobs", BELL)
        assert status == 201
        job = msgspec.json.decode(raw, type=Job)
        await service.orchestrator.wait(job.id, timeout_s=10)
        client = await service.client()
        _, page = await admin.ask("GET", "/jobs?status=completed&backend=simulator")
        assert page["jobs"] == [
            {name: value for name, value in (await client.ask("GET", f"/v0.4/jobs/{job.id}"))[1].items()
             if name != "child_job_ids"}
        ]  # fmt: skip
        _, raw = await admin.raw("GET", f"/jobs/{job.id}/result")
        assert msgspec.json.decode(raw, type=Result).probabilities == {0: 0.5, 3: 0.5}
        _, parent = await admin.ask("POST", "/jobs", MULTI)
        shown = (await admin.ask("GET", f"/jobs/{parent['id']}"))[1]
        assert len(shown["child_job_ids"]) == 3
        assert shown["submitted_at"].endswith("Z")
        _, answer = await admin.ask("POST", "/jobs/cancel", {"ids": [job.id]})
        assert answer == {"ids": [job.id], "answers": ["terminal"]}
        assert (await admin.ask("POST", "/jobs/delete", {"ids": [job.id]}))[0] == 200
        assert (await admin.ask("GET", f"/jobs/{job.id}"))[0] == 404
        assert (await admin.ask("GET", "/jobs?status=odd"))[0] == 400
        _, backends = await admin.ask("GET", "/backends")
        assert {each["capabilities"]["backend"] for each in backends} == {"simulator", "qpu.aria-1"}
        _, raw = await admin.raw("POST", "/verify")
        assert msgspec.json.decode(raw, type=Report).problems == ()


async def test_the_feed_on_the_admin_socket(tmp_path: Path) -> None:
    """`watch` reads any project's events without a key."""
    async with launched(data=tmp_path) as service, owner(tmp_path) as admin:
        client = await service.client("lab")
        job_id = await client.submit()
        path = "/events/v1?cursor=earliest&kind=job.submitted"
        async with admin.session.ws_connect(f"{path}&project=lab") as socket:
            assert (await socket.receive_json())["job_id"] == job_id
        async with admin.session.ws_connect(path) as socket:
            assert (await socket.receive_json())["type"] == "live"


async def test_a_deep_data_folder(tmp_path: Path) -> None:
    """The path of the folder may be longer than the system lets a socket's address be; a stale socket is replaced."""
    folder = tmp_path / ("d" * 60) / ("e" * 60)
    folder.mkdir(parents=True)
    (folder / ADMIN_SOCKET).touch()
    async with launched(data=folder), owner(folder) as admin:
        assert await anyio.to_thread.run_sync(served, folder)
        assert await admin.ask("GET", "/healthz") == (200, {"status": "ok"})

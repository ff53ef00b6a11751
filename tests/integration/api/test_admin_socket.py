"""The admin socket: who may open the file may do everything commands need, while the server runs."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import anyio.to_thread
import msgspec
import pytest
from aiohttp import ClientSession, UnixConnector

from orchestrator.api.admin_socket import AdminClient, AdminError, served
from orchestrator.model import Job, Page, Project, Result
from tests.contract.harness import BELL, MULTI, launched


async def test_everything_a_command_needs(tmp_path: Path) -> None:
    """Projects, keys, jobs, backends and verify, by the blocking client commands use."""
    async with launched(data=tmp_path) as service:
        assert service.bound.admin == tmp_path / "admin.sock"
        assert stat.S_IMODE(service.bound.admin.stat().st_mode) == 0o600

        def commands() -> dict[str, Any]:
            assert served(tmp_path)
            with AdminClient(tmp_path) as admin:
                added = admin.call("POST", "/projects", {"name": "lab"})
                made = admin.call("POST", "/keys", {"name": "first"}, query={"project": "lab"})
                job = msgspec.json.decode(admin.call_bytes("POST", "/jobs", BELL), type=Job)
                assert msgspec.convert(admin.call("GET", "/projects"), list[Project])[1].name == "lab"
                assert [key["name"] for key in admin.call("GET", "/keys", query={"project": added["id"]})] == ["first"]
                assert "digest" not in made["key"]
                with pytest.raises(AdminError, match="project not found") as refused:
                    admin.call("GET", "/keys", query={"project": "nothing"})
                assert (refused.value.status, refused.value.code) == (404, "not_found")
                with pytest.raises(AdminError) as refused:
                    admin.call("POST", "/projects", {"name": "x", "extra": 1})
                assert refused.value.status == 422
                return {"job": job, "made": made}

        seen = await anyio.to_thread.run_sync(commands)
        client = await service.stranger()
        headers = {"Authorization": f"apiKey {seen['made']['secret']}"}
        assert (await client.ask("GET", "/v0.4/whoami", headers=headers))[0] == 200
        job_id = seen["job"].id
        await service.orchestrator.wait(job_id, timeout_s=10)

        def more() -> None:
            with AdminClient(tmp_path) as admin:
                page = msgspec.json.decode(
                    admin.call_bytes("GET", "/jobs", query={"status": "completed", "backend": "simulator"}), type=Page
                )
                assert [job.id for job in page.jobs] == [job_id]
                result = msgspec.json.decode(admin.call_bytes("GET", f"/jobs/{job_id}/result"), type=Result)
                assert result.probabilities == {0: 0.5, 3: 0.5}
                parent = admin.call("POST", "/jobs", MULTI)
                assert len(admin.call("GET", f"/jobs/{parent['id']}/children")) == 3
                assert admin.call("POST", "/jobs/cancel", {"ids": [job_id]})["answers"] == ["terminal"]
                assert admin.call("POST", "/jobs/delete", {"ids": [job_id]}) == {"ids": [job_id]}
                with pytest.raises(AdminError):
                    admin.call("GET", f"/jobs/{job_id}")
                assert {entry["capabilities"]["backend"] for entry in admin.call("GET", "/backends")} == {
                    "simulator", "qpu.aria-1",
                }  # fmt: skip
                revoked = admin.call("DELETE", f"/keys/{seen['made']['key']['id']}", query={"project": "lab"})
                assert revoked["revoked_at"] is not None
                assert admin.call("POST", "/verify")["problems"] == []

        await anyio.to_thread.run_sync(more)
        assert (await client.ask("GET", "/v0.4/whoami", headers=headers))[0] == 401
    assert not service.bound.admin.exists()
    assert not served(tmp_path)


async def test_the_feed_on_the_admin_socket(tmp_path: Path) -> None:
    """`watch` reads any project's events without a key."""
    async with launched(data=tmp_path) as service:
        client = await service.client("lab")
        job_id = await client.submit()
        connector = UnixConnector(str(service.bound.admin))
        async with ClientSession("http://admin", connector=connector) as owner:
            async with owner.ws_connect("/events/v1?cursor=earliest&project=lab&kind=job.submitted") as socket:
                assert (await socket.receive_json())["job_id"] == job_id
            async with owner.ws_connect("/events/v1?cursor=earliest&kind=job.submitted") as socket:
                assert (await socket.receive_json())["type"] == "live"


async def test_a_deep_data_folder(tmp_path: Path) -> None:
    """The path of the folder may be longer than the system lets a socket's address be; a stale socket is replaced."""
    folder = tmp_path / ("d" * 60) / ("e" * 60)
    folder.mkdir(parents=True)
    (folder / "admin.sock").touch()
    async with launched(data=folder):
        assert await anyio.to_thread.run_sync(served, folder)

        def ask() -> Any:
            with AdminClient(folder) as admin:
                return admin.call("GET", "/healthz")

        assert await anyio.to_thread.run_sync(ask) == {"status": "ok"}

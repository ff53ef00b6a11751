"""The owner's routes to backends and adapters, and what everybody else sees of that."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import ClientSession, UnixConnector

from orchestrator.api.admin_socket import reachable
from orchestrator.datafolder import ADMIN_SOCKET
from tests.contract.harness import BELL, Client, launched

LASER = "paused by the operator: laser"


@asynccontextmanager
async def owner(folder: Path) -> AsyncIterator[Client]:
    """A client of the folder's admin socket."""
    with reachable(folder / ADMIN_SOCKET) as address:
        async with ClientSession("http://admin", connector=UnixConnector(address)) as session:
            yield Client(session, "")


async def test_a_paused_backend_is_unavailable_to_everybody(tmp_path: Path) -> None:
    """Both versions say so, the owner sees why, the feed tells; jobs are accepted and run after the resume."""
    async with launched(data=tmp_path) as service, owner(tmp_path) as admin:
        client = await service.client()
        async with client.session.ws_connect("/events/v1?backend=qpu.aria-1&kind=backend.*") as feed:
            assert (await feed.receive_json())["type"] == "live"
            status, state = await admin.ask("POST", "/backends/aria-1/pause", {"reason": "laser"})
            assert (status, state["status"], state["reason"]) == (200, "unavailable", LASER)
            frame = await feed.receive_json()
            assert (frame["kind"], frame["backend"]) == ("backend.changed", "qpu.aria-1")
            assert frame["data"] == {"status": "unavailable", "reason": LASER}
        for version in ("v0.3", "v0.4"):
            _, backend = await client.ask("GET", f"/{version}/backends/qpu.aria-1")
            assert backend["status"] == "unavailable"
            assert "reason" not in backend  # the vendor's contract has none
        _, unavailable = await client.ask("GET", "/v0.3/backends?status=unavailable")
        assert [each["backend"] for each in unavailable] == ["qpu.aria-1"]
        job_id = await client.submit({**BELL, "backend": "qpu.aria-1"})
        status, drained = await admin.ask("POST", "/backends/qpu.aria-1/drain", {"wait_s": 5})
        assert (drained["emptied"], drained["state"]["reason"]) == (True, LASER)
        assert drained["state"]["queued"] == 1
        _, text = await client.raw("GET", "/metrics")
        assert b'orchestrator_backend_available{backend="qpu.aria-1"} 0.0' in text
        _, state = await admin.ask("POST", "/backends/qpu.aria-1/resume")
        assert (state["status"], state["reason"]) == ("available", None)
        await service.orchestrator.wait(job_id)


async def test_a_disabled_adapter(tmp_path: Path) -> None:
    """Its backends are retired, or unavailable where a version knows no such word; submits are refused by name."""
    async with launched(data=tmp_path) as service, owner(tmp_path) as admin:
        client = await service.client()
        job_id = await client.submit({**BELL, "name": "hold"})
        await service.orchestrator.fleet.pause("simulator")
        waiting = await client.submit()
        status, body = await admin.ask("POST", "/adapters/table/disable", {"drain_s": 0})
        assert (status, body) == (200, {"name": "table", "backends": ["simulator", "qpu.aria-1"]})
        assert (await client.ask("GET", "/v0.4/backends/simulator"))[1]["status"] == "retired"
        assert (await client.ask("GET", "/v0.3/backends/simulator"))[1]["status"] == "unavailable"
        for version in ("v0.3", "v0.4"):
            status, body = await client.ask("POST", f"/{version}/jobs", {**BELL, "target": "simulator"})
            assert (status, body["code"]) == (400, "backend_retired")
            assert body["message"] == "simulator takes no jobs: its adapter table is disabled"
            status, body = await client.ask("GET", f"/{version}/jobs/{job_id}")
            assert body["status"] == "ready"
        assert (await client.ask("PUT", f"/v0.4/jobs/{waiting}/status/cancel"))[0] == 200
        _, members = await admin.ask("GET", "/adapters")
        assert members == [
            {"name": "table", "status": "disabled", "backends": ["simulator", "qpu.aria-1"], "reason": "", "moved": ""}
        ]


async def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    """Unknown names are 404, a plugin that is not there is named, members of the wrong kind are named too."""
    async with launched(data=tmp_path), owner(tmp_path) as admin:
        for word in ("pause", "resume", "drain"):
            assert (await admin.ask("POST", f"/backends/nowhere/{word}"))[0] == 404
        for word in ("disable", "restart"):
            status, body = await admin.ask("POST", f"/adapters/nobody/{word}")
            assert (status, body["code"]) == (404, "not_found")
        for name in ("nobody", "table"):
            status, body = await admin.ask("POST", f"/adapters/{name}/enable")
            assert (status, body["code"]) == (422, "adapter_unavailable")
        for path, asked, field, code in (
            ("/backends/simulator/pause", {"reason": "x" * 501}, "reason", "wrong_type"),
            ("/backends/simulator/pause", {"why": "laser"}, "why", "unknown_field"),
            ("/backends/simulator/drain", {"wait_s": 31}, "wait_s", "wrong_type"),
            ("/adapters/table/disable", {"drain_s": "soon"}, "drain_s", "wrong_type"),
        ):
            status, body = await admin.ask("POST", path, asked)
            assert (status, body["code"], body["validation"]["keys"]) == (422, code, [field])


async def test_these_routes_are_the_owner_s_alone(tmp_path: Path) -> None:
    """No key opens them on the TCP port."""
    async with launched(data=tmp_path) as service:
        client = await service.client()
        for path in ("/backends/simulator/pause", "/adapters/table/disable"):
            assert (await client.ask("POST", path))[0] == 404
        assert (await client.ask("GET", "/adapters"))[0] == 404

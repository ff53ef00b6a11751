"""What belongs to another project does not exist: the test walks every route there is."""

from __future__ import annotations

import re
from typing import Any

import pytest

from orchestrator.api.endpoint import Access, Route
from orchestrator.api.v03.routes import SURFACE as V03
from orchestrator.api.v04.routes import SURFACE as V04
from tests.contract.harness import BELL, CALIBRATION, MULTI, NOISY, Client, Service

UNKNOWN = "01900000-0000-7000-8000-000000000000"
PARTS = {"artifact": "probabilities", "format": "ionq.native.v1", "backend": "qpu.aria-1", "organization": "x"}
ROUTES = [(surface.prefix, route) for surface in (V03, V04) for route in surface.routes]


def filled(prefix: str, route: Route, job_id: str) -> str:
    return prefix + re.sub(r"{(\w+)}", lambda part: PARTS.get(part[1], job_id), route.path)


def body_of(route: Route, job_id: str) -> Any:
    if route.path in {"/jobs", "/jobs/status/cancel"} and route.method in {"DELETE", "PUT"}:
        return {"ids": [job_id]}
    return {} if route.path.endswith(("/clone", "/move")) else None


@pytest.mark.parametrize(
    ("prefix", "route"),
    [(prefix, route) for prefix, route in ROUTES if "{id}" in route.path or route.method in {"DELETE", "PUT"}],
    ids=lambda value: value if isinstance(value, str) else f"{value.method}{value.path}",
)
async def test_a_foreign_id_answers_like_an_unknown_one(service: Service, prefix: str, route: Route) -> None:
    """Status and body are equal to the byte, whatever the job is and has."""
    owner, other = await service.client(), await service.client("other")
    job_ids = [await owner.submit(NOISY), await owner.submit({**BELL, "backend": "aria-1"}), await owner.submit(MULTI)]
    for job_id in job_ids:
        await service.orchestrator.wait(job_id, timeout_s=10)
    session_ids = []
    if route.path.startswith("/sessions"):
        session_ids = [(await owner.ask("POST", "/v0.4/sessions", {"backend": "simulator"}))[1]["id"]]
    if "characterizations" in route.path:
        assert (await other.raw(route.method, filled(prefix, route, CALIBRATION)))[0] == 200
        job_ids = []
    missing = await other.raw(route.method, filled(prefix, route, UNKNOWN), body_of(route, UNKNOWN))
    assert missing[0] == 404
    for job_id in job_ids:
        assert await other.raw(route.method, filled(prefix, route, job_id), body_of(route, job_id)) == missing
        assert (await owner.ask("GET", f"/v0.4/jobs/{job_id}"))[1]["status"] == "completed"
    for session_id in session_ids:
        assert await other.raw(route.method, filled(prefix, route, session_id)) == missing
        assert (await owner.ask("GET", f"/v0.4/sessions/{session_id}"))[1]["active"] is True


async def test_lists_hold_own_jobs_only(service: Service) -> None:
    """No filter and no cursor reaches into another project."""
    owner, other = await service.client(), await service.client("other")
    session = (await owner.ask("POST", "/v0.4/sessions", {"backend": "simulator"}))[1]["id"]
    parent = await owner.submit({**MULTI, "session_id": session})
    assert (await other.ask("GET", "/v0.4/sessions"))[1]["sessions"] == []
    assert (await other.ask("GET", f"/v0.4/jobs?session_id={session}"))[1]["jobs"] == []
    for version, name in (("v0.4", "ids"), ("v0.3", "id")):
        for query in ("", f"?{name}={parent}", f"?parent_job_id={parent}"):
            assert (await other.ask("GET", f"/{version}/jobs{query}"))[1]["jobs"] == []
        unknown = await other.raw("GET", f"/{version}/jobs?next={UNKNOWN}")
        assert await other.raw("GET", f"/{version}/jobs?next={parent}") == unknown


@pytest.mark.parametrize(
    ("prefix", "route"),
    ROUTES,
    ids=lambda value: value if isinstance(value, str) else f"{value.method}{value.path}",
)
async def test_routes_that_need_a_key_answer_401_alike(service: Service, prefix: str, route: Route) -> None:
    """Missing, malformed, unknown and revoked keys look the same; open routes are the three that are documented."""
    stranger = await service.stranger()
    path = filled(prefix, route, UNKNOWN)
    answers = {
        await stranger.raw(route.method, path, headers=headers)
        for headers in (
            {},
            {"Authorization": "apiKey"},
            {"Authorization": "apiKey "},
            {"Authorization": "Bearer aaaaaaaaaaaaaaaaaaaaaaaa"},
            {"Authorization": "apiKey ion_0000000000000000_" + "0" * 64},
            {"Authorization": "apiKey \udcff\udcfe"},
        )
    }
    if route.access is Access.OPEN:
        assert route.method == "GET"
        assert "backends" in route.path
        return
    assert len(answers) == 1
    assert next(iter(answers))[0] == 401


async def test_a_revoked_key_is_dead_at_once(service: Service) -> None:
    """The request after the revocation is refused."""
    client = await service.client()
    assert (await client.ask("GET", "/v0.4/whoami"))[0] == 200
    await service.orchestrator.accounts.revoke_key(client.key_id, project=service.orchestrator.project.id)
    status, body = await client.ask("GET", "/v0.4/whoami")
    assert (status, body["code"]) == (401, "unauthorized")


async def test_the_scheme_is_matched_in_any_case(service: Service, client: Client) -> None:
    """`apiKey`, `apikey`, `APIKEY`: all are the scheme."""
    secret = client.session.headers["Authorization"].partition(" ")[2]
    stranger = await service.stranger()
    for scheme in ("apiKey", "apikey", "APIKEY"):
        status, _ = await stranger.ask("GET", "/v0.4/whoami", headers={"Authorization": f"{scheme} {secret}"})
        assert status == 200


@pytest.mark.parametrize("path", ["/", "/v0.4", "/v0.4/", "/v0.4/nothing", "/v0.5/jobs", "/v0.4/jobs/a/b/c/d", "/%00"])
async def test_paths_that_are_no_route(client: Client, path: str) -> None:
    """404 in the documented form; so do known paths with another method."""
    status, body = await client.ask("GET", path)
    assert (status, body["error"]) == (404, "Not Found Error")
    assert (await client.ask("PATCH", path))[0] == 404
    assert client.headers["X-Request-ID"]

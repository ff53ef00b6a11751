"""v0.4 jobs over a real socket, against the shapes of the reference."""

from __future__ import annotations

import re
from typing import Any

import pytest

from orchestrator.model import Result
from orchestrator.testing.adapters import ScriptedAdapter
from tests.contract.harness import BELL, MULTI, NOISY, Client, Service, launched

REQUIRED = {
    "id", "status", "type", "backend", "dry_run", "submitter_id", "project_id", "parent_job_id", "session_id",
    "metadata", "name", "submitted_at", "started_at", "completed_at", "predicted_wait_time_ms",
    "predicted_execution_duration_ms", "execution_duration_ms", "failure", "output", "settings", "stats", "results",
}  # fmt: skip
NEVER_NULL = {"output", "settings", "stats", "noise", "cost_model", "warning"}
ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


async def completed(service: Service, client: Client, body: Any, version: str = "v0.4") -> str:
    job_id = await client.submit(body, version)
    await service.orchestrator.wait(job_id, project=await project(client), timeout_s=10)
    return job_id


async def project(client: Client) -> str:
    _, body = await client.ask("GET", "/v0.4/whoami")
    found: str = body["project_id"]
    return found


async def test_create_answers_201_with_three_keys(client: Client) -> None:
    """The generated client needs exactly 201 and all three keys."""
    status, body = await client.ask("POST", "/v0.4/jobs", BELL)
    assert status == 201
    assert body == {"id": body["id"], "status": "submitted", "session_id": None}
    assert client.headers["X-Request-ID"]
    assert client.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("body", [BELL, NOISY, MULTI, {**BELL, "backend": "aria-1"}, {**BELL, "dry_run": True}])
async def test_get_holds_every_required_key(service: Service, client: Client, body: dict[str, Any]) -> None:
    """Required keys are present, and those that break clients are never null."""
    job_id = await completed(service, client, body)
    _, job = await client.ask("GET", f"/v0.4/jobs/{job_id}")
    assert set(job) >= REQUIRED | {"child_job_ids"}
    assert [name for name in NEVER_NULL & set(job) if job[name] is None] == []
    assert job["status"] == "completed"
    assert ISO.fullmatch(job["submitted_at"])
    assert ISO.fullmatch(job["completed_at"])
    assert isinstance(job["execution_duration_ms"], int)
    assert (job["results"] is None) == bool(body.get("dry_run"))
    assert ("noise" in job) == ("noise" in body)


async def test_results_of_a_noisy_job_in_both_generations(service: Service, client: Client) -> None:
    """Links are relative to the host, descriptors name artifacts, and both lead to the payload of their format."""
    job_id = await completed(service, client, NOISY)
    _, job = await client.ask("GET", f"/v0.4/jobs/{job_id}")
    links = {name: entry["url"] for name, entry in job["results"].items() if "url" in entry}
    assert set(links) == {"probabilities", "histogram", "shots"}
    assert await client.ask("GET", links["probabilities"]) == (200, {"0": 0.5, "3": 0.5})
    assert await client.ask("GET", links["histogram"]) == (200, {"0": 50, "3": 50})
    _, shots = await client.ask("GET", links["shots"])
    assert sorted(shots) == ["0"] * 50 + ["3"] * 50
    assert await client.ask("GET", links["shots"]) == (200, shots), "each answer repeats the first"
    payloads = {}
    for form, entry in job["results"].items():
        if form.startswith("ionq."):
            assert entry["format"] == form
            _, payloads[form] = await client.ask("GET", f"/v0.4/jobs/{job_id}/artifacts/{entry['id']}")
    assert payloads["ionq.result.probabilities.json.v2"]["probabilities"]["registers"] == {
        "output_all": {"00": 0.5, "11": 0.5}
    }
    assert payloads["ionq.result.histogram.json.v2"]["histogram"]["registers"] == {"output_all": {"00": 50, "11": 50}}
    assert len(payloads["ionq.result.shots.json.v2"]["shots"]) == 100
    assert payloads["ionq.result.shots.json.v2"]["shots"][0]["registers"]["output_all"] in ([0, 0], [1, 1])
    assert job["results"]["ionq.result.probabilities.json.v1"]["id"] == "probabilities"


async def test_an_ideal_job_has_no_shots(service: Service, client: Client) -> None:
    """The ideal simulator samples nothing: no links to shots, 404 on their routes, nor are there children's results."""
    job_id = await completed(service, client, BELL)
    _, job = await client.ask("GET", f"/v0.4/jobs/{job_id}")
    assert not [name for name in job["results"] if "shots" in name or "histogram" in name]
    for path in "results/shots", "artifacts/probabilities-aggregate":
        assert (await client.ask("GET", f"/v0.4/jobs/{job_id}/{path}"))[0] == 404


def only(**known: Any) -> ScriptedAdapter:
    """A simulator that answers half zeros and half ones, exact, and what is given."""
    half = Result(qubits=2, probabilities={0: 0.5, 3: 0.5}, **known)
    return ScriptedAdapter("lab", answer=lambda _: half)


@pytest.mark.parametrize(
    ("adapter", "offered"),
    [
        (only(), {"probabilities"}),
        (only(counts={0: 50, 3: 50}), {"probabilities", "histogram", "shots"}),
        (only(shots=[0, 3] * 50), {"probabilities", "histogram", "shots"}),
    ],
    ids=["exact", "counts", "shots"],
)
async def test_a_job_lists_the_results_it_has(adapter: ScriptedAdapter, offered: set[str]) -> None:
    """By what was measured, not by the kind of backend or the noise; alone, in lists, and when the backend is gone."""
    async with launched(beside=[adapter]) as service:
        client, body = await service.client(), {**BELL, "backend": "lab"}
        job_id = await completed(service, client, body)
        for gone in (False, True):
            if gone:
                await service.orchestrator.fleet.disable(adapter.name)
            _, job = await client.ask("GET", f"/v0.4/jobs/{job_id}")
            _, page = await client.ask("GET", "/v0.4/jobs")
            assert page["jobs"][0]["results"] == job["results"]
            links = {name: entry["url"] for name, entry in job["results"].items() if "url" in entry}
            artifacts = {entry["id"] for entry in job["results"].values() if "id" in entry}
            assert set(links) == offered
            assert artifacts == offered | {f"{name}-v2" for name in offered}
            paths = [*links.values(), *(f"/v0.4/jobs/{job_id}/artifacts/{artifact}" for artifact in artifacts)]
            assert [(await client.ask("GET", path))[0] for path in paths] == [200] * len(paths)
        if "histogram" in links:
            assert (await client.ask("GET", links["histogram"]))[1] == {"0": 50, "3": 50}


async def test_results_of_single_circuits_are_not_a_parents(service: Service, client: Client) -> None:
    """A parent has aggregated probabilities alone; who asks for more is told where they are."""
    job_id = await completed(service, client, {**MULTI, "noise": {"model": "aria-1"}})
    _, parent = await client.ask("GET", f"/v0.4/jobs/{job_id}")
    assert set(parent["results"]) == {"probabilities", "ionq.result.probabilities-aggregate.json.v1"}
    for path in ("results/histogram", "results/shots", "artifacts/probabilities", "artifacts/shots-v2"):
        status, refusal = await client.ask("GET", f"/v0.4/jobs/{job_id}/{path}")
        assert status == 404
        assert "child jobs" in refusal["message"]
        assert parent["results"]["probabilities"]["url"] in refusal["message"]
    child = parent["child_job_ids"][0]
    assert (await client.ask("GET", f"/v0.4/jobs/{child}/results/histogram"))[0] == 200


async def test_a_parent_and_its_children(service: Service, client: Client) -> None:
    """Children stand in circuit order on the parent, and so do their results."""
    job_id = await completed(service, client, MULTI)
    _, parent = await client.ask("GET", f"/v0.4/jobs/{job_id}")
    assert parent["stats"]["circuits"] == 3
    children = [(await client.ask("GET", f"/v0.4/jobs/{child}"))[1] for child in parent["child_job_ids"]]
    assert [child["name"] for child in children] == ["a", "b", "c"]
    assert {child["parent_job_id"] for child in children} == {job_id}
    url = parent["results"]["probabilities"]["url"]
    assert url.endswith("/results/probabilities/aggregated")
    _, body = await client.ask("GET", url)
    assert list(body) == parent["child_job_ids"]
    for path in (
        f"/v0.4/jobs/{job_id}/results/probabilities",
        f"/v0.4/jobs/{job_id}/artifacts/probabilities-aggregate",
    ):
        assert await client.ask("GET", path) == (200, body)
    _, page = await client.ask("GET", "/v0.4/jobs")
    assert [job["id"] for job in page["jobs"]] == [job_id]
    _, page = await client.ask("GET", f"/v0.4/jobs?parent_job_id={job_id}")
    assert {job["id"] for job in page["jobs"]} == set(parent["child_job_ids"])


async def test_a_compiled_circuit_is_offered_and_served(service: Service, client: Client) -> None:
    """`output` describes the native circuit; artifact and old route serve it."""
    job_id = await completed(service, client, {**BELL, "backend": "qpu.aria-1"})
    _, job = await client.ask("GET", f"/v0.4/jobs/{job_id}")
    described = job["output"]["compilation"]["compiled_circuits"]["ionq.native.v1"]
    _, circuit = await client.ask("GET", f"/v0.4/jobs/{job_id}/artifacts/{described['id']}")
    assert circuit == {"qubits": 2, "circuit": [{"gate": "gpi", "target": 0, "phase": 0.25}]}
    assert await client.ask("GET", f"/v0.4/jobs/{job_id}/circuits/native") == (200, circuit)
    assert client.headers["Content-Type"].startswith("text/plain")
    assert job["cost_model"] == "QCT"


async def test_lists_page_newest_first_to_the_end(client: Client) -> None:
    """Following `next` gives every job once, newest first; the last page's `next` is null."""
    made = [await client.submit() for _ in range(5)]
    seen: list[str] = []
    cursor = ""
    while True:
        _, page = await client.ask("GET", f"/v0.4/jobs?limit=2{cursor}")
        seen += [job["id"] for job in page["jobs"]]
        if page["next"] is None:
            break
        cursor = f"&next={page['next']}"
    assert seen == made[::-1]
    _, page = await client.ask("GET", f"/v0.4/jobs?ids={made[0]}&ids={made[3]}")
    assert [job["id"] for job in page["jobs"]] == [made[3], made[0]]


async def test_lists_filter(service: Service, client: Client) -> None:
    """By status, also one client's own word for it, and by a list of targets."""
    held = await client.submit({**BELL, "name": "hold", "backend": "qpu.aria-1"})
    waiting = await client.submit({**BELL, "backend": "aria-1"})
    done = await completed(service, client, BELL)
    _, page = await client.ask("GET", "/v0.4/jobs?status=completed")
    assert [job["id"] for job in page["jobs"]] == [done]
    _, page = await client.ask("GET", "/v0.4/jobs?status=queued")
    assert waiting in [job["id"] for job in page["jobs"]]
    _, page = await client.ask("GET", "/v0.4/jobs?target=aria-1,nowhere")
    assert {job["id"] for job in page["jobs"]} == {held, waiting}
    assert (await client.ask("GET", "/v0.4/jobs?limit=1000&unknown=1"))[0] == 200


async def test_cirq_gets_what_it_can_read(service: Service) -> None:
    """No `next` on the last page, `{}` for no failure, the page size from the body of a GET."""
    client = await service.client(**{"User-Agent": "cirq/1.7.0 (python/3.11)"})
    held = await client.submit({**BELL, "name": "hold"})
    await client.submit()
    await client.ask("PUT", f"/v0.4/jobs/{held}/status/cancel")
    _, page = await client.ask("GET", "/v0.4/jobs", {"limit": 1})
    assert len(page["jobs"]) == 1
    _, page = await client.ask("GET", "/v0.4/jobs", {"limit": 1000}, params={"next": page["next"]})
    assert "next" not in page
    _, job = await client.ask("GET", f"/v0.4/jobs/{held}")
    assert job["status"] == "canceled"
    assert job["failure"] == {}


async def test_failures_carry_both_spellings(service: Service, client: Client) -> None:
    """A circuit wider than its backend is accepted and fails; `message` and `error` both say why."""
    wide = {"gateset": "qis", "qubits": 40, "circuit": [{"gate": "x", "targets": list(range(40))}]}
    job_id = await completed(service, client, {**BELL, "input": wide})
    _, job = await client.ask("GET", f"/v0.4/jobs/{job_id}")
    assert job["status"] == "failed"
    assert job["failure"]["code"] == "NotEnoughQubits"
    assert job["failure"]["message"] == job["failure"]["error"]
    assert (await client.ask("GET", f"/v0.4/jobs/{job_id}/results/probabilities"))[0] == 404


async def test_cancel_and_delete(service: Service, client: Client) -> None:
    """One and many; canceling an ended job changes nothing; what is deleted is gone."""
    held = [await client.submit({**BELL, "name": "hold"}) for _ in range(2)]
    assert await client.ask("PUT", f"/v0.4/jobs/{held[0]}/status/cancel") == (
        200,
        {"id": held[0], "status": "canceled"},
    )
    assert await client.ask("PUT", "/v0.4/jobs/status/cancel", {"ids": held}) == (
        200,
        {"ids": held, "status": "canceled"},
    )
    done = await completed(service, client, BELL)
    assert (await client.ask("PUT", f"/v0.4/jobs/{done}/status/cancel"))[0] == 200
    assert (await client.ask("GET", f"/v0.4/jobs/{done}"))[1]["status"] == "completed"
    assert await client.ask("DELETE", f"/v0.4/jobs/{done}") == (200, {"id": done, "status": "deleted"})
    assert await client.ask("DELETE", "/v0.4/jobs", {"ids": held}) == (200, {"ids": held, "status": "deleted"})
    assert (await client.ask("GET", f"/v0.4/jobs/{done}"))[0] == 404
    assert (await client.ask("GET", "/v0.4/jobs"))[1]["jobs"] == []


async def test_lax_numbers_and_extra_members(service: Service, client: Client) -> None:
    """Clients send shots as text, integral floats, null seeds and members of their own."""
    body = {**BELL, "shots": "250", "noise": {"model": "aria-1", "seed": None}, "lang": "json", "parent": "x"}
    job_id = await completed(service, client, body)
    _, job = await client.ask("GET", f"/v0.4/jobs/{job_id}")
    assert job["shots"] == 250
    assert job["noise"] == {"model": "aria-1"}
    assert (await client.ask("POST", "/v0.4/jobs", {**BELL, "shots": 20.0}))[0] == 201


async def test_clone_and_move(service: Service, client: Client) -> None:
    """A clone takes overrides; a move cancels what has not begun, and is refused once it has."""
    parent = await completed(service, client, {**MULTI, "name": "three"})
    status, cloned = await client.ask("POST", f"/v0.4/jobs/{parent}/clone", {"shots": 7})
    assert status == 201
    _, job = await client.ask("GET", f"/v0.4/jobs/{cloned['id']}")
    assert (job["shots"], job["name"], len(job["child_job_ids"])) == (7, "three", 3)
    assert (await client.ask("POST", f"/v0.4/jobs/{parent}/move", {"backend": "aria-1"}))[0] == 400
    await client.submit({**BELL, "name": "hold", "backend": "aria-1"})
    waiting = await client.submit({**BELL, "backend": "aria-1"})
    status, moved = await client.ask("POST", f"/v0.4/jobs/{waiting}/move", {"backend": "simulator"})
    assert status == 201
    assert (await client.ask("GET", f"/v0.4/jobs/{waiting}"))[1]["status"] == "canceled"
    assert (await client.ask("GET", f"/v0.4/jobs/{moved['id']}"))[1]["backend"] == "simulator"


async def test_cost_and_estimate(service: Service, client: Client) -> None:
    """Nothing costs money; the estimate carries the names of both generations."""
    job_id = await completed(service, client, BELL)
    _, cost = await client.ask("GET", f"/v0.4/jobs/{job_id}/cost")
    assert cost["cost"] == {"value": 0, "unit": "usd"}
    path = "/v0.4/jobs/estimate?backend=qpu.aria-1&1q_gates=10&2q_gates=1&shots=100&session=false"
    status, estimate = await client.ask("GET", path)
    assert status == 200
    assert estimate["estimate_context"]["1q_gates"] == 10
    assert {"input_values", "rate_card", "rate_information", "estimated_total_cost", "estimated_cost"} <= set(estimate)
    assert estimate["estimated_execution_time"] == round(100 * (0.00002 + 0.0003 + 10 * 0.00013 + 0.0006) * 1000)


async def test_an_idempotency_key_replays_the_first_answer(client: Client) -> None:
    """The same key and body is one job; another body is refused."""
    headers = {"Idempotency-Key": "one"}
    first = await client.raw("POST", "/v0.4/jobs", BELL, headers=headers)
    assert await client.raw("POST", "/v0.4/jobs", BELL, headers=headers) == first
    status, body = await client.ask("POST", "/v0.4/jobs", MULTI, headers=headers)
    assert (status, body["code"]) == (400, "idempotency_mismatch")


async def test_whoami_usage_and_schemas(client: Client) -> None:
    """Who asks, in UUIDs; no entitlement to usage; a schema of each format."""
    status, body = await client.ask("GET", "/v0.4/whoami")
    assert status == 200
    assert body["key_id"] == client.key_id
    assert set(body) == {"key_id", "key_name", "project_id"}
    assert (await client.ask("GET", "/v0.4/organizations/com.example/usage"))[0] == 403
    for form in ("ionq.result.shots.json.v2", "ionq.native.v1"):
        _, schema = await client.ask("GET", f"/v0.4/schemas/formats/{form}")
        assert schema["$id"] == form
    assert (await client.ask("GET", "/v0.4/schemas/formats/nothing"))[0] == 404

"""v0.3 jobs over a real socket, and the two views of one job."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.harness import BELL, MULTI, Client, Service

GATES = BELL["input"]["circuit"]  # type: ignore[index]
ONE = {"format": "ionq.circuit.v0", "gateset": "qis", "qubits": 2, "circuit": GATES}
BELL_V03 = {"target": "simulator", "shots": 100, "input": ONE}


async def completed(service: Service, client: Client, body: Any, version: str = "v0.3") -> str:
    job_id = await client.submit(body, version)
    await service.orchestrator.wait(job_id, timeout_s=10)
    return job_id


async def test_create_answers_200_and_ready(client: Client) -> None:
    """v0.3 has its own status, its own word and a time in seconds."""
    status, body = await client.ask("POST", "/v0.3/jobs", BELL_V03)
    assert status == 200
    assert set(body) == {"id", "status", "request"}
    assert body["status"] == "ready"
    assert isinstance(body["request"], int)


@pytest.mark.parametrize(
    ("input_", "children"),
    [
        (ONE, 0),
        ({"qubits": 2, "circuits": [{"name": "a", "circuit": GATES}, {"circuit": GATES}]}, 2),
        ([ONE, ONE, ONE], 3),
    ],
)
async def test_every_form_of_input(service: Service, client: Client, input_: Any, children: int) -> None:
    """Single, several in one object, and a list of complete circuits."""
    job_id = await completed(service, client, {**BELL_V03, "input": input_})
    _, job = await client.ask("GET", f"/v0.3/jobs/{job_id}")
    assert len(job.get("children", [])) == children
    assert job["circuits"] == (children or 1)
    _, results = await client.ask("GET", job["results_url"])
    assert list(results) == job["children"] if children else results == {"0": 0.5, "3": 0.5}


async def test_a_job_that_names_no_target_goes_to_the_simulator(service: Service, client: Client) -> None:
    """The documentation's own bodies are often nothing but an input."""
    job_id = await completed(service, client, {"input": [ONE]})
    assert (await client.ask("GET", f"/v0.3/jobs/{job_id}"))[1]["target"] == "simulator"


async def test_the_older_form_with_lang_and_body(service: Service, client: Client) -> None:
    """`lang: json` with `body` is what clients before sent."""
    body = {"target": "simulator", "shots": "100", "lang": "json", "body": {"qubits": 2, "circuit": GATES}}
    await completed(service, client, body)


async def test_a_job_in_v03_words(service: Service, client: Client) -> None:
    """Members are seconds, milliseconds and top-level figures; absent ones are left out, never null."""
    body = {**BELL_V03, "registers": {"meas_mapped": [1, 0]}, "error_mitigation": {"debias": False}}
    job_id = await completed(service, client, body)
    _, job = await client.ask("GET", f"/v0.3/jobs/{job_id}")
    assert None not in job.values()
    assert job["target"] == "simulator"
    assert (job["qubits"], job["circuits"], job["gate_counts"]) == (2, 1, {"1q": 1, "2q": 1})
    assert job["registers"] == {"meas_mapped": [1, 0]}
    assert job["error_mitigation"] == {"debias": False}
    assert isinstance(job["execution_time"], int)
    assert job["request"] <= job["start"] <= job["response"]
    _, part = await client.ask("GET", f"/v0.3/jobs/{job_id}?exclude[]=registers&exclude[]=shots")
    assert set(job) - set(part) == {"registers", "shots"}
    _, part = await client.ask("GET", f"/v0.3/jobs/{job_id}?include[]=shots")
    assert set(part) == {"id", "status", "request", "shots"}


async def test_a_started_job_is_running_here_and_started_there(service: Service, client: Client) -> None:
    """Each version keeps its own spelling of one job."""
    held = await client.submit({**BELL, "name": "hold"})
    async for item in service.orchestrator.events("earliest", jobs=[held], kinds=["job.started"]):
        if hasattr(item, "event"):
            break
    assert (await client.ask("GET", f"/v0.3/jobs/{held}"))[1]["status"] == "running"
    assert (await client.ask("GET", f"/v0.4/jobs/{held}"))[1]["status"] == "started"
    assert (await client.ask("GET", "/v0.3/jobs?status=running"))[1]["jobs"][0]["id"] == held
    assert (await client.ask("GET", "/v0.3/jobs?status=started"))[0] == 400


async def test_polling_one_job_through_the_list(service: Service, client: Client) -> None:
    """CUDA-Q polls `GET /jobs?id=` and reads the first entry, children included."""
    job_id = await completed(service, client, MULTI, "v0.4")
    _, page = await client.ask("GET", f"/v0.3/jobs?id={job_id}")
    assert page["jobs"][0]["status"] == "completed"
    assert len(page["jobs"][0]["children"]) == 3


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({**BELL_V03, "target": "nowhere"}, "target"),
        ({"input": ONE, "target": None}, "target"),
        ({"target": "simulator"}, "input"),
        ({**BELL_V03, "input": {"format": "qasm", "data": "OPENQASM 2.0;"}}, "input.format"),
        ({**BELL_V03, "input": {"format": "qir", "data": "AAAA"}}, "input.format"),
        ({"target": "simulator", "lang": "qasm", "body": {}}, "lang"),
    ],
)
async def test_refusals_use_the_names_of_v03(client: Client, body: Any, field: str) -> None:
    """The body of a refusal names the member as this version spells it."""
    status, answer = await client.ask("POST", "/v0.3/jobs", body)
    assert status == 400
    assert answer["validation"] == {"keys": [field], "source": "body"}

"""Many results in one answer."""

from __future__ import annotations

import msgspec
import pytest

from orchestrator.api import bulk
from orchestrator.model import Result
from tests.contract.harness import BELL, MULTI, NOISY, Client, Service


async def asked(client: Client, *ids: str) -> tuple[int, dict[str, object]]:
    return await client.ask("GET", "/results/v1?" + "&".join(f"id={job_id}" for job_id in ids))


async def test_results_of_many_jobs_in_one_answer(service: Service, client: Client) -> None:
    """Each job's status and result, in the order asked for; parents with their children; unknown ones left out."""
    ideal, noisy, family = [await client.submit(body) for body in (BELL, NOISY, MULTI)]
    held = await client.submit({**BELL, "name": "hold"})
    dry = await client.submit({**BELL, "dry_run": True})
    for job_id in (ideal, noisy, family):
        await service.orchestrator.wait(job_id)
    other = await service.client("other")
    theirs = await other.submit()
    status, answer = await asked(client, family, noisy, ideal, held, dry, theirs, "nothing")
    assert status == 200
    jobs = msgspec.convert(answer["jobs"], list[dict[str, object]])
    assert [job["id"] for job in jobs] == [family, noisy, ideal, held, dry]
    assert [job["result"] is None for job in jobs] == [True, False, False, True, True]
    children = msgspec.convert(jobs[0]["children"], list[dict[str, object]])
    _, parent = await client.ask("GET", f"/v0.4/jobs/{family}")
    assert [child["id"] for child in children] == parent["child_job_ids"]
    result = msgspec.convert(jobs[1]["result"], Result, strict=False)
    assert result == await service.orchestrator.fetch_result(noisy)
    assert answer["left"] == []
    service.adapter.held.set()


async def test_a_failure_comes_with_its_reason(client: Client, service: Service) -> None:
    """A job that failed says why."""
    wide = {
        **BELL,
        "input": {"gateset": "qis", "qubits": 40, "circuit": [{"gate": "h", "target": 39 - n} for n in range(40)]},
    }
    job_id = await client.submit(wide)
    await service.orchestrator.wait(job_id)
    _, answer = await asked(client, job_id)
    [job] = msgspec.convert(answer["jobs"], list[dict[str, object]])
    assert msgspec.convert(job["failure"], dict[str, str])["code"] == "NotEnoughQubits"


async def test_answers_are_bounded(client: Client, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit is named, for the next request; asking for none, or for too many, is refused."""
    ids = [await client.submit(BELL) for _ in range(3)]
    for job_id in ids:
        await service.orchestrator.wait(job_id)
    monkeypatch.setattr(bulk, "ENOUGH", 1)
    _, answer = await asked(client, *ids)
    assert [job["id"] for job in msgspec.convert(answer["jobs"], list[dict[str, object]])] == ids[:1]
    assert answer["left"] == ids[1:]
    assert (await asked(client, *[f"x{n}" for n in range(201)]))[0] == 422
    status, refusal = await client.ask("GET", "/results/v1")
    assert (status, refusal["code"]) == (422, "id_out_of_range")


async def test_live_results_tell_each_job_as_it_ends(service: Service, client: Client) -> None:
    """One line a job, children with their parent, of this project and the chosen backends alone."""
    other = await service.client("other")
    async with client.session.get("/results/v1/live?backend=simulator") as response:
        assert response.status == 200
        assert msgspec.json.decode(await response.content.readline()) == {"live": True}
        await other.submit(BELL)
        await client.submit({**BELL, "backend": "qpu.aria-1"})
        single = await client.submit(NOISY)
        told = msgspec.json.decode(await response.content.readline())
        assert told["id"] == single
        result = msgspec.convert(told["result"], Result, strict=False)
        assert result == await service.orchestrator.fetch_result(single)
        family = await client.submit(MULTI)
        told = msgspec.json.decode(await response.content.readline())
        assert (told["id"], len(told["children"])) == (family, 3)
    async with client.session.get("/results/v1/live?backend=aria-1") as response:
        await response.content.readline()
        qpu = await client.submit({**BELL, "backend": "aria-1"})
        assert msgspec.json.decode(await response.content.readline())["id"] == qpu
    status, refusal = await client.ask("GET", "/results/v1/live?backend=aria-9")
    assert (status, refusal["code"]) == (400, "unknown_backend")
    assert (await (await service.stranger()).ask("GET", "/results/v1/live"))[0] == 401


async def test_live_results_end_with_their_key_and_their_server(service: Service) -> None:
    """A revoked key closes them at once, a stop of the server all of them."""
    accounts = service.orchestrator.accounts
    clients = [await service.client() for _ in range(2)]
    streams = [await client.session.get("/results/v1/live") for client in clients]
    for stream in streams:
        await stream.content.readline()
    await accounts.revoke_key(clients[0].key_id, project=service.orchestrator.project.id)
    assert await streams[0].content.read() == b""
    await service.stop()
    assert await streams[1].content.read() == b""

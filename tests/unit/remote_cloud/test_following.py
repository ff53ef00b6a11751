"""What the remote does to a job becomes of the job here; what is done here is done there."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from orchestrator.circuits.ir import Circuit, Gate
from orchestrator.lifecycle import JobStatus
from orchestrator.model import Job, Noise
from orchestrator.service import Orchestrator
from orchestrator.testing.adapters import FLIP
from orchestrator.testing.clock import ManualClock
from orchestrator_remote_cloud.catalog import local_id
from tests.unit.remote_cloud.scripted import (
    BACKEND,
    LOST_AFTER,
    QPU,
    SIMULATOR,
    Cloud,
    Fronting,
    ended,
    failure_of,
    image,
    in_front,
    submitted,
    until,
)

CALIBRATION = {
    "id": "0197c3a2-0000-7000-8000-00000000000a",
    "backend": "qpu.far-1",
    "date": "2026-01-30T00:00:00Z",
    "qubits": 4,
    "connectivity": [[0, 1]],
    "fidelity": {"spam": {"median": 0.99}},
    "timing": {"readout": 0.0002, "reset": 0.00002},
}


async def test_results_costs_warnings_and_times_come_along(cloud: Cloud, clock: ManualClock) -> None:
    """A completed job has all that the remote tells of it."""
    async with in_front(cloud, clock) as service:
        job = await submitted(service, shots=50)
        await until(lambda: bool(cloud.jobs))
        cloud.end(warning={"messages": ["it was warm"]})
        job = await ended(service, job, clock)
        result = await service.result(job.id)
        assert (result.counts, result.probabilities, result.execution_ms) == ({1: 50}, {1: 1.0}, 7)
        assert job.outcome.cost is not None
        assert (job.outcome.cost.value, job.outcome.cost.unit) == (2.5, "usd")
        assert job.outcome.warnings == ("it was warm",)


@pytest.mark.parametrize(
    "failure", [{"code": "TooManyGates", "message": "so many"}, {"code": "TooManyGates", "error": "so many"}]
)
async def test_a_failure_keeps_its_code_and_words(cloud: Cloud, clock: ManualClock, failure: dict[str, str]) -> None:
    """In either spelling; it is final."""
    async with in_front(cloud, clock) as service:
        job = await submitted(service)
        await until(lambda: bool(cloud.jobs))
        cloud.end("failed", failure=failure)
        assert await failure_of(service, job, clock) == ("TooManyGates", "so many")
        assert (await service.get(job.id)).attempt == 1


async def test_a_job_canceled_over_there_ends_canceled_here(cloud: Cloud, clock: ManualClock) -> None:
    """It was the remote's decision, or that of somebody there."""
    async with in_front(cloud, clock) as service:
        job = await submitted(service)
        await until(lambda: bool(cloud.jobs))
        cloud.end("canceled")
        assert (await ended(service, job, clock)).status is JobStatus.CANCELED


async def test_a_job_deleted_over_there_fails_clearly(cloud: Cloud, clock: ManualClock) -> None:
    """Gone is not forgotten: the job fails and says why."""
    async with in_front(cloud, clock) as service:
        job = await submitted(service)
        await until(lambda: bool(cloud.jobs))
        cloud.jobs.clear()
        assert await failure_of(service, job, clock) == (
            "QuantumComputerError",
            "the remote has no such job any more: it was deleted there",
        )


@pytest.mark.parametrize("when", ["waiting", "sending", "lost", "made", "started"])
async def test_a_cancel_here_is_a_cancel_there(cloud: Cloud, clock: ManualClock, when: str) -> None:
    """At any moment: also while the submission is under way, and when its answer was lost."""
    async with in_front(cloud, clock) as service:
        if when == "waiting":
            cloud.fault(503, times=3)
        elif when == "sending":
            cloud.hold = "after"
        elif when == "lost":
            cloud.fault(LOST_AFTER)
        job = await submitted(service)
        if when == "sending":
            await until(lambda: cloud.held == 1)
        elif when != "waiting":
            await until(lambda: bool(cloud.jobs))
        if when == "started":
            cloud.start()
            await until(lambda: service.stats.of(BACKEND)[0] == 0, clock)
        await service.cancel([job.id])
        assert (await service.get(job.id)).status is JobStatus.CANCELED
        if when == "sending":  # the answer to this one never comes; the next life is told below
            return
        await until(lambda: all(one["status"] == "canceled" for one in cloud.jobs.values()), clock)
        await clock.advanced(300.0)
        assert len(cloud.bodies) == (0 if when == "waiting" else 1)
        assert {one["status"] for one in cloud.jobs.values()} <= {"canceled"}


async def test_a_cancel_survives_a_crash(cloud: Cloud, clock: ManualClock, tmp_path: Path) -> None:
    """Canceled here, killed before the remote has heard: the next life tells it."""
    data = tmp_path / "data"
    async with in_front(cloud, clock, data) as service:
        job = await submitted(service)
        await until(lambda: bool(cloud.jobs))
        await clock.advanced(2.0)
        cloud.fault(500, "PUT", "/v0.4/jobs", times=100)
        await service.cancel([job.id])
        await until(lambda: cloud.count("PUT", "/v0.4/jobs") > 0)
        copy = await image(service, data, tmp_path / "copy")
    cloud.faults.clear()
    async with in_front(cloud, clock, copy):
        await until(lambda: cloud.jobs["remote-0"]["status"] == "canceled", clock)
    assert len(cloud.bodies) == 1


@pytest.mark.parametrize("away", ["disabled", "down"])
@pytest.mark.parametrize("known", [True, False], ids=["id known", "id unknown"])
async def test_a_cancel_while_nobody_serves_is_told_afterwards(
    cloud: Cloud, clock: ManualClock, tmp_path: Path, away: str, known: bool
) -> None:
    """The adapter is disabled, or the server runs without it, while the job is canceled: the next serve tells."""
    data = tmp_path / "data"
    async with in_front(cloud, clock, data) as service:
        if not known:
            cloud.hold = "after"
        job = await submitted(service)
        await until(lambda: bool(cloud.jobs))
        if known:
            await clock.advanced(2.0)
        if away == "disabled":
            await service.fleet.disable("remote_cloud")
            cloud.hold = None
            await service.cancel([job.id])
            await service.fleet.enable(Fronting(cloud))
            await until(lambda: cloud.jobs["remote-0"]["status"] == "canceled", clock)
    if away == "down":
        cloud.hold = None
        async with Orchestrator.open(data, adapters=[], clock=clock) as service:
            await service.cancel([job.id])
        async with in_front(cloud, clock, data):
            await until(lambda: cloud.jobs["remote-0"]["status"] == "canceled", clock)
    assert len(cloud.bodies) == 1


@pytest.mark.parametrize("how", ["canceled", "past the queue limit"])
async def test_a_job_that_ends_while_its_backend_is_held_is_canceled_there(
    cloud: Cloud, clock: ManualClock, tmp_path: Path, how: str
) -> None:
    """A job whose submission a kill cut off waits for a paused backend: no attempt of it is in hand when it ends."""
    data, limit_s = tmp_path / "data", 0.0 if how == "canceled" else 600.0
    async with in_front(cloud, clock, data) as service:
        cloud.hold = "after"
        job = await submitted(service)
        await until(lambda: bool(cloud.jobs))
        await service.fleet.pause(BACKEND)
        copy = await image(service, data, tmp_path / "copy")
    cloud.hold = None
    async with in_front(cloud, clock, copy, queue_limit_s=limit_s) as service:
        await clock.advanced(5.0)
        assert (await service.get(job.id)).status is JobStatus.READY
        if how == "canceled":
            await service.cancel([job.id])
        await until(lambda: cloud.jobs["remote-0"]["status"] == "canceled", clock, 20.0)
    assert len(cloud.bodies) == 1


async def test_what_ended_before_a_crash_leaves_no_intent(cloud: Cloud, clock: ManualClock, tmp_path: Path) -> None:
    """Killed between the end of a job and the removal of its intent: the next life removes it."""
    data = tmp_path / "data"
    async with in_front(cloud, clock, data) as service:
        job = await submitted(service)
        await until(lambda: bool(cloud.jobs))
        await clock.advanced(2.0)
        copy = await image(service, data, tmp_path / "copy")
        cloud.end()
        assert (await ended(service, job, clock)).status is JobStatus.COMPLETED
    shutil.copytree(copy / "plugins", data / "plugins", dirs_exist_ok=True)
    async with in_front(cloud, clock, data) as service:
        await until(lambda: not intents(data), clock)
    assert cloud.jobs["remote-0"]["status"] == "completed"


def intents(data: Path) -> list[Any]:
    """The intents in the plugin's folder."""
    with closing(sqlite3.connect(data / "plugins" / "remote_cloud" / "intents.db")) as connection:
        return connection.execute("SELECT * FROM intents").fetchall()


async def family(service: Orchestrator, size: int = 3, **options: Any) -> tuple[Job, list[Job]]:
    parent = await service.submit([FLIP] * size, backend=BACKEND, **options)
    return parent, await service.children(parent.id)


async def test_a_family_is_one_remote_job(cloud: Cloud, clock: ManualClock) -> None:
    """One submission with the parent's name and metadata; results in order; the cost is shared."""
    async with in_front(cloud, clock) as service:
        circuits = [Circuit(qubits=1, gates=(Gate("x", (0,)),), name=name) for name in "abcd"]
        parent = await service.submit(circuits, backend=BACKEND, name="all", metadata={"a": "b"}, shots=4)
        await until(lambda: bool(cloud.jobs))
        [body] = cloud.bodies.values()
        assert [circuit["name"] for circuit in body["input"]["circuits"]] == list("abcd")
        assert (body["type"], body["name"], body["metadata"]["a"]) == ("ionq.multi-circuit.v1", "all", "b")
        cloud.end()
        assert (await ended(service, parent, clock)).status is JobStatus.COMPLETED
        results = await service.child_results(parent.id)
        assert [result.counts for _, result in results] == [{0: 3, 1: 1}] * 4
        assert sum(result.cost.value for _, result in results if result.cost is not None) == 2.5
        assert len(cloud.bodies) == 1


async def test_a_canceled_circuit_leaves_its_siblings_alone(cloud: Cloud, clock: ManualClock) -> None:
    """One child canceled: the remote job goes on for the others. All canceled: it is canceled."""
    async with in_front(cloud, clock) as service:
        parent, children = await family(service)
        await until(lambda: bool(cloud.jobs))
        await service.cancel([children[1].id])
        await clock.advanced(5.0)
        assert cloud.count("PUT", "/v0.4/jobs") == 0
        other, _ = await family(service)
        await until(lambda: len(cloud.jobs) == 2, clock)
        await service.cancel([other.id])
        await until(lambda: cloud.jobs["remote-1"]["status"] == "canceled", clock)
        cloud.end()
        await ended(service, parent, clock)
        assert [child.status for child in await service.children(parent.id)] == [
            JobStatus.COMPLETED,
            JobStatus.CANCELED,
            JobStatus.COMPLETED,
        ]


async def test_the_circuit_that_failed_is_the_one_that_fails(cloud: Cloud, clock: ManualClock) -> None:
    """The remote's children are asked which of them it was."""
    async with in_front(cloud, clock) as service:
        parent, _ = await family(service)
        await until(lambda: bool(cloud.jobs))
        for number, status in enumerate(("completed", "failed", "canceled")):
            child = {**cloud.jobs["remote-0"], "id": f"child-{number}", "parent_job_id": "remote-0", "status": status}
            cloud.jobs[f"child-{number}"] = child
        cloud.jobs["child-1"]["failure"] = {"code": "TooManyGates", "message": "the second"}
        cloud.jobs["remote-0"].update(status="failed", failure={"code": "TooManyGates", "message": "one of them"})
        assert await failure_of(service, parent, clock) == ("TooManyGates", "the second")
        statuses = [child.status for child in await service.children(parent.id)]
        assert statuses == [JobStatus.CANCELED, JobStatus.FAILED, JobStatus.CANCELED]


@pytest.mark.parametrize("moment", ["made", "lost"])
async def test_what_is_left_of_a_family_finds_its_remote_job(
    cloud: Cloud, clock: ManualClock, tmp_path: Path, moment: str
) -> None:
    """A family of which a child was canceled meanwhile adopts the whole family's job after a crash."""
    data = tmp_path / "data"
    async with in_front(cloud, clock, data, grace_s=20.0) as service:
        cloud.hold = "after" if moment == "lost" else None
        parent, children = await family(service)
        await until(lambda: bool(cloud.jobs))
        if moment == "made":
            await clock.advanced(2.0)
        await service.cancel([children[0].id])
        copy = await image(service, data, tmp_path / "copy")
    cloud.hold = None
    async with in_front(cloud, clock, copy, grace_s=20.0) as service:
        await clock.advanced(3.0)
        cloud.end()
        await ended(service, parent, clock)
        assert len(cloud.bodies) == 1
        statuses = [child.status for child in await service.children(parent.id)]
        assert statuses == [JobStatus.CANCELED, JobStatus.COMPLETED, JobStatus.COMPLETED]


async def test_many_jobs_are_looked_at_in_one_listing(cloud: Cloud, clock: ManualClock) -> None:
    """Polling asks for all at once, and ever more rarely while nothing changes."""
    async with in_front(cloud, clock) as service:
        jobs = [await submitted(service) for _ in range(20)]
        await until(lambda: len(cloud.jobs) == 20)
        before = cloud.count("GET", "/v0.4/jobs")
        await clock.advanced(120.0)
        looked = cloud.count("GET", "/v0.4/jobs") - before
        assert 5 <= looked <= 15
        cloud.end()
        for job in jobs:
            assert (await ended(service, job, clock)).status is JobStatus.COMPLETED


async def test_a_remote_that_is_down_makes_jobs_wait(cloud: Cloud, clock: ManualClock) -> None:
    """After failures in a row the backend is unavailable, with the reason; it comes back by itself; no job fails."""
    async with in_front(cloud, clock) as service:
        await until(lambda: service.backends.state(BACKEND).status == "available")
        cloud.fault(500, "POST", "/v0.4/jobs", times=3)
        cloud.fault(500, "GET", "/v0.4/jobs", times=40)
        job = await submitted(service)
        await until(lambda: service.backends.state(BACKEND).status == "unavailable", clock)
        assert service.backends.state(BACKEND).reason == "the remote answers 500"
        later = await submitted(service)
        await until(lambda: service.backends.state(BACKEND).status == "available", clock, 5.0)
        await until(lambda: len(cloud.jobs) == 2, clock, 5.0)
        cloud.end()
        for one in (job, later):
            assert (await ended(service, one, clock)).status is JobStatus.COMPLETED
        told = [
            e.data for e in await service.store.events(0, limit=1000, kinds=["backend.changed"]) if e.backend == BACKEND
        ]
        assert [(data or {})["status"] for data in told] == ["unavailable", "available"]
        assert len(cloud.bodies) == 2


async def test_a_bad_key_is_no_failure_of_jobs(
    cloud: Cloud, clock: ManualClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """401: unavailable, with the reason; a key file that is put right is read again; the key is never logged."""
    file = tmp_path / "key"
    file.write_text("old-secret-key-0001\n")
    async with in_front(cloud, clock, key_file=str(file)) as service:
        cloud.fault(401, "POST", "/v0.4/jobs")
        cloud.fault(401, "GET", "/v0.4/jobs", times=3)
        job = await submitted(service)
        await until(lambda: service.backends.state(BACKEND).status == "unavailable", clock)
        reason = service.backends.state(BACKEND).reason or ""
        assert "refuses the key (401)" in reason
        assert "your key is [key]" in reason
        file.write_text("new-secret-key-0002\n")
        await until(lambda: bool(cloud.jobs), clock)
        assert cloud.keys[-1] == "new-secret-key-0002"
        cloud.end()
        assert (await ended(service, job, clock)).status is JobStatus.COMPLETED
    assert "secret" not in caplog.text


async def test_a_backend_the_remote_says_is_away_is_away_here(cloud: Cloud, clock: ManualClock) -> None:
    """Its status and queue time are the remote's."""
    async with in_front(cloud, clock) as service:
        assert service.backends.state(BACKEND).average_queue_ms == 1234
        cloud.backends = [SIMULATOR, {**QPU, "status": "unavailable"}]
        await until(lambda: service.backends.state(BACKEND).status == "unavailable", clock, 5.0)
        assert service.backends.state("cloud.simulator").status == "available"
        await submitted(service)
        cloud.backends = [SIMULATOR, QPU]
        await until(lambda: bool(cloud.jobs), clock, 5.0)


async def test_calibrations_are_recorded_as_they_change(cloud: Cloud, clock: ManualClock) -> None:
    """Each new one once, under the local name, and jobs name the one they ran under."""
    cloud.backends = [SIMULATOR, {**QPU, "characterization_id": CALIBRATION["id"]}]
    cloud.calibrations = {str(CALIBRATION["id"]): CALIBRATION}
    async with in_front(cloud, clock) as service:
        first, second = (local_id(BACKEND, f"0197c3a2-0000-7000-8000-00000000000{last}") for last in "ab")
        await until(lambda: service.backends.state(BACKEND).characterization_id == first)
        newer = {**CALIBRATION, "id": "0197c3a2-0000-7000-8000-00000000000b", "date": "2026-01-31T00:00:00Z"}
        cloud.calibrations[str(newer["id"])] = newer
        cloud.backends = [SIMULATOR, {**QPU, "characterization_id": newer["id"]}]
        await until(lambda: service.backends.state(BACKEND).characterization_id == second, clock, 5.0)
        await clock.advanced(300.0)
        recorded, _ = await service.backends.characterizations(BACKEND)
        assert [(one.id, one.backend) for one in recorded] == [(second, BACKEND), (first, BACKEND)]


async def test_two_imports_of_one_machine_have_their_calibrations(cloud: Cloud, clock: ManualClock) -> None:
    """Through two remotes, say: each is found under its own backend, and jobs name the one of theirs."""
    cloud.backends = [SIMULATOR, {**QPU, "characterization_id": CALIBRATION["id"]}]
    cloud.calibrations = {str(CALIBRATION["id"]): CALIBRATION}
    table = {"url": "https://far.test", "kind": "cloud", "backends": {"twin.qpu": "qpu.far-1"}}
    async with in_front(cloud, clock, remotes={"twin": table}) as service:
        for number, backend in enumerate((BACKEND, "twin.qpu"), 1):
            await until(lambda backend=backend: service.backends.state(backend).characterization_id is not None)  # type: ignore[misc]
            job = await submitted(service, backend)
            await until(lambda number=number: len(cloud.jobs) == number)  # type: ignore[misc]
            cloud.end()
            named = (await ended(service, job, clock)).outcome.characterization_id
            assert named is not None
            found = await service.backends.characterization(backend, named)
            assert found is not None
            assert (found.backend, found.qubits) == (backend, 4)


async def test_a_start_with_the_remote_down_serves_what_was_seen_last(
    cloud: Cloud, clock: ManualClock, tmp_path: Path
) -> None:
    """Known and unavailable; a job waits for the remote to come back."""
    async with in_front(cloud, clock, tmp_path):
        pass
    cloud.fault(500, "GET", "/v0.4/", times=5)
    async with in_front(cloud, clock, tmp_path) as service:
        assert service.backends.names() == [BACKEND, "cloud.simulator"]
        assert service.backends.state(BACKEND).status == "unavailable"
        job = await submitted(service)
        await until(lambda: bool(cloud.jobs), clock, 5.0)
        cloud.end()
        assert (await ended(service, job, clock)).status is JobStatus.COMPLETED


async def test_a_remote_never_seen_is_served_when_it_comes(cloud: Cloud, clock: ManualClock) -> None:
    """Backends that the settings name are there at once, unavailable with the reason; jobs wait, and are not judged."""
    cloud.fault(500, "GET", "/v0.4/", times=6)
    async with in_front(cloud, clock) as service:
        assert service.backends.names() == [BACKEND, "cloud.simulator"]
        await until(lambda: "does not tell its backends" in (service.backends.state(BACKEND).reason or ""))
        assert service.backends.state(BACKEND).status == "unavailable"
        job = await submitted(service)
        noisy = await submitted(service, "cloud.simulator", noise=Noise(model="aria-1"))
        assert {(await service.get(one.id)).status for one in (job, noisy)} == {JobStatus.READY}
        assert cloud.count("POST", "/v0.4/jobs") == 0
        await until(lambda: len(cloud.jobs) == 2, clock, 5.0)
        assert service.backends.capabilities(BACKEND).qubits == 4
        assert service.backends.state(BACKEND).status == "available"
        cloud.end()
        for one in (job, noisy):
            assert (await ended(service, one, clock)).status is JobStatus.COMPLETED
        assert len(cloud.bodies) == 2


async def test_all_backends_of_a_remote_never_seen_are_added_when_it_comes(cloud: Cloud, clock: ManualClock) -> None:
    """Nothing is known of them before, and the plugin goes on looking; those the remote gets later are added too."""
    cloud.fault(500, "GET", "/v0.4/", times=6)
    async with in_front(cloud, clock, prefix="far.", backends={}) as service:
        assert service.backends.names() == []
        assert service.backends.problems == []
        await until(lambda: service.backends.names() == ["far.simulator", "far.qpu.far-1"], clock, 5.0)
        job = await submitted(service, "far.qpu.far-1")
        await until(lambda: bool(cloud.jobs), clock)
        cloud.backends = [*cloud.backends, {**QPU, "backend": "qpu.far-2"}]
        await until(lambda: "far.qpu.far-2" in service.backends.names(), clock, 5.0)
        cloud.end()
        assert (await ended(service, job, clock)).attempt == 1


async def test_a_backend_the_remote_does_not_have_is_unavailable(cloud: Cloud, clock: ManualClock) -> None:
    """With the reason; it is served as it is once the remote has it."""
    cloud.backends = [SIMULATOR]
    async with in_front(cloud, clock) as service:
        await until(lambda: service.backends.state(BACKEND).reason == "the remote far has no backend qpu.far-1")
        assert service.backends.state("cloud.simulator").status == "available"
        cloud.backends = [SIMULATOR, QPU]
        await until(lambda: service.backends.state(BACKEND).status == "available", clock, 5.0)
        await until(lambda: service.backends.capabilities(BACKEND).qubits == 4)


async def test_a_run_limit_does_not_count_while_the_remote_is_away(cloud: Cloud, clock: ManualClock) -> None:
    """A job that runs there is neither failed nor canceled for the time in which nobody could look."""
    async with in_front(cloud, clock, run_limit_s=100.0) as service:
        job = await submitted(service)
        await until(lambda: bool(cloud.jobs))
        cloud.start()
        await until(lambda: service.stats.of(BACKEND)[0] == 0, clock)
        cloud.fault(500, "GET", "/v0.4/", times=1_000)
        await until(lambda: service.backends.state(BACKEND).status == "unavailable", clock)
        await clock.advanced(1_000.0)
        cloud.faults.clear()
        cloud.end()
        assert (await ended(service, job, clock, 5.0)).status is JobStatus.COMPLETED


async def test_all_backends_under_a_prefix(cloud: Cloud, clock: ManualClock) -> None:
    """With what the remote tells of them; retired ones are left out."""
    cloud.backends = [SIMULATOR, QPU, {**QPU, "backend": "qpu.old", "status": "retired"}]
    async with in_front(cloud, clock, prefix="far.", backends={}) as service:
        assert service.backends.names() == ["far.simulator", "far.qpu.far-1"]
        simulator, qpu = (service.backends.capabilities(name) for name in service.backends.names())
        assert (simulator.kind, list(simulator.noise_models), simulator.qubits) == (
            "simulator",
            ["ideal", "aria-1"],
            29,
        )
        assert (qpu.kind, qpu.native_gates, qpu.qubits, qpu.families) == ("qpu", ("gpi",), 4, True)

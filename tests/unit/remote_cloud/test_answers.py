"""What a remote answers is data: a bad answer about one job is that job's end, and of nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from orchestrator.errors import Unavailable
from orchestrator.lifecycle import JobStatus
from orchestrator.model import JobSpec, Noise
from orchestrator.service import Orchestrator
from orchestrator.testing.adapters import FLIP
from orchestrator.testing.clock import ManualClock
from orchestrator_remote_cloud.transport import told
from tests.unit.remote_cloud.scripted import (
    BACKEND,
    QPU,
    SIMULATOR,
    Cloud,
    ended,
    failure_of,
    in_front,
    submitted,
    until,
)


def watched(service: Orchestrator) -> list[str]:
    """Statuses that the backend is told to be in, from now on."""
    told: list[str] = []

    def hear(entries: Any) -> None:
        changes = (event for event, _ in entries if event.kind == "backend.changed" and event.backend == BACKEND)
        told.extend(str((event.data or {})["status"]) for event in changes)

    service.bus.subscribe(hear)
    return told


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((500, b"{}"), "HTTP 500"),
        ((200, b"<html>"), "not an answer of this API"),
        ((200, b'{"a": 1.0}'), "not an answer of this API"),
        ((200, b'{"0": NaN, "1": 1.0}'), "nan of outcome 0 is no probability"),
        ((200, b'{"0": 0.7}'), "its probabilities sum to 0.7"),
        ((200, b'{"0": -0.5, "1": 1.5}'), "-0.5 of outcome 0 is no probability"),
        ((200, b'{"-1": 1.0}'), "-1 is no outcome"),
        ((200, b"{}"), "its probabilities sum to 0"),
    ],
)
async def test_a_bad_result_is_the_end_of_its_job_alone(
    cloud: Cloud, clock: ManualClock, answer: tuple[int, bytes], words: str
) -> None:
    """It fails with the backend's code and says what came; its siblings go on, and the backend was never away."""
    async with in_front(cloud, clock, breaker_failures=2) as service:
        told = watched(service)
        bad, good = await submitted(service), await submitted(service)
        await until(lambda: len(cloud.jobs) == 2)
        [remote] = [key for key, body in cloud.bodies.items() if bad.id in body["metadata"].values()]
        cloud.always[f"/v0.4/jobs/{remote}/results/probabilities"] = answer
        cloud.end()
        code, message = await failure_of(service, bad, clock)
        assert code == "QuantumComputerError"
        assert words in message
        assert (await ended(service, good, clock)).status is JobStatus.COMPLETED
        assert told == []


async def test_a_job_that_cannot_be_looked_at_ends(cloud: Cloud, clock: ManualClock) -> None:
    """Neither a listing nor its own route tells what became of it: it fails, and holds nobody up."""
    async with in_front(cloud, clock, breaker_failures=2) as service:
        told = watched(service)
        bad, good = await submitted(service), await submitted(service)
        await until(lambda: len(cloud.jobs) == 2)
        [remote] = [key for key, body in cloud.bodies.items() if bad.id in body["metadata"].values()]
        cloud.always[f"/v0.4/jobs/{remote}"] = (500, b"")
        cloud.end()
        cloud.jobs[remote]["status"] = 7
        code, message = await failure_of(service, bad, clock)
        assert code == "QuantumComputerError"
        assert message == "far does not tell what became of it: HTTP 500"
        assert (await ended(service, good, clock)).status is JobStatus.COMPLETED
        assert told == []


async def test_odd_members_of_a_listing_hide_nothing(cloud: Cloud, clock: ManualClock) -> None:
    """A duration that is text, and one that is no number: the job ends with its result all the same."""
    async with in_front(cloud, clock) as service:
        job = await submitted(service)
        await until(lambda: bool(cloud.jobs))
        cloud.end(execution_duration_ms="a while")
        assert (await ended(service, job, clock)).status is JobStatus.COMPLETED


async def test_a_remote_that_is_down_ends_no_job(cloud: Cloud, clock: ManualClock) -> None:
    """500 for everything is the remote's: it is away, and its jobs wait for their results."""
    async with in_front(cloud, clock) as service:
        told = watched(service)
        job = await submitted(service)
        await until(lambda: bool(cloud.jobs))
        cloud.end()
        cloud.fault(500, "GET", "/v0.4/jobs/remote-0/results", times=1)
        cloud.fault(500, "GET", "/v0.4/", times=60)
        assert (await ended(service, job, clock, 5.0)).status is JobStatus.COMPLETED
        await until(lambda: "available" in told, clock)  # of which the job's end does not wait
        assert told == ["unavailable", "available"]


async def test_counts_that_are_not_those_of_the_shots_are_left_out(cloud: Cloud, clock: ManualClock) -> None:
    """Hardware throws shots away: what was paid for is kept, and a warning tells."""
    async with in_front(cloud, clock) as service:
        job = await submitted(service, shots=50)
        await until(lambda: bool(cloud.jobs))
        cloud.always["/v0.4/jobs/remote-0/results/histogram"] = (200, b'{"1": 49}')
        cloud.end()
        job = await ended(service, job, clock)
        result = await service.result(job.id)
        assert (result.probabilities, result.counts) == ({1: 1.0}, {1: 50})
        assert job.outcome.warnings == ("the remote's counts are not those of 50 shots and were left out",)


@pytest.mark.parametrize("status", [403, 404, 500])
async def test_a_cost_that_is_not_told_is_not_known(cloud: Cloud, clock: ManualClock, status: int) -> None:
    """The route is optional: neither is the key bad, nor the job."""
    async with in_front(cloud, clock, breaker_failures=2) as service:
        told = watched(service)
        job = await submitted(service)
        await until(lambda: bool(cloud.jobs))
        cloud.always["/v0.4/jobs/remote-0/cost"] = (status, b"{}")
        cloud.end()
        job = await ended(service, job, clock)
        assert (job.status, job.outcome.cost) == (JobStatus.COMPLETED, None)
        assert told == []


async def test_what_a_remote_does_not_say_it_cannot_is_its_to_decide(cloud: Cloud, clock: ManualClock) -> None:
    """Gates and mitigations that are not listed are sent; of an empty list none is."""
    native = FLIP.__class__(qubits=1, gates=(FLIP.gates[0].__class__("gpi2", (0,), (), (0.25,)),), gateset="native")
    settings = {"error_mitigation": {"debiasing": True}}
    cloud.backends = [SIMULATOR, {key: value for key, value in QPU.items() if key != "supported_native_gates"}]
    async with in_front(cloud, clock) as service:
        await service.submit(native, backend=BACKEND)
        await submitted(service, settings=settings, shots=500)
        await until(lambda: len(cloud.bodies) == 2)
    cloud.backends = [SIMULATOR, {**QPU, "supported_native_gates": [], "supported_error_mitigations": []}]
    async with in_front(cloud, clock) as service:
        refused = [
            await service.submit(native, backend=BACKEND),
            await submitted(service, settings=settings, shots=500),
        ]
        codes = [await failure_of(service, job, clock) for job in refused]
        assert [code for code, _ in codes] == ["UnsupportedGate", "DebiasingError"]


async def test_a_job_nobody_asked_for_is_nobodys(clock: ManualClock) -> None:
    """Many results at once, and one too many: the others are taken, and the log tells."""
    cloud = Cloud(clock, honours_keys=True)
    cloud.rogue = {"id": "rogue", "status": "completed"}
    with capture_logs() as logs:
        async with in_front(cloud, clock, kind="orchestrator") as service:
            job = await submitted(service)
            await until(lambda: bool(cloud.jobs))
            cloud.end()
            assert (await ended(service, job, clock)).status is JobStatus.COMPLETED
    assert [entry["job"] for entry in logs if "was not asked for" in entry["event"]] == ["rogue"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"result": {"qubits": "wide"}}, "the remote's result cannot be read"),
        ({"result": {"qubits": 1, "probabilities": {"0": 0.5}}}, "its probabilities sum to 0.5"),
        ({"result": None}, "the remote has no result of the job"),
    ],
)
async def test_one_of_many_results_that_is_bad(clock: ManualClock, body: dict[str, Any], words: str) -> None:
    """An orchestrator's answer about many jobs is read job by job."""
    cloud = Cloud(clock, honours_keys=True)
    async with in_front(cloud, clock, kind="orchestrator") as service:
        bad, good = await submitted(service), await submitted(service)
        await until(lambda: len(cloud.jobs) == 2)
        cloud.bulk[cloud.by_key[bad.id]] = body
        cloud.end()
        code, message = await failure_of(service, bad, clock)
        assert code == "QuantumComputerError"
        assert words in message
        assert (await ended(service, good, clock)).status is JobStatus.COMPLETED


async def test_an_answer_about_many_that_never_comes(clock: ManualClock) -> None:
    """One job makes the remote stumble over all that are asked for with it: the others are told from it."""
    cloud = Cloud(clock, honours_keys=True)
    async with in_front(cloud, clock, kind="orchestrator", breaker_failures=2) as service:
        told = watched(service)
        jobs = [await submitted(service) for _ in range(5)]
        await until(lambda: len(cloud.jobs) == 5)
        cloud.poison = cloud.by_key[jobs[3].id]
        cloud.end()
        done = [await ended(service, job, clock) for job in jobs]
        assert [job.status for job in done] == [JobStatus.COMPLETED] * 3 + [JobStatus.FAILED, JobStatus.COMPLETED]
        assert done[3].outcome.failure is not None
        assert done[3].outcome.failure.message == "far does not give the result: HTTP 500"
        assert told == []


async def test_predictions_come_along(cloud: Cloud, clock: ManualClock) -> None:
    """What the remote predicted of a run is shown with it."""
    async with in_front(cloud, clock) as service:
        job = await submitted(service)
        await until(lambda: bool(cloud.jobs))
        cloud.end(predicted_execution_duration_ms=1234)
        assert (await ended(service, job, clock)).outcome.predicted_execution_ms == 1234


async def test_a_seed_is_no_business_of_a_cloud(cloud: Cloud, clock: ManualClock) -> None:
    """Seeds that were drawn are told to orchestrators alone, circuit by circuit; a cloud gets what the contract has."""
    noise = Noise(model="aria-1")
    async with in_front(cloud, clock) as service:
        await service.submit([FLIP, FLIP], backend="cloud.simulator", noise=noise)
        await until(lambda: bool(cloud.bodies))
        assert cloud.bodies["remote-0"]["noise"] == {"model": "aria-1"}
    ours = Cloud(clock, honours_keys=True)
    async with in_front(ours, clock, kind="orchestrator") as service:
        drawn = await service.submit([FLIP, FLIP], backend="cloud.simulator", noise=noise)
        given = await service.submit([FLIP, FLIP], backend=BACKEND, noise=Noise(seed=7))
        await until(lambda: len(ours.bodies) == 2)
        seeds = [child.spec.seed for child in await service.children(drawn.id)]
        sent = [body["noise"] for body in ours.bodies.values()]
        assert {"model": "aria-1", "seeds": seeds} in sent
        assert {"model": "ideal", "seeds": [7, 7]} in sent
        assert given.spec.seed == 7


GATES = {"id": "c", "rates": [{"sku": "q", "unit": "gates", "cost_1q_gate": 0.1, "job_cost_minimum": 0.25}]}
TIME = {"id": "c", "rates": [{"sku": "q", "unit": "compute_second", "unit_cost": 1.0}]}


@pytest.mark.parametrize(
    ("card", "model", "estimated"), [(GATES, "2QGE_operations", 1.0), (TIME, "QCT", None), ({"id": "free"}, None, None)]
)
async def test_prices_are_the_remotes(
    cloud: Cloud, clock: ManualClock, card: dict[str, Any], model: str | None, estimated: float | None
) -> None:
    """By the gate they are known of each job from its submission on; what a job would cost, the remote is asked."""
    cloud.estimate = {"estimated_total_cost": 3.5, "estimated_unit": "USD", "estimated_execution_time": 42}
    cloud.estimate["rate_card"] = card
    async with in_front(cloud, clock) as service:
        assert service.backends.capabilities(BACKEND).cost_model == model
        job = await submitted(service, shots=10)
        assert (job.outcome.estimated_cost and job.outcome.estimated_cost.value) == estimated
        told = await service.estimate(JobSpec(backend=BACKEND))
        assert told is not None
        assert told.cost is not None
        assert (told.cost.value, told.cost.unit, told.execution_ms) == (3.5, "usd", 42)
        cloud.fault(400, "GET", "/v0.4/jobs/estimate")
        assert await service.estimate(JobSpec(backend=BACKEND)) is None
        cloud.fault(500, "GET", "/v0.4/jobs/estimate")
        with pytest.raises(Unavailable, match="far does not estimate: HTTP 500"):
            await service.estimate(JobSpec(backend=BACKEND))
    async with in_front(cloud, clock) as service:
        cloud.fault(500, "GET", "/v0.4/", times=1000)
        await until(lambda: service.backends.state(BACKEND).status == "unavailable", clock, 5.0)
        with pytest.raises(Unavailable, match="the remote answers 500"):
            await service.estimate(JobSpec(backend=BACKEND))


async def test_a_backend_that_cannot_be_read_hides_no_others(cloud: Cloud, clock: ManualClock) -> None:
    """It is as if it was not there: unavailable, with the reason, until it can be read."""
    cloud.backends = [SIMULATOR, {**QPU, "qubits": "many"}]
    async with in_front(cloud, clock) as service:
        assert service.backends.state("cloud.simulator").status == "available"
        assert service.backends.state(BACKEND).reason == "the remote far has no backend qpu.far-1"
        cloud.backends = [SIMULATOR, QPU]
        await until(lambda: service.backends.state(BACKEND).status == "available", clock, 5.0)


def test_a_line_of_live_results_that_cannot_be_read() -> None:
    """Its job is told by it all the same, and its result is left to be asked for."""
    assert told(b"\n") is None
    assert told(b'{"live":true}\n') is None
    whole = told(b'{"id":"a","status":"completed","result":{"qubits":1,"probabilities":{"1":1.0}}}\n')
    assert whole is not None
    assert (whole.left, whole.result and whole.result.probabilities) == (False, {1: 1.0})
    broken = told(b'{"id":"a","status":"completed","result":{"qubits":"wide"}}\n')
    assert broken is not None
    assert (broken.id, broken.status, broken.left, broken.result) == ("a", "completed", True, None)

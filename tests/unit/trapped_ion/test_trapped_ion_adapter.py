"""The adapter: a queue of one, wall time, cancel, calibrations, and the compile step's way."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import anyio
import msgspec
import pytest

from orchestrator.backends.abc import AdapterContext, Attempt, Prepared
from orchestrator.circuits import ir
from orchestrator.errors import ExecutionError, SettingsError, WorkerLost
from orchestrator.lifecycle import JobStatus
from orchestrator.model import Characterization, Failure, Job, JobSpec, Result, Stats
from orchestrator.testing.clock import START_MS, ManualClock
from orchestrator.workers.pool import WorkerPool
from orchestrator_trapped_ion.adapter import TrappedIonAdapter
from orchestrator_trapped_ion.calibration import load
from orchestrator_trapped_ion.compiling import Submission, prepare
from orchestrator_trapped_ion.measuring import Run

EXAMPLES = Path(__file__).parents[3] / "configs" / "calibrations"
LAB = {"calibrations": str(EXAMPLES)}
"""Settings with qpu.lab-12, a device that does not drift."""
HOUR_S = 3_600.0

GPI2 = ir.Circuit(qubits=12, gateset="native", gates=(ir.Gate("gpi2", (0,), params=(0.0,)),))
"""Takes 300 + 50 + 10 us a shot on qpu.lab-12: 100,000 shots are 36 s, 1,000 are 360 ms."""


class Workers:
    """In place of the pool: the compile step in process, runs answered from `answer`."""

    def __init__(self, clock: ManualClock) -> None:
        self.calls: list[str] = []
        self.runs: list[Run] = []
        self.simulation_s = 0.0
        self.failure: ExecutionError | None = None
        self._clock = clock

    async def run(self, call: str, payloads: Sequence[bytes], **limits: Any) -> list[bytes | ExecutionError]:
        self.calls.append(call)
        assert limits.keys() == {"time_limit_s", "memory_bytes"}
        if call == "orchestrator_trapped_ion.job:prepare":
            if self.failure is not None:
                return [self.failure]
            submission = msgspec.json.decode(payloads[0], type=Submission)
            return [msgspec.json.encode(prepare(ir.loads(bytes(submission.circuit)), submission.terms))]
        assert call == "orchestrator_trapped_ion.job:execute"
        run = msgspec.json.decode(payloads[0], type=Run)
        self.runs.append(run)
        await self._clock.sleep(self.simulation_s)
        if self.failure is not None:
            return [self.failure]
        result = Result(
            qubits=12,
            probabilities={0: 1.0},
            execution_ms=run.shots * 360 // 1000,
            characterization_id=run.characterization.id,
        )
        return [msgspec.json.encode(result)]


class Queue:
    """Ready and emit of one backend; the log tells what was emitted, in order."""

    def __init__(self, *attempts: Attempt) -> None:
        self.waiting = list(attempts)
        self.log: list[tuple[Any, ...]] = []
        self.lost: set[str] = set()

    async def take(self, limit: int, *, start: bool = True) -> list[Attempt]:
        assert (limit, start) == (1, False)
        if not self.waiting:
            await anyio.sleep_forever()
        return [self.waiting.pop(0)]

    def ended(self, jobs: Collection[str] = ()) -> AsyncGenerator[list[str]]:
        raise AssertionError("nothing of it runs elsewhere")

    async def started(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        held = [attempt for attempt in attempts if attempt.id not in self.lost]
        self.log += [("started", attempt.id) for attempt in held]
        return held

    async def progress(self, attempt: Attempt, fraction: float) -> None:
        self.log.append(("progress", attempt.id, round(fraction, 3)))

    async def finished(self, outcomes: Sequence[tuple[Attempt, Result | ExecutionError]]) -> None:
        self.log += [("finished", attempt.id, outcome) for attempt, outcome in outcomes]

    async def calibrated(self, characterization: Characterization) -> None:
        self.log.append(("calibrated", characterization))

    async def availability(self, available: bool, reason: str = "") -> None:
        raise AssertionError("these machines are always there")

    @property
    def milestones(self) -> list[tuple[str, str]]:
        """Starts and ends alone."""
        return [(entry[0], entry[1]) for entry in self.log if entry[0] in {"started", "finished"}]


class Bench:
    """An open adapter with everything around it."""

    def __init__(self, adapter: TrappedIonAdapter, clock: ManualClock, workers: Workers) -> None:
        self.adapter, self.clock, self.workers = adapter, clock, workers

    @asynccontextmanager
    async def serving(self, queue: Queue, backend: str = "qpu.lab-12") -> AsyncIterator[None]:
        capabilities = next(entry for entry in self.adapter.capabilities() if entry.backend == backend)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.adapter.serve, capabilities, queue, queue)
            await self.clock.advanced(0)
            yield
            tasks.cancel_scope.cancel()


async def opened(
    settings: dict[str, Any] | None = None, characterizations: dict[str, Characterization] | None = None
) -> Bench:
    """An adapter on a clock that stands."""
    clock, adapter = ManualClock(), TrappedIonAdapter()
    workers, numbers = Workers(clock), itertools.count(1)
    context = AdapterContext(
        clock=clock,
        new_id=lambda: f"id-{next(numbers)}",
        workers=cast(WorkerPool, workers),
        settings=LAB if settings is None else settings,
        characterizations=characterizations or {},
    )
    await adapter.open(context)
    return Bench(adapter, clock, workers)


def attempt(
    name: str = "a", shots: int = 1_000, circuit: ir.Circuit = GPI2, backend: str = "qpu.lab-12", **spec: Any
) -> Attempt:
    """An attempt of a prepared job."""
    stats = Stats(qubits=circuit.width, gates_1q=len(circuit.gates))
    job = Job(
        id=name,
        project_id="project",
        spec=JobSpec(backend=backend, shots=shots, seed=1, stats=stats, **spec),
        status=JobStatus.READY,
        submitted_at=0,
    )
    body = ir.dumps(circuit)
    return Attempt(job=job, number=1, input=body, compiled=body)


async def test_one_job_at_a_time_in_order() -> None:
    """The next job starts when the wall time of the one before is over, and not sooner."""
    bench = await opened()
    queue = Queue(attempt("a", 10_000), attempt("b", 1_000))  # 3.6 s and 0.36 s, a quarter of it on the wall
    async with bench.serving(queue):
        assert queue.milestones == [("started", "a")]
        await bench.clock.advanced(0.899)
        assert queue.milestones == [("started", "a")]
        await bench.clock.advanced(0.002)
        assert queue.milestones == [("started", "a"), ("finished", "a"), ("started", "b")]
        await bench.clock.advanced(0.09)
        assert queue.milestones[-1] == ("finished", "b")
    assert queue.log[-1][2].execution_ms == 360


async def test_progress_is_told_on_the_way() -> None:
    """Progress rises evenly, in at most ten steps; a short job tells none."""
    bench = await opened()
    queue = Queue(attempt("long", 40_000), attempt("short", 1_000))
    async with bench.serving(queue):
        await bench.clock.advanced(5.0)
    told = [entry for entry in queue.log if entry[0] == "progress"]
    assert told == [("progress", "long", pytest.approx(step / 10)) for step in range(1, 10)]


@pytest.mark.parametrize(
    ("settings", "wall_s"), [({}, 5.0), ({"wall_limit_s": 2.0}, 2.0), ({"time_scale": 0.01}, 0.36)]
)
async def test_wall_time_follows_the_settings(settings: dict[str, float], wall_s: float) -> None:
    """36 s of execution are waited for as time_scale and wall_limit_s say; the result reports all of them."""
    bench = await opened(LAB | settings)
    queue = Queue(attempt("a", 100_000))
    assert bench.adapter.wall_ms(36_000) == round(wall_s * 1000)
    async with bench.serving(queue):
        await bench.clock.advanced(wall_s - 0.001)
        assert queue.milestones == [("started", "a")]
        await bench.clock.advanced(0.002)
        assert queue.milestones[-1] == ("finished", "a")
    assert queue.log[-1][2].execution_ms == 36_000


async def test_time_scale_zero_waits_for_nothing() -> None:
    """With scale 0 a queue runs through while the clock stands."""
    bench = await opened(LAB | {"time_scale": 0})
    queue = Queue(*(attempt(name, 1_000_000) for name in "abc"))
    async with bench.serving(queue):
        await bench.clock.advanced(0)
    assert [name for kind, name in queue.milestones if kind == "finished"] == ["a", "b", "c"]


async def test_simulation_time_counts_as_wall_time() -> None:
    """A simulation slower than the device is not waited for twice."""
    bench = await opened()
    bench.workers.simulation_s = 3.0
    queue = Queue(attempt("a", 1_000))
    async with bench.serving(queue):
        await bench.clock.advanced(3.0)
        assert queue.milestones[-1] == ("finished", "a")


@pytest.mark.parametrize("simulation_s", [0.0, 100.0])
async def test_cancel_frees_the_device_at_once(simulation_s: float) -> None:
    """A canceled job, waiting or being simulated, ends without a result, and the next one starts."""
    bench = await opened()
    bench.workers.simulation_s = simulation_s
    first = attempt("a", 100_000)
    queue = Queue(first, attempt("b"))
    async with bench.serving(queue):
        await bench.clock.advanced(0.5)
        await bench.adapter.cancel(first)
        await bench.clock.advanced(0)
        assert queue.milestones == [("started", "a"), ("started", "b")]
    await bench.adapter.cancel(first)  # once more, too late: nothing happens


async def test_a_job_lost_before_its_start_is_not_run() -> None:
    """A job that was canceled while it was taken is dropped."""
    bench = await opened()
    queue = Queue(attempt("a"), attempt("b"))
    queue.lost.add("a")
    async with bench.serving(queue):
        assert queue.milestones == [("started", "b")]
    assert len(bench.workers.runs) == 1


async def test_a_failed_simulation_fails_its_job_alone() -> None:
    """The worker's error becomes the job's outcome at once, and the device goes on."""
    bench = await opened()
    bench.workers.failure = ExecutionError("SimulationError", "too large")
    queue = Queue(attempt("a"), attempt("b"))
    async with bench.serving(queue):
        await bench.clock.advanced(0)
    assert queue.milestones == [("started", "a"), ("finished", "a"), ("started", "b"), ("finished", "b")]
    assert queue.log[1][2] is bench.workers.failure


async def test_characterizations_are_recorded_and_named() -> None:
    """Every interval a new one is recorded; a job runs under the one that stands when it starts."""
    bench = await opened({"time_scale": 0})
    initial = {record.backend: record for record in bench.adapter.initial_characterizations()}
    assert initial.keys() == load().keys()
    queue = Queue(attempt("a", backend="qpu.aria-1"))
    async with bench.serving(queue, "qpu.aria-1"):
        assert queue.log[-1][2].characterization_id == initial["qpu.aria-1"].id
        await bench.clock.advanced(3 * HOUR_S)
    recorded = [entry[1] for entry in queue.log if entry[0] == "calibrated"]
    assert [record.recorded_at for record in recorded] == [START_MS + hour * 3_600_000 for hour in (1, 2, 3)]
    assert len({record.id for record in recorded}) == 3
    assert recorded[0].fidelity != recorded[1].fidelity
    state = bench.adapter.state("qpu.aria-1")
    assert (state.characterization_id, state.updated_at) == (recorded[2].id, recorded[2].recorded_at)
    later = Queue(attempt("b", backend="qpu.aria-1"))
    async with bench.serving(later, "qpu.aria-1"):
        assert later.log[-1][2].characterization_id == recorded[2].id


async def test_restart_goes_on_from_the_newest_recording() -> None:
    """A recorded device keeps its characterization; one that was edited gets a new one, recorded at once."""
    aria = load()["qpu.aria-1"].characterization("recorded", START_MS - 1_000)
    other = msgspec.structs.replace(load()["qpu.forte-1"].characterization("old", START_MS), qubits=32)
    bench = await opened({}, {"qpu.aria-1": aria, "qpu.forte-1": other})
    assert bench.adapter.state("qpu.aria-1").characterization_id == "recorded"
    assert {record.backend for record in bench.adapter.initial_characterizations()} == {
        "qpu.aria-2",
        "qpu.forte-enterprise-1",
    }
    edited = Queue()
    for _ in range(2):  # once, however often the backend is served
        async with bench.serving(edited, "qpu.forte-1"):
            assert [entry[1].id for entry in edited.log] == [bench.adapter.state("qpu.forte-1").characterization_id]
    queue = Queue()
    async with bench.serving(queue, "qpu.aria-1"):
        await bench.clock.advanced(HOUR_S - 2)
        assert queue.log == []
        await bench.clock.advanced(1)  # the recording was a second old at the start
        assert [entry[0] for entry in queue.log] == ["calibrated"]


async def test_prepare_compiles_and_predicts() -> None:
    """Small circuits are prepared in process, in order; the prediction is the device's execution time."""
    bench = await opened()
    wide = ir.Circuit(qubits=36, gates=tuple(ir.Gate("h", (wire,)) for wire in range(36)))
    outcomes = await bench.adapter.prepare([attempt("a"), attempt("b", circuit=wide, backend="qpu.forte-1")])
    assert outcomes[0] == Prepared(
        compiled=ir.dumps(GPI2), predicted_execution_ms=360, native_gates_1q=1, native_gates_2q=0
    )
    assert isinstance(outcomes[1], Failure)
    assert bench.workers.calls == []


async def test_large_circuits_are_prepared_in_a_worker() -> None:
    """More than 1,000 gates leave the server process and come back the same."""
    bench = await opened()
    large = msgspec.structs.replace(GPI2, gates=GPI2.gates * 1_001)
    [outcome] = await bench.adapter.prepare([attempt(circuit=large)])
    assert isinstance(outcome, Prepared)
    assert (outcome.compiled, outcome.native_gates_1q) == (ir.dumps(large), 1_001)
    wide = ir.Circuit(qubits=12, gates=(ir.Gate("x", (11,), tuple(range(11))),))
    [outcome] = await bench.adapter.prepare([attempt(circuit=wide)])
    assert isinstance(outcome, Prepared)
    assert bench.workers.calls == ["orchestrator_trapped_ion.job:prepare"] * 2


async def test_a_compilation_beyond_the_limits_fails_the_job() -> None:
    """What a worker refuses becomes the job's failure; where workers are lost it is tried three times."""
    bench = await opened()
    large = attempt(circuit=msgspec.structs.replace(GPI2, gates=GPI2.gates * 1_001))
    bench.workers.failure = ExecutionError("SimulationTimeout", "too slow")
    assert await bench.adapter.prepare([large]) == [Failure(code="CompilationError", message="too slow")]
    assert len(bench.workers.calls) == 1
    bench.workers.failure = WorkerLost("gone")
    assert [answer.code for answer in await bench.adapter.prepare([large]) if isinstance(answer, Failure)] == [
        "CompilationError"
    ]
    assert len(bench.workers.calls) == 4


async def test_capabilities() -> None:
    """Each device is a QPU with its own native gates, one job at a time, without noise models."""
    bench = await opened({})
    capabilities = {entry.backend: entry for entry in bench.adapter.capabilities()}
    assert capabilities.keys() == load().keys()
    assert capabilities["qpu.aria-1"].native_gates == ("gpi", "gpi2", "ms", "nop")
    assert capabilities["qpu.forte-1"].native_gates == ("gpi", "gpi2", "zz", "nop")
    for entry in capabilities.values():
        assert (entry.kind, entry.concurrency, entry.instant_prepare) == ("qpu", 1, False)
        assert (entry.noise_models, entry.error_mitigations) == ({}, ("debiasing",))


@pytest.mark.parametrize(
    "settings", [{"time_scal": 1}, {"time_scale": -1}, {"time_scale": float("nan")}, {"calibrations": "/nowhere"}]
)
async def test_wrong_settings_are_refused(settings: dict[str, Any]) -> None:
    """Unknown keys, wrong values and missing folders are settings errors."""
    with pytest.raises(SettingsError):
        await opened(settings)


def test_the_server_process_stays_free_of_numerics() -> None:
    """Importing the adapter imports neither numpy nor the simulation engine."""
    program = (
        "import sys, orchestrator_trapped_ion.adapter;"
        "sys.exit(any(name in sys.modules for name in ('numpy', 'orchestrator_noise_model')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

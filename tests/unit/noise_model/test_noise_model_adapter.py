"""The adapter: what it declares, how it spreads jobs over workers, and that it loads no numerics."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import anyio
import msgspec
import pytest

from orchestrator.backends.abc import AdapterContext, Attempt, Emit, Ready
from orchestrator.circuits import ir
from orchestrator.circuits.ir import Circuit, Gate
from orchestrator.clock import SystemClock
from orchestrator.errors import ExecutionError, SettingsError
from orchestrator.lifecycle import JobStatus
from orchestrator.model import Job, JobSpec, Noise, Result, Stats
from orchestrator.workers.pool import WorkerPool
from orchestrator_noise_model.adapter import NoiseModelAdapter
from orchestrator_noise_model.job import execute
from orchestrator_noise_model.task import CALL, Task

EXAMPLE = Path(__file__).parents[3] / "configs" / "noise.example.toml"
FLIP = Circuit(qubits=1, gates=(Gate("x", (0,)),))
BELL = Circuit(qubits=2, gates=(Gate("h", (0,)), Gate("x", (1,), (0,))))
WIDE = Circuit(qubits=26, gates=tuple(Gate("h", (wire,)) for wire in range(26)) * 8)


class Workers:
    """In place of the pool: keeps the batches; wide circuits wait for `release`, others are run here."""

    def __init__(self, size: int = 2) -> None:
        self.size = size
        self.batches: list[list[bytes]] = []
        self.limits: list[dict[str, Any]] = []
        self.wide = 0
        self.release = anyio.Event()

    async def run(self, call: str, payloads: Sequence[bytes], **limits: Any) -> list[bytes | ExecutionError]:
        assert call == CALL
        self.batches.append(list(payloads))
        self.limits.append(limits)
        if len(payloads) == 1 and len(payloads[0]) > 1_000:
            self.wide += 1
            try:
                await self.release.wait()
            finally:
                self.wide -= 1
            return [msgspec.json.encode(Result(qubits=26, probabilities={0: 1.0}))]
        answers: list[bytes | ExecutionError] = []
        for payload in payloads:
            try:
                answers.append(execute(payload))
            except ExecutionError as error:
                answers.append(error)
        return answers


class Line:
    """A backend's line: hands out `waiting` in one take, then nothing; keeps what is reported."""

    def __init__(self, waiting: list[Attempt]) -> None:
        self.waiting = waiting
        self.outcomes: dict[str, Result | ExecutionError] = {}

    async def take(self, limit: int, *, start: bool = True) -> list[Attempt]:
        if not self.waiting:
            await anyio.sleep_forever()
        taken, self.waiting = self.waiting[:limit], self.waiting[limit:]
        return taken

    async def finished(self, outcomes: Sequence[tuple[Attempt, Result | ExecutionError]]) -> None:
        self.outcomes |= {attempt.id: outcome for attempt, outcome in outcomes}


def attempt(job_id: str, circuit: Circuit, noise: Noise | None = None) -> Attempt:
    gates_1q = sum(len(gate.wires) == 1 for gate in circuit.gates)
    stats = Stats(qubits=circuit.width, gates_1q=gates_1q, gates_2q=len(circuit.gates) - gates_1q)
    spec = JobSpec(backend="simulator", noise=noise, seed=3, stats=stats)
    job = Job(id=job_id, project_id="p", spec=spec, status=JobStatus.STARTED, submitted_at=0, attempt=1)
    return Attempt(job, 1, ir.dumps(circuit))


async def opened(workers: Workers, **settings: Any) -> NoiseModelAdapter:
    adapter = NoiseModelAdapter()
    pool = cast("WorkerPool", workers)
    await adapter.open(AdapterContext(clock=SystemClock(), new_id=lambda: "id", workers=pool, settings=settings))
    return adapter


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        while not condition():
            await anyio.lowlevel.checkpoint()


def test_server_side_loads_no_numerics() -> None:
    """Importing the adapter imports neither numpy nor what needs it."""
    program = "import sys, orchestrator_noise_model.adapter; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


async def test_capabilities_tell_the_reference_and_custom_models() -> None:
    """29 qubits, the vendor's gate names, every noise model with its limit."""
    adapter = await opened(Workers(), models=str(EXAMPLE))
    (simulator,) = adapter.capabilities()
    assert (simulator.backend, simulator.qubits, simulator.instant_prepare) == ("simulator", 29, True)
    assert {"cnot", "not", "zz"} <= set(simulator.shown_gates)
    limits = {name: model.qubits for name, model in simulator.noise_models.items()}
    vendor = {"ideal": 29, "aria-1": 25, "aria-2": 25, "forte-1": 29, "forte-enterprise-1": 29}
    harmony = {"harmony": 11, "harmony-1": 11, "harmony-2": 11}
    assert limits == vendor | harmony | {"lab-2026": 16, "clean-single-qubit": 29}


@pytest.mark.parametrize("settings", [{"colour": 1}, {"max_outcomes": 0}, {"models": "nowhere.toml"}])
async def test_wrong_settings_are_refused(settings: dict[str, Any]) -> None:
    """Unknown keys, values out of range and missing files keep the adapter from opening."""
    with pytest.raises(SettingsError):
        await opened(Workers(), **settings)


async def test_batch_answers_in_order_and_a_failure_is_its_jobs_own() -> None:
    """One answer per attempt; a job that cannot be answered does not touch its neighbours."""
    adapter = await opened(Workers(), max_outcomes=1)
    flip = Circuit(qubits=1, gates=(Gate("x", (0,)),))
    noisy = Noise(model="aria-1")
    first, refused, counted = await adapter.run_batch(
        [attempt("a", flip), attempt("b", BELL), attempt("c", BELL, noisy)]
    )
    assert isinstance(first, Result)
    assert first.probabilities == {1: 1.0}
    assert isinstance(refused, ExecutionError)
    assert refused.failure_code == "SimulationError"
    assert isinstance(counted, Result)
    assert counted.counts is not None
    assert sum(counted.counts.values()) == 100


async def test_model_and_seed_reach_the_worker() -> None:
    """A custom model's rates travel with the job; ideal jobs carry none."""
    workers = Workers()
    adapter = await opened(workers, models=str(EXAMPLE))
    noise = Noise(model="lab-2026")
    await adapter.run_batch([attempt("a", BELL, noise), attempt("b", BELL, Noise()), attempt("c", BELL)])
    tasks = [msgspec.json.decode(payload, type=Task) for payload in workers.batches[0]]
    assert [task.rates and task.rates.two_qubit for task in tasks] == [0.008, None, None]
    assert {task.seed for task in tasks} == {3}


async def test_limits_follow_the_estimate_or_the_setting() -> None:
    """A wide job may take longer and more memory than a tiny one; a setting caps the time."""
    workers = Workers()
    workers.release.set()
    adapter = await opened(workers)
    await adapter.run_batch([attempt("a", BELL)])
    await adapter.run_batch([attempt("b", WIDE)])
    await (await opened(workers, time_limit_s=2.5)).run_batch([attempt("c", WIDE)])
    tiny, wide, capped = workers.limits
    assert tiny["time_limit_s"] < wide["time_limit_s"]
    assert tiny["memory_bytes"] + (8 << 26) < wide["memory_bytes"]
    assert capped["time_limit_s"] == 2.5
    assert adapter.predict_ms(attempt("d", WIDE).job.spec) > 1_000


async def test_wide_circuits_do_not_delay_tiny_ones() -> None:
    """Tiny jobs share a batch and are reported while wide ones run; those leave a worker free."""
    workers, noise = Workers(), Noise(model="gone")
    adapter = await opened(workers)
    (simulator,) = adapter.capabilities()
    jobs = [attempt(f"wide-{number}", WIDE) for number in range(3)]
    jobs += [attempt(f"tiny-{number}", BELL) for number in range(20)]
    line = Line([*jobs, attempt("lost", BELL, noise)])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(adapter.serve, simulator, cast("Ready", line), cast("Emit", line))
        await until(lambda: len(line.outcomes) == 21 and workers.wide == 1)
        assert [len(batch) for batch in workers.batches] in ([20, 1], [1, 20])
        lost = line.outcomes["lost"]
        assert isinstance(lost, ExecutionError)
        assert "gone" in lost.message
        workers.release.set()
        await until(lambda: len(line.outcomes) == 24)
        tasks.cancel_scope.cancel()


async def test_what_the_adapter_itself_gets_wrong_fails_its_jobs_and_serving_goes_on() -> None:
    """An answer that cannot be decoded is no crash of the backend: tiny or wide, the job fails and the next is run."""

    class Broken(Workers):
        async def run(self, call: str, payloads: Sequence[bytes], **limits: Any) -> list[bytes | ExecutionError]:
            answers = await super().run(call, payloads, **limits)
            return [b"{" if payload in spoiled else answer for payload, answer in zip(payloads, answers, strict=True)]

    workers = Broken()
    workers.release.set()
    adapter = await opened(workers)
    tiny, wide, good = attempt("tiny", FLIP), attempt("wide", WIDE), attempt("good", BELL)
    spoiled = {adapter._payload(tiny), adapter._payload(wide)}
    (simulator,) = adapter.capabilities()
    line = Line([tiny, wide, good])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(adapter.serve, simulator, cast("Ready", line), cast("Emit", line))
        await until(lambda: len(line.outcomes) == 3)
        tasks.cancel_scope.cancel()
    assert isinstance(line.outcomes["good"], Result)
    for name in ("tiny", "wide"):
        outcome = line.outcomes[name]
        assert isinstance(outcome, ExecutionError)
        assert outcome.failure_code == "InternalError"


async def test_cancel_stops_a_wide_job() -> None:
    """The worker is freed, nothing is reported, and the next job runs."""
    workers = Workers(size=1)
    adapter = await opened(workers)
    (simulator,) = adapter.capabilities()
    first, second = attempt("first", WIDE), attempt("second", WIDE)
    line = Line([first, second])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(adapter.serve, simulator, cast("Ready", line), cast("Emit", line))
        await until(lambda: workers.wide == 1)
        await adapter.cancel(first)
        await until(lambda: len(workers.batches) == 2)
        workers.release.set()
        await until(lambda: bool(line.outcomes))
        assert line.outcomes.keys() == {"second"}
        tasks.cancel_scope.cancel()


async def test_real_workers_keep_within_the_estimated_memory() -> None:
    """Estimates leave room for threads and buffers: wide, dense and noisy jobs run under the kernel's limit."""
    ghz = (Gate("h", (0,)), *(Gate("x", (wire + 1,), (wire,)) for wire in range(21)))
    spread = tuple(Gate("h", (wire,)) for wire in range(17))
    dense = tuple(Gate("rx", (wire,), params=(0.3,)) for wire in range(10)) + ghz[:10]
    async with WorkerPool(1, SystemClock()) as pool:
        adapter = NoiseModelAdapter()
        await adapter.open(AdapterContext(clock=SystemClock(), new_id=lambda: "id", workers=pool))
        for circuit, noise in (
            (Circuit(qubits=22, gates=ghz), None),
            (Circuit(qubits=17, gates=spread), None),
            (Circuit(qubits=11, gates=dense), Noise(model="aria-1")),
            (Circuit(qubits=18, gates=ghz[:18]), Noise(model="forte-1")),
        ):
            (outcome,) = await adapter.run_batch([attempt("a", circuit, noise)])
            assert isinstance(outcome, Result)
            assert sum(outcome.probabilities.values()) == pytest.approx(1.0)

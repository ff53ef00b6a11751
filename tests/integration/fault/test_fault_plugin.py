"""The plugin as people use it: from a configuration, around installed adapters, with worker processes that die."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

import pytest

from orchestrator import settings
from orchestrator.circuits.ir import Circuit, Gate
from orchestrator.lifecycle import JobStatus
from orchestrator.model import Noise
from orchestrator.service import Orchestrator
from orchestrator.settings import Settings
from orchestrator.testing.adapters import FLIP
from orchestrator_fault.adapter import FaultAdapter

CONFIG = Path(__file__).parents[3] / "configs" / "rehearsal.toml"
BELL = Circuit(qubits=2, gates=(Gate("h", (0,)), Gate("x", (1,), controls=(0,))))


def configured(**fault: Any) -> Settings:
    """Settings with the simulator twice: as it is, and behind the plugin."""
    return settings.load(
        environment={},
        overrides={
            "backends": ["noise_model", "fault"],
            "workers": {"count": 1},
            "dispatch": {"retry_base_s": 0.0, "drain_s": 0.0},
            "plugins": {"fault": {"adapter": "noise_model", **fault}},
        },
    )


async def test_a_wrapped_simulator_without_faults_is_the_simulator() -> None:
    """The same limits, predictions and, from a seed, counts; its own table of settings."""
    async with Orchestrator.open(settings=configured(settings={"max_outcomes": 2})) as service:
        assert service.backends.problems == []
        assert service.backends.names() == ["simulator", "fault.simulator"]
        results, predictions = [], []
        for backend in service.backends.names():
            job = await service.submit(BELL, backend=backend, shots=500, noise=Noise(model="aria-1", seed=7))
            results.append((await service.result(job.id)).counts)
            predictions.append(job.outcome.predicted_execution_ms)
        assert results[0] == results[1]
        assert predictions[0] == predictions[1]
        wide = Circuit(qubits=2, gates=(Gate("h", (0,)), Gate("h", (1,))))
        ended = [await service.wait((await service.submit(wide, backend=name)).id) for name in service.backends.names()]
        assert [job.status for job in ended] == [JobStatus.COMPLETED, JobStatus.FAILED]


async def test_a_worker_dies_and_the_job_goes_on() -> None:
    """The process is really killed; the job runs again in the next one, the other backend notices nothing."""
    async with Orchestrator.open(settings=configured(crash={"every": 2})) as service:
        first = await service.wait((await service.submit(FLIP, backend="fault.simulator")).id)
        pids = service.workers.pids
        assert (first.attempt, len(pids)) == (1, 1)
        struck = await service.submit(FLIP, backend="fault.simulator")
        beside = await service.submit(FLIP, backend="simulator")
        job = await service.wait(struck.id)
        assert (job.status, job.attempt, job.failed_attempts) == (JobStatus.COMPLETED, 2, 1)
        assert (await service.wait(beside.id)).attempt == 1
        assert service.workers.pids != pids
        assert (await service.verify()).problems == ()


async def test_a_machine_behind_faults_keeps_its_calibrations() -> None:
    """Characterizations are recorded under the name outside, and a job's names one that is there."""
    table = {"adapter": "trapped_ion", "prefix": "rehearsal.", "settings": {"time_scale": 0.0}, "duplicate": 1.0}
    config = settings.load(environment={}, overrides={"backends": ["fault"], "plugins": {"fault": table}})
    async with Orchestrator.open(settings=config) as service:
        backend = "rehearsal.qpu.aria-1"
        job = await service.wait((await service.submit(BELL, backend=backend)).id)
        assert job.status is JobStatus.COMPLETED
        assert job.outcome.characterization_id is not None
        found = await service.backends.characterization(backend, job.outcome.characterization_id)
        assert found is not None
        assert service.backends.state(backend).characterization_id == found.id


LAB = """
import os

from orchestrator.backends.abc import Adapter, Capabilities
from orchestrator.model import Result


class Lab(Adapter):
    name = "lab"
    isolation = "ISOLATION"

    def capabilities(self):
        return [Capabilities(backend="lab", qubits=4)]

    def run(self, attempt):
        assert attempt.job.backend == "lab"
        return Result(qubits=1, probabilities={0: 1.0}, warnings=(str(os.getpid()),))
"""


@pytest.mark.parametrize("isolation", ["server", "worker"])
async def test_a_wrapped_adapter_runs_where_it_would_run(
    isolation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain functions in a thread, and in a process of the backend's own where the adapter asks for that."""
    module = f"lab_of_{isolation}"
    (tmp_path / f"{module}.py").write_text(LAB.replace("ISOLATION", isolation))
    monkeypatch.syspath_prepend(tmp_path)
    lab = importlib.import_module(module).Lab()
    async with Orchestrator.open(adapters=[FaultAdapter(lab, late=1.0, late_s=0.0)]) as service:
        job = await service.wait((await service.submit(FLIP, backend="fault.lab")).id)
        assert job.status is JobStatus.COMPLETED
        assert (job.outcome.warnings == (str(os.getpid()),)) is (isolation == "server")


async def test_the_example_configuration_rehearses() -> None:
    """It loads, serves what it says, and jobs end under it."""
    pytest.importorskip("orchestrator_trapped_ion")
    loaded = settings.load(CONFIG, environment={})
    async with Orchestrator.open(settings=loaded) as service:
        assert service.backends.problems == []
        assert "fault.simulator" in service.backends.names()
        jobs = [await service.submit(BELL, backend="fault.simulator") for _ in range(8)]
        ended = [await service.wait(job.id, timeout_s=60) for job in jobs]
        assert {job.terminal for job in ended} == {True}

"""The domain's records."""

from __future__ import annotations

import msgspec
import pytest

from orchestrator.lifecycle import TERMINAL, JobStatus
from orchestrator.model import Job, JobSpec, Noise, Result


def job(status: JobStatus = JobStatus.READY) -> Job:
    spec = JobSpec(backend="simulator", noise=Noise(model="aria-1", seed=1), settings={"a": [1, {"b": None}]})
    return Job(id="1", project_id="p", spec=spec, status=status, submitted_at=0)


@pytest.mark.parametrize("status", list(JobStatus))
def test_terminal_is_of_the_status(status: JobStatus) -> None:
    """A job is terminal exactly where the life cycle ends."""
    assert job(status).terminal == (status in TERMINAL)


def test_records_do_not_change() -> None:
    """A record cannot be changed; a changed job is another record."""
    with pytest.raises(AttributeError):
        job().status = JobStatus.STARTED  # type: ignore[misc]
    changed = msgspec.structs.replace(job(), status=JobStatus.STARTED)
    assert (changed.status, job().status) == (JobStatus.STARTED, JobStatus.READY)


def test_jobs_survive_encoding() -> None:
    """A job encoded as JSON and read back is equal."""
    assert msgspec.json.decode(msgspec.json.encode(job()), type=Job) == job()


def test_results_survive_encoding() -> None:
    """Outcomes of any width stay integers and probabilities exact."""
    result = Result(qubits=64, probabilities={0: 0.1 + 0.2, 2**63: 1 / 3}, counts={2**63: 5}, shots=[0, 2**63])
    assert msgspec.json.decode(msgspec.json.encode(result), type=Result) == result

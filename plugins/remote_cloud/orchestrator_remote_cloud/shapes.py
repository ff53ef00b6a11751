"""What a remote says, read leniently: services differ in what they leave out, and add."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from orchestrator.model import Cost, Result


class RemoteFailure(msgspec.Struct, frozen=True):
    """Why a job failed; published services spell the sentence either way."""

    code: str = "InternalError"
    message: str | None = None
    error: str | None = None

    @property
    def text(self) -> str:
        return self.message or self.error or "the remote gives no reason"


class RemoteWarning(msgspec.Struct, frozen=True):
    """Sentences for the submitter."""

    messages: list[str] = []


class RemoteJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job as lists show it."""

    id: str
    status: str
    submitted_at: str | None = None
    metadata: dict[str, Any] | None = None
    failure: RemoteFailure | None = None
    execution_duration_ms: float | None = None
    predicted_execution_duration_ms: float | None = None
    results: dict[str, Any] | None = None
    warning: RemoteWarning | None = None
    parent_job_id: str | None = None


class RemoteJobs(msgspec.Struct, frozen=True, kw_only=True):
    """A page of jobs, newest first, each to be read by itself: one that is odd hides no others."""

    jobs: list[dict[str, Any]]
    next: str | None = None

    @property
    def known(self) -> list[RemoteJob]:
        """Those that can be read."""
        return [job for body in self.jobs if (job := remote_job(body)) is not None]


def remote_job(body: dict[str, Any]) -> RemoteJob | None:
    """A job; of one with odd members what it is found and followed by; None if it has not even that."""
    try:
        return msgspec.convert(body, RemoteJob, strict=False)
    except msgspec.ValidationError:
        job_id, status, metadata = body.get("id"), body.get("status"), body.get("metadata")
        if not (isinstance(job_id, str) and isinstance(status, str)):
            return None
        return RemoteJob(id=job_id, status=status, metadata=metadata if isinstance(metadata, dict) else None)


class Created(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a submission."""

    id: str


class RemoteCost(msgspec.Struct, frozen=True, kw_only=True):
    """What a job cost; nothing before it is done, and where the target is not priced."""

    cost: Cost | None = None


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a rate card: by the gate, or by the second of quantum compute time."""

    unit: str | None = None
    cost_1q_gate: float | None = None
    cost_2q_gate: float | None = None
    job_cost_minimum: float | None = None


class RateCard(msgspec.Struct, frozen=True, kw_only=True):
    """What runs cost; without a line, nothing."""

    rates: list[Rate] = []


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What a job would cost, in the names of both generations."""

    estimated_total_cost: float | None = None
    estimated_cost: float | None = None
    estimated_unit: str | None = None
    cost_unit: str | None = None
    estimated_execution_time: float | None = None
    rate_card: RateCard | None = None

    @property
    def cost(self) -> float | None:
        return self.estimated_cost if self.estimated_total_cost is None else self.estimated_total_cost

    @property
    def unit(self) -> str:
        return (self.estimated_unit or self.cost_unit or "usd").lower()


class RemoteBackend(msgspec.Struct, frozen=True, kw_only=True):
    """A backend of the remote; `cost_model` is told by orchestrators."""

    backend: str
    status: str = "available"
    qubits: int = 1
    average_queue_time: float | None = None
    last_updated: str | None = None
    characterization_id: str | None = None
    noise_models: list[str] | None = None
    supported_gates: list[str] | None = None
    supported_native_gates: list[str] | None = None
    supported_error_mitigations: list[str] | None = None
    kw: float | None = None
    location: str | None = None
    cost_model: str | None = None

    @property
    def simulator(self) -> bool:
        """It simulates, as far as can be told."""
        return self.backend.startswith("simulator") or bool(self.noise_models)


class RemoteCharacterization(msgspec.Struct, frozen=True, kw_only=True):
    """A calibration of the remote's."""

    id: str
    date: str
    qubits: int
    connectivity: list[tuple[int, int]] = []
    fidelity: dict[str, dict[str, float | None]] = {}
    timing: dict[str, float] = {}


class Bulk(msgspec.Struct, frozen=True, kw_only=True):
    """One job of ``/results/v1``, which orchestrators have.

    Attributes:
        left: A live answer leaves its result to be asked for.
    """

    id: str
    status: str
    failure: RemoteFailure | None = None
    warnings: tuple[str, ...] = ()
    cost: Cost | None = None
    predicted_execution_ms: int | None = None
    result: Result | None = None
    children: list[Bulk] = []
    left: bool = False

    @property
    def outcomes(self) -> int:
        """How much its results hold."""
        maps = () if self.result is None else (self.result.probabilities, self.result.counts, self.result.shots)
        return sum(len(each) for each in maps if each is not None) + sum(child.outcomes for child in self.children)


class BulkHead(msgspec.Struct, frozen=True, kw_only=True):
    """What `Bulk` can be told by, where the rest cannot be read."""

    id: str
    status: str


class BulkAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Many jobs, each to be read as a `Bulk`; those that no longer fit are left to the next request."""

    jobs: list[dict[str, Any]]
    left: list[str] = []


def time_ms(text: str | None) -> int | None:
    """An ISO 8601 time as Unix milliseconds; None where there is none that can be read."""
    if text is None:
        return None
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None

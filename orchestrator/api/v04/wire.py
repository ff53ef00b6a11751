"""How v0.4 spells a job: the one place that maps between its JSON and the domain (reference, sections 4 to 6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from orchestrator.api.endpoint import decoder
from orchestrator.api.payloads import AGGREGATE, AGGREGATE_ARTIFACT, FORMATS, HISTOGRAM, NATIVE, NATIVE_ARTIFACT, SHOTS
from orchestrator.api.submission import (
    Lax,
    WireMetadata,
    WireNoise,
    check_name,
    check_settings,
    noise_body,
    read_metadata,
    read_noise,
    read_seeds,
    read_shots,
)
from orchestrator.api.times import iso
from orchestrator.backends.abc import Prices
from orchestrator.circuits.formats.ionq import read_input
from orchestrator.errors import InvalidRequest
from orchestrator.lifecycle import JobStatus
from orchestrator.model import CIRCUIT, MULTI_CIRCUIT, Cost, Failure, Job, JobRequest

PREFIX: Final = "/v0.4"
_TYPES: Final = {CIRCUIT: False, MULTI_CIRCUIT: True}
#: Total: a status without a spelling fails at import of the tests, not at a client.
STATUS: Final[dict[JobStatus, str]] = {status: str(status) for status in JobStatus}
#: How a query may spell a status: qiskit-ionq asks for ``queued``, cirq-ionq for ``running``.
STATUSES: Final[dict[str, tuple[JobStatus, ...]]] = {word: (status,) for status, word in STATUS.items()} | {
    "queued": (JobStatus.SUBMITTED, JobStatus.READY),
    "running": (JobStatus.STARTED,),
}


class Create(msgspec.Struct, kw_only=True):
    """The body of ``POST /jobs``; unknown members are ignored."""

    type: str
    backend: str
    input: msgspec.Raw
    shots: Lax | None = None
    name: str | None = None
    metadata: WireMetadata | None = None
    noise: WireNoise | None = None
    settings: dict[str, Any] | None = None
    session_id: str | None = None
    dry_run: bool | None = None


_decode_create = decoder(Create)


def read_create(body: bytes) -> JobRequest:
    """The request in a body of ``POST /jobs``.

    Raises:
        InvalidRequest: Names the member.
    """
    wire = _decode_create(body)
    multi = _TYPES.get(wire.type)
    if multi is None:
        known = " and ".join(_TYPES)
        raise InvalidRequest(f"this type is not run here; supported: {known}", code="unknown_type", fields=("type",))
    check_name(wire.name)
    if wire.settings:
        check_settings(wire.settings)
    circuits, _ = read_input(wire.input, multi=multi)
    return JobRequest(
        backend=wire.backend,
        circuits=tuple(circuits),
        multi=multi,
        shots=read_shots(wire.shots),
        name=wire.name,
        metadata=read_metadata(wire.metadata),
        noise=read_noise(wire.noise),
        settings=wire.settings or {},
        session_id=wire.session_id or None,
        dry_run=bool(wire.dry_run),
        seeds=read_seeds(wire.noise),
    )


def created(job: Job) -> bytes:
    """The answer to a submission; it was `submitted`, whatever has happened to it since."""
    session = b"null" if job.spec.session_id is None else msgspec.json.encode(job.spec.session_id)
    return b'{"id":"%s","status":"submitted","session_id":%s}' % (job.id.encode(), session)


def failure_body(failure: Failure) -> dict[str, str]:
    """A failure in both spellings: published clients read either."""
    return {"code": failure.code, "message": failure.message, "error": failure.message}


def job_body(job: Job, *, wait_ms: int | None, cost_model: str | None, absent_failure: object = None) -> dict[str, Any]:
    """A job without its children, as lists show it.

    Args:
        job: The job.
        wait_ms: Predicted wait.
        cost_model: Where the backend is priced.
        absent_failure: What stands for no failure; one client cannot read null.
    """
    spec, outcome = job.spec, job.outcome
    completed = job.status is JobStatus.COMPLETED
    body: dict[str, Any] = {
        "id": job.id,
        "status": STATUS[job.status],
        "type": spec.type,
        "backend": spec.backend,
        "name": spec.name,
        "metadata": spec.metadata,
        "dry_run": spec.dry_run,
        "shots": spec.shots,
        "submitter_id": spec.submitter_id,
        "project_id": job.project_id,
        "parent_job_id": job.parent_id,
        "session_id": spec.session_id,
        "submitted_at": iso(job.submitted_at),
        "started_at": iso(job.started_at),
        "completed_at": iso(job.completed_at),
        "predicted_wait_time_ms": wait_ms,
        "predicted_execution_duration_ms": outcome.predicted_execution_ms,
        "execution_duration_ms": (outcome.execution_ms or 0) if completed else None,
        "failure": absent_failure if outcome.failure is None else failure_body(outcome.failure),
        "settings": spec.settings,
        "output": _output(job),
        "stats": {
            "qubits": spec.stats.declared,
            "circuits": spec.stats.circuits,
            "gate_counts": {"1q": spec.stats.gates_1q, "2q": spec.stats.gates_2q},
        },
        "results": _results(job) if completed and not spec.dry_run else None,
    }
    if spec.noise is not None:
        body["noise"] = noise_body(spec.noise)
    if cost_model is not None:
        body["cost_model"] = cost_model
    if outcome.warnings:
        body["warning"] = {"messages": outcome.warnings}
    return body


def cost_body(job: Job) -> dict[str, Any]:
    """What a job cost; no ``estimated_cost`` where its backend has no prices, no ``cost`` of what never runs."""
    known = {"estimated_cost": job.outcome.estimated_cost, "cost": job.spent}
    return {"dry_run": job.spec.dry_run} | {name: cost for name, cost in known.items() if cost is not None}


def rates_body(backend: str, prices: Prices | None, estimated: Cost) -> dict[str, Any]:
    """The members of an estimate that are about money, in the names of both generations."""
    rates = Prices() if prices is None else prices
    card = {
        "cost_1q_gate": rates.gate_1q,
        "cost_2q_gate": rates.gate_2q,
        "job_cost_minimum": rates.job_minimum,
    }
    return {
        "estimated_unit": estimated.unit,
        "cost_unit": estimated.unit,
        "rate_card": {
            "id": "free" if prices is None else backend,
            "rates": [] if prices is None else [{"sku": backend, "unit": "gates", **card}],
        },
        "rate_information": {"organization": None, **card},
        "estimated_total_cost": estimated.value,
        "estimated_cost": estimated.value,
    }


def full_body(listed: dict[str, Any], child_ids: Sequence[str]) -> dict[str, Any]:
    """A job with its children, as asked for by id."""
    return {**listed, "child_job_ids": list(child_ids) or None}


def descriptor(form: str, artifact: str) -> dict[str, str]:
    """Where an artifact is and what it holds."""
    return {"id": artifact, "format": form, "media_type": "application/json"}


def _output(job: Job) -> dict[str, Any]:
    if job.outcome.native_gates_1q is None and job.outcome.native_gates_2q is None:
        return {}
    return {"compilation": {"compiled_circuits": {NATIVE: descriptor(NATIVE, NATIVE_ARTIFACT)}}}


def _results(job: Job) -> dict[str, Any]:
    """Both generations at once: links, and descriptors by format."""
    base = f"{PREFIX}/jobs/{job.id}/results"
    if job.children:
        return {
            "probabilities": {"url": f"{base}/probabilities/aggregated"},
            AGGREGATE: descriptor(AGGREGATE, AGGREGATE_ARTIFACT),
        }
    results: dict[str, Any] = {"probabilities": {"url": f"{base}/probabilities"}}
    if job.outcome.sampled:
        results |= {form.artifact: {"url": f"{base}/{form.artifact}"} for form in (HISTOGRAM, SHOTS)}
    offered = (form for form in FORMATS if job.outcome.sampled or not form.sampled)
    return results | {form.id: descriptor(form.id, form.artifact) for form in offered}

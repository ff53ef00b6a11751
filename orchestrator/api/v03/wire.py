"""How v0.3 spells a job: the one place that maps between its JSON and the domain (reference, sections 4.3 and 5.5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from orchestrator.api.endpoint import decoder
from orchestrator.api.submission import (
    Lax,
    WireMetadata,
    WireNoise,
    check_name,
    check_settings,
    noise_body,
    read_metadata,
    read_noise,
    read_shots,
)
from orchestrator.api.times import seconds
from orchestrator.circuits.formats.ionq import read_input
from orchestrator.circuits.ir import Circuit
from orchestrator.circuits.validation import check_registers
from orchestrator.errors import InvalidRequest
from orchestrator.lifecycle import JobStatus
from orchestrator.model import Job, JobRequest

PREFIX: Final = "/v0.3"
STATUS: Final[dict[JobStatus, str]] = {
    JobStatus.SUBMITTED: "submitted",
    JobStatus.READY: "ready",
    JobStatus.STARTED: "running",
    JobStatus.COMPLETED: "completed",
    JobStatus.FAILED: "failed",
    JobStatus.CANCELED: "canceled",
}
STATUSES: Final[dict[str, tuple[JobStatus, ...]]] = {word: (status,) for status, word in STATUS.items()} | {
    "queued": (JobStatus.SUBMITTED, JobStatus.READY)
}
#: Members that v0.3 calls otherwise; refusals name them as they were sent.
SPELLING: Final = {"backend": "target"}


#: What this version can count in.
CURRENCIES: Final = frozenset({"usd", "credit"})


class _ErrorMitigation(msgspec.Struct, kw_only=True):
    debias: bool | None = None


class Create(msgspec.Struct, kw_only=True):
    """The body of ``POST /jobs``; unknown members are ignored. `lang` with `body` is an older form of `input`."""

    target: str = "simulator"
    input: msgspec.Raw = msgspec.Raw()
    lang: str | None = None
    body: msgspec.Raw = msgspec.Raw()
    shots: Lax | None = None
    name: str | None = None
    metadata: WireMetadata | None = None
    noise: WireNoise | None = None
    error_mitigation: _ErrorMitigation | None = None
    settings: dict[str, Any] | None = None
    registers: dict[str, list[int | None]] | None = None
    session_id: str | None = None
    dry_run: bool | None = None


_decode_create = decoder(Create)


def read_create(body: bytes) -> JobRequest:
    """The request in a body of ``POST /jobs``.

    Raises:
        InvalidRequest: Names the member.
    """
    wire = _decode_create(body)
    check_name(wire.name)
    settings = dict(wire.settings or {})
    if settings:
        check_settings(settings)
    if wire.error_mitigation is not None and wire.error_mitigation.debias is not None:
        settings["error_mitigation"] = {
            **(settings.get("error_mitigation") or {}),
            "debiasing": wire.error_mitigation.debias,
        }
    circuits, multi = _read_circuits(wire)
    return JobRequest(
        backend=wire.target,
        circuits=tuple(circuits),
        multi=multi,
        shots=read_shots(wire.shots),
        name=wire.name,
        metadata=read_metadata(wire.metadata),
        noise=read_noise(wire.noise),
        settings=settings,
        session_id=wire.session_id or None,
        dry_run=bool(wire.dry_run),
    )


def _read_circuits(wire: Create) -> tuple[list[Circuit], bool]:
    if bytes(wire.input):
        circuits, multi = read_input(wire.input)
    elif bytes(wire.body):
        if wire.lang not in {None, "json"}:
            raise InvalidRequest("lang must be json", code="unknown_format", fields=("lang",))
        circuits, multi = read_input(wire.body, root="body")
    else:
        raise InvalidRequest("input is required", code="missing_field", fields=("input",))
    if wire.registers and not multi:
        circuits = [msgspec.structs.replace(circuits[0], registers=wire.registers)]
        check_registers(circuits[0])
    return circuits, multi


def renamed(error: InvalidRequest) -> InvalidRequest:
    """The same refusal in v0.3's names."""
    fields = tuple(SPELLING.get(field, field) for field in error.fields)
    return InvalidRequest(str(error), code=error.code, fields=fields, source=error.source)


def created(job: Job) -> bytes:
    """The answer to a submission."""
    return b'{"id":"%s","status":"ready","request":%d}' % (job.id.encode(), job.submitted_at // 1000)


def job_body(job: Job, child_ids: Sequence[str]) -> dict[str, Any]:
    """A job. Members that do not apply are left out: no client of this version expects null."""
    spec, outcome, stats = job.spec, job.outcome, job.spec.stats
    completed = job.status is JobStatus.COMPLETED
    body: dict[str, Any] = {
        "id": job.id,
        "status": STATUS[job.status],
        "name": spec.name,
        "target": spec.backend,
        "metadata": spec.metadata,
        "shots": spec.shots,
        "noise": None if spec.noise is None else noise_body(spec.noise),
        "dry_run": spec.dry_run,
        "qubits": stats.declared,
        "circuits": stats.circuits,
        "gate_counts": {"1q": stats.gates_1q, "2q": stats.gates_2q},
        "request": seconds(job.submitted_at),
        "start": seconds(job.started_at),
        "response": seconds(job.completed_at),
        "execution_time": (outcome.execution_ms or 0) if completed else None,
        "predicted_execution_time": outcome.predicted_execution_ms,
        "children": list(child_ids) or None,
        "results_url": f"{PREFIX}/jobs/{job.id}/results" if completed and not spec.dry_run else None,
        "error_mitigation": _error_mitigation(spec.settings),
        "failure": None
        if outcome.failure is None
        else {"code": outcome.failure.code, "error": outcome.failure.message, "message": outcome.failure.message},
        "warning": {"messages": outcome.warnings} if outcome.warnings else None,
        "registers": spec.registers,
    } | _costs(job)
    return {name: value for name, value in body.items() if value is not None}


def _costs(job: Job) -> dict[str, float]:
    """Costs by currency, as far as this version has names for them."""
    known = {"estimated_cost": job.outcome.estimated_cost, "cost": job.spent}
    return {
        f"{name}_{cost.unit}": cost.value
        for name, cost in known.items()
        if cost is not None and cost.unit in CURRENCIES
    }


def _error_mitigation(settings: dict[str, Any]) -> dict[str, Any] | None:
    given = settings.get("error_mitigation") or {}
    debias = given.get("debiasing", given.get("debias"))
    return None if debias is None else {"debias": bool(debias)}

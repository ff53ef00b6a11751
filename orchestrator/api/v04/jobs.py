"""Jobs in v0.4: create, list, get, cost, estimate, clone, move."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from orchestrator.api.endpoint import Call, decoder, reply, reply_bytes
from orchestrator.api.jobs import accepted, child_ids, from_cirq, listed, page_of, statuses_asked, submit
from orchestrator.api.query import MAX_PAGE, PAGE, Query, refuse, with_fallback
from orchestrator.api.submission import (
    Lax,
    WireMetadata,
    WireNoise,
    check_name,
    check_settings,
    read_metadata,
    read_noise,
    read_shots,
)
from orchestrator.api.times import iso
from orchestrator.api.v04 import wire
from orchestrator.backends.abc import Estimated
from orchestrator.backends.check import DEBIASING
from orchestrator.errors import BackendNotFound, InvalidRequest
from orchestrator.lifecycle import JobStatus
from orchestrator.model import (
    CIRCUIT,
    FREE,
    MAX_SHOTS,
    MULTI_CIRCUIT,
    Characterization,
    Job,
    JobRequest,
    JobSpec,
    Noise,
    Stats,
)


async def create(call: Call) -> web.Response:
    """Accept a job; the answer leaves after the commit."""
    return reply_bytes(wire.created(await submit(call, wire.read_create)), 201)


async def get(call: Call) -> web.Response:
    """One job."""
    job = await call.orchestrator.get(call.part("id"), project=call.project)
    return reply(await full(call, job))


async def listing(call: Call) -> web.Response:
    """Jobs, newest first."""
    return await page(call)


async def page(call: Call, *, session_id: str | None = None) -> web.Response:
    """A page of jobs as the query asks; of one session where that is given, whatever the query says of it."""
    query = await with_fallback(call)
    found = await page_of(
        call,
        ids=query.texts("ids"),
        parent_id=query.text("parent_job_id"),
        statuses=statuses_asked(query, wire.STATUSES),
        backends=_targets(call, query),
        session_id=session_id or query.text("session_id"),
        limit=query.clamped("limit", PAGE, MAX_PAGE),
        before=query.text("next"),
    )
    return listed(call, found, [body(call, job) for job in found.jobs])


async def full(call: Call, job: Job) -> dict[str, Any]:
    """A job as asked for by id."""
    return wire.full_body(body(call, job), await child_ids(call.orchestrator, job))


def body(call: Call, job: Job) -> dict[str, Any]:
    """A job as lists show it."""
    orchestrator = call.orchestrator
    try:
        cost_model = orchestrator.backends.capabilities(job.backend).cost_model
    except BackendNotFound:
        cost_model = None  # its adapter is gone, the job is not
    return wire.job_body(
        job,
        wait_ms=None if job.terminal else orchestrator.predicted_wait_ms(job),
        cost_model=cost_model,
        absent_failure={} if from_cirq(call.request) else None,
    )


def _targets(call: Call, query: Query) -> list[str] | None:
    """Names of backends; one that no adapter serves may still have old jobs."""
    text = query.text("target")
    return None if text is None else [_resolved(call, name.strip()) for name in text.split(",")]


def _resolved(call: Call, name: str) -> str:
    try:
        return call.orchestrator.backends.resolve(name)
    except BackendNotFound:
        return name


async def cost(call: Call) -> web.Response:
    """What a job cost, and what it was estimated to cost where its backend has prices."""
    job = await call.orchestrator.get(call.part("id"), project=call.project)
    return reply(wire.cost_body(job))


async def estimate(call: Call) -> web.Response:
    """What a job would cost and how long it would run, in the names of all published clients."""
    query = Query(call)
    name = query.text("backend")
    if name is None:
        raise refuse("backend", "backend is required", "missing_field")
    try:
        backend = call.orchestrator.backends.resolve(name)
    except BackendNotFound as error:
        raise refuse("backend", str(error), error.code) from None
    context: dict[str, Any] = {
        "backend": backend,
        "type": query.text("type") or CIRCUIT,
        "qubits": query.within("qubits", 25, 1, 1024),
        "shots": query.within("shots", 1000, 1, MAX_SHOTS),
        "1q_gates": query.within("1q_gates", 0, 0, 10**9),
        "2q_gates": query.within("2q_gates", 0, 0, 10**9),
        "error_mitigation": query.flag("error_mitigation"),
    }
    if context["type"] not in {CIRCUIT, MULTI_CIRCUIT}:
        raise refuse("type", f"type must be {CIRCUIT}", "unknown_type")
    recorded, _ = await call.orchestrator.backends.characterizations(backend, limit=1)
    prices = call.orchestrator.backends.capabilities(backend).prices
    sizes = Stats(qubits=context["qubits"], gates_1q=context["1q_gates"], gates_2q=context["2q_gates"])
    told = await call.orchestrator.estimate(
        JobSpec(
            backend=backend,
            shots=context["shots"],
            stats=sizes,
            settings={"error_mitigation": {DEBIASING: True}} if context["error_mitigation"] else {},
        )
    )
    if told is None:
        cost = FREE if prices is None else prices.of(sizes, context["shots"])
        told = Estimated(cost=cost, execution_ms=_execution_ms(recorded[0], context) if recorded else 0)
    return reply(
        {
            "estimate_context": {**context, "organization": None, "project": call.project},
            "input_values": context,
            "estimated_at": iso(call.orchestrator.clock.now_ms()),
            **wire.rates_body(backend, prices, told.cost or FREE),
            "estimated_execution_time": told.execution_ms or 0,
            "current_predicted_queue_time": call.orchestrator.backends.state(backend).average_queue_ms,
        }
    )


def _execution_ms(recorded: Characterization, context: dict[str, Any]) -> int:
    """Shots one after the other, gates too, at the recorded times (seconds); compiling and reordering aside."""
    timing = recorded.timing
    shot_s: float = timing.get("reset", 0) + timing.get("readout", 0)
    shot_s += sum(context[f"{width}_gates"] * timing.get(width, 0) for width in ("1q", "2q"))
    shots: int = context["shots"]
    return round(1000 * shots * shot_s)


class _Overrides(msgspec.Struct, kw_only=True):
    """The body of clone and move: what differs from the old job."""

    name: str | None = None
    metadata: WireMetadata | None = None
    shots: Lax | None = None
    backend: str | None = None
    session_id: str | None = None
    settings: dict[str, Any] | None = None
    dry_run: bool | None = None
    noise: WireNoise | None = None


_decode_overrides = decoder(_Overrides)


async def clone(call: Call) -> web.Response:
    """A new job from an old one's input."""
    job = await call.orchestrator.get(call.part("id"), project=call.project)
    return await _resubmit(call, job, await call.read_optional(_decode_overrides, _Overrides()))


async def move(call: Call) -> web.Response:
    """Submit a job that has not begun anew, usually to another backend, and cancel the old one."""
    changes = await call.read_optional(_decode_overrides, _Overrides())
    job = await call.orchestrator.get(call.part("id"), project=call.project)
    if job.status not in {JobStatus.SUBMITTED, JobStatus.READY}:
        raise InvalidRequest(f"a job that is {job.status} cannot be moved", code="illegal_transition")
    response = await _resubmit(call, job, changes)
    await call.orchestrator.cancel([job.id], project=call.project)
    return response


async def _resubmit(call: Call, job: Job, changes: _Overrides) -> web.Response:
    check_name(changes.name)
    if changes.settings:
        check_settings(changes.settings)
    orchestrator, spec = call.orchestrator, job.spec
    sources = await child_ids(orchestrator, job) or [job.id]
    circuits = [await orchestrator.circuit(source, project=call.project) for source in sources]
    backend = orchestrator.backends.resolve(changes.backend or spec.backend)
    noise = spec.noise if changes.noise is None else read_noise(changes.noise)
    if changes.noise is None and noise is not None and not orchestrator.backends.capabilities(backend).noise_models:
        noise = Noise(seed=noise.seed)  # where there are no models, that of the old job is not asked for
    request = JobRequest(
        backend=backend,
        circuits=tuple(circuits),
        multi=spec.type == MULTI_CIRCUIT,
        shots=spec.shots if changes.shots is None else read_shots(changes.shots),
        name=spec.name if changes.name is None else changes.name,
        metadata=spec.metadata if changes.metadata is None else read_metadata(changes.metadata),
        noise=noise,
        settings=spec.settings if changes.settings is None else changes.settings,
        session_id=changes.session_id or None,  # the old job's may be over, or on another backend
        dry_run=spec.dry_run if changes.dry_run is None else changes.dry_run,
    )
    created = await orchestrator.submit(accepted(call, request), project=call.project)
    return reply_bytes(wire.created(created), 201)

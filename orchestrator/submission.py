"""From a request to the drafts of its jobs: limits, names, seeds, and the status each starts with."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from orchestrator.backends.abc import Attempt, Capabilities
from orchestrator.backends.check import check
from orchestrator.backends.registry import Backends
from orchestrator.circuits import ir
from orchestrator.circuits.validation import stats as circuit_stats
from orchestrator.clock import Clock, NewId
from orchestrator.errors import InvalidRequest
from orchestrator.lifecycle import TERMINAL, JobStatus, derive_parent
from orchestrator.model import (
    CIRCUIT,
    MAX_SEED,
    MAX_SHOTS,
    MULTI_CIRCUIT,
    Job,
    JobRequest,
    JobSpec,
    Outcome,
    Stats,
)
from orchestrator.storage.abc import Draft

replace = msgspec.structs.replace


@dataclass(frozen=True)
class Drafter:
    """Makes drafts of requests; see `draft`."""

    backends: Backends
    clock: Clock
    new_id: NewId
    rng: random.Random

    def draft(self, request: JobRequest, project_id: str) -> list[Draft]:
        """The drafts of one request: a job, or a parent followed by its children.

        Raises:
            BackendNotFound: Nothing serves that backend.
            InvalidRequest: Shots, seed, noise model or number of circuits are out of range.
        """
        backend = self.backends.resolve(request.backend)
        capabilities = self.backends.capabilities(backend)
        _check_request(request, capabilities)
        now = self.clock.now_ms()
        seed = request.noise.seed if request.noise is not None else None
        spec = JobSpec(
            backend=backend,
            type=MULTI_CIRCUIT if request.multi else CIRCUIT,
            name=request.name,
            metadata=request.metadata,
            shots=request.shots,
            noise=request.noise if capabilities.noise_models else None,
            settings=request.settings,
            session_id=request.session_id,
            dry_run=request.dry_run,
            submitter_id=request.submitter_id,
            seed=seed or self.rng.randint(1, MAX_SEED),
        )
        base = Job(id=self.new_id(), project_id=project_id, spec=spec, status=JobStatus.SUBMITTED, submitted_at=now)
        if not request.multi:
            return [self._leaf(base, request.circuits[0], capabilities)]
        return self._family(base, request.circuits, capabilities)

    def _family(self, base: Job, circuits: Sequence[ir.Circuit], capabilities: Capabilities) -> list[Draft]:
        children = []
        child_spec = replace(base.spec, type=CIRCUIT, metadata=None)
        for index, circuit in enumerate(circuits):
            child = replace(
                base,
                id=self.new_id(),
                parent_id=base.id,
                child_index=index,
                spec=replace(child_spec, name=circuit.name),
            )
            children.append(self._leaf(child, circuit, capabilities))
        children = _settled(children)
        counts: dict[JobStatus, int] = {}
        for draft in children:
            counts[draft.job.status] = counts.get(draft.job.status, 0) + 1
        total = Stats(
            qubits=max(draft.job.spec.stats.qubits for draft in children),
            circuits=len(children),
            gates_1q=sum(draft.job.spec.stats.gates_1q for draft in children),
            gates_2q=sum(draft.job.spec.stats.gates_2q for draft in children),
        )
        failures = (child.job.outcome for child in children if child.job.outcome.failure is not None)
        parent = replace(base, spec=replace(base.spec, stats=total), children=len(children))
        parent = _placed(parent, derive_parent(counts), outcome=next(failures, base.outcome))
        return [Draft(parent), *children]

    def _leaf(self, job: Job, circuit: ir.Circuit, capabilities: Capabilities) -> Draft:
        width, gates_1q, gates_2q = circuit_stats(circuit)
        stats = Stats(qubits=width, gates_1q=gates_1q, gates_2q=gates_2q)
        job = replace(job, spec=replace(job.spec, stats=stats, registers=circuit.registers))
        body = ir.dumps(circuit)
        if not capabilities.instant_prepare:
            return Draft(job, body)
        fault = check(job.spec, circuit.gateset, capabilities)
        if fault is not None:
            return Draft(_placed(job, JobStatus.FAILED, outcome=Outcome(failure=fault)), body)
        predicted = self.backends.adapter(capabilities.backend).predict_ms(Attempt(job, 0, body))
        outcome = job.outcome if predicted is None else Outcome(predicted_execution_ms=predicted)
        status = JobStatus.COMPLETED if job.spec.dry_run else JobStatus.READY
        return Draft(_placed(job, status, outcome=outcome), body)


def _placed(job: Job, status: JobStatus, *, outcome: Outcome) -> Job:
    """A new job in the status it starts with, with the times that follow."""
    at = job.submitted_at
    reached_ready = status in {JobStatus.READY, JobStatus.STARTED, JobStatus.COMPLETED}
    return replace(
        job,
        status=status,
        outcome=outcome,
        ready_at=at if reached_ready else None,
        started_at=at if status in {JobStatus.STARTED, JobStatus.COMPLETED} else None,
        completed_at=at if status in TERMINAL else None,
    )


def _settled(children: list[Draft]) -> list[Draft]:
    """If one child has failed already, the others are canceled: their parent fails at once."""
    if not any(draft.job.status is JobStatus.FAILED for draft in children):
        return children
    return [
        draft
        if draft.job.status in TERMINAL
        else Draft(_placed(draft.job, JobStatus.CANCELED, outcome=Outcome()), draft.input)
        for draft in children
    ]


def _check_request(request: JobRequest, capabilities: Capabilities) -> None:
    if not 1 <= request.shots <= MAX_SHOTS:
        raise InvalidRequest(f"shots must be from 1 to {MAX_SHOTS}", fields=("shots",))
    if not request.circuits:
        raise InvalidRequest("there must be at least one circuit", fields=("input.circuits",))
    if not request.multi and len(request.circuits) != 1:
        raise InvalidRequest("several circuits need a multi-circuit job", fields=("input.circuits",))
    if request.session_id is not None:
        raise InvalidRequest("sessions are not supported", fields=("session_id",))
    noise = request.noise
    if noise is None or not capabilities.noise_models:
        return
    if noise.model not in capabilities.noise_models:
        known = ", ".join(capabilities.noise_models)
        raise InvalidRequest(f"unknown noise model; available: {known}", fields=("noise.model",))
    if noise.seed is not None and not 1 <= noise.seed <= MAX_SEED:
        raise InvalidRequest(f"noise.seed must be from 1 to {MAX_SEED}", fields=("noise.seed",))

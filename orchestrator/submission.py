"""From a request to the drafts of its jobs: limits, names, seeds, and the status each starts with."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import anyio.to_thread
import msgspec
import structlog

from orchestrator.backends.abc import Capabilities
from orchestrator.backends.check import check, check_family
from orchestrator.backends.registry import Backends
from orchestrator.circuits import ir
from orchestrator.circuits.validation import stats as circuit_stats
from orchestrator.circuits.validation import validate
from orchestrator.clock import Clock, NewId
from orchestrator.errors import InvalidRequest
from orchestrator.foreign import contained
from orchestrator.lifecycle import TERMINAL, JobStatus, derive_parent
from orchestrator.model import (
    CIRCUIT,
    IDEAL,
    MAX_SEED,
    MAX_SHOTS,
    MULTI_CIRCUIT,
    Failure,
    Job,
    JobRequest,
    JobSpec,
    Noise,
    Outcome,
    Stats,
    total,
)
from orchestrator.storage.abc import Draft
from orchestrator.storage.ledger import predicted_ms

log = structlog.get_logger()
replace = msgspec.structs.replace
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(JobSpec).decode


class _StrictNoise(Noise, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A `Noise` of a mapping: a misspelt member is refused, not left out."""


#: Requests with more gates are measured and encoded off the event loop.
INLINE_GATES: Final = 2_000
#: Native gates that no backend needs to have.
_IDLE: Final = frozenset({"nop"})
_UNPRICED: Final = Outcome()


class Measured(msgspec.Struct, frozen=True):
    """What of a circuit goes into its job: sizes, names, and the body to be stored."""

    body: bytes
    stats: Stats
    gateset: str
    name: str | None
    registers: dict[str, list[int | None]] | None


def measure(circuits: Sequence[ir.Circuit], multi: bool) -> list[Measured]:
    """Check, measure and encode circuits: the part of a submit that grows with their gates.

    Raises:
        InvalidRequest: A circuit is not one; names the member.
    """
    validate(circuits, multi=multi)
    measured = []
    for circuit in circuits:
        width, gates_1q, gates_2q = circuit_stats(circuit)
        native = tuple(sorted({gate.name for gate in circuit.gates} - _IDLE)) if circuit.gateset == "native" else ()
        stats = Stats(qubits=width, declared=circuit.qubits, gates_1q=gates_1q, gates_2q=gates_2q, native=native)
        measured.append(Measured(ir.dumps(circuit), stats, circuit.gateset, circuit.name, circuit.registers))
    return measured


@dataclass(frozen=True)
class Drafter:
    """Makes drafts of requests; see `draft`."""

    backends: Backends
    clock: Clock
    new_id: NewId
    rng: random.Random

    async def draft(self, request: JobRequest, project_id: str) -> list[Draft]:
        """The drafts of one request: a job, or a parent followed by its children.

        Raises:
            BackendNotFound, BackendRetired: Nothing serves that backend; or no longer.
            InvalidRequest: Shots, seed, noise model or number of circuits are out of range.
        """
        backend = self.backends.resolve(request.backend)
        capabilities = self.backends.accepting(backend)
        if request.noise is not None:
            request = replace(request, noise=_noise_of(request))
        _check_request(request, capabilities)
        if sum([len(circuit.gates) + 1 for circuit in request.circuits]) > INLINE_GATES:
            measured = await anyio.to_thread.run_sync(measure, request.circuits, request.multi)
        else:
            measured = measure(request.circuits, request.multi)
        if not request.multi:
            return [self._leaf(self._spec(request, capabilities, measured[0]), project_id, measured[0], capabilities)]
        return self._family(request, project_id, measured, capabilities)

    def _spec(self, request: JobRequest, capabilities: Capabilities, measured: Measured) -> JobSpec:
        """The spec as it will be read back; structs do not check their members when they are made."""
        noise, seed = request.noise, _seed_given(request)
        if noise is not None and noise.model == IDEAL and not capabilities.noise_models:
            noise = None  # asks for nothing but its seed
        spec = JobSpec(
            backend=capabilities.backend,
            type=CIRCUIT,
            name=request.name,
            metadata=request.metadata,
            shots=request.shots,
            noise=noise,
            settings=request.settings,
            session_id=request.session_id,
            dry_run=request.dry_run,
            submitter_id=request.submitter_id,
            seed=self.rng.randint(1, MAX_SEED) if seed is None else seed,
            stats=measured.stats,
            gateset=measured.gateset,
            registers=measured.registers,
        )
        try:
            return _decode(_encode(spec))
        except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
            raise InvalidRequest(f"a member of the request is of the wrong type: {error}", code="wrong_type") from error

    def _family(
        self, request: JobRequest, project_id: str, measured: Sequence[Measured], capabilities: Capabilities
    ) -> list[Draft]:
        parent_id = self.new_id()
        base = self._spec(request, capabilities, measured[0])
        child = replace(base, metadata=None)
        children = []
        fault = check_family(len(measured), capabilities)
        for index, one in enumerate(measured):
            spec = replace(child, name=one.name, stats=one.stats, gateset=one.gateset, registers=one.registers)
            if request.seeds is not None:
                spec = replace(spec, seed=request.seeds[index])
            elif _seed_given(request) is None:
                spec = replace(spec, seed=self.rng.randint(1, MAX_SEED))  # equal circuits, independent samples
            children.append(
                self._leaf(spec, project_id, one, capabilities, fault, parent_id=parent_id, child_index=index)
            )
        children = _settled(children)
        statuses = Counter(draft.job.status for draft in children)
        failed = (draft.job.outcome for draft in children if draft.job.outcome.failure is not None)
        sizes = Stats(
            qubits=max(one.stats.qubits for one in measured),
            declared=max(one.stats.declared for one in measured),
            circuits=len(measured),
            gates_1q=sum(one.stats.gates_1q for one in measured),
            gates_2q=sum(one.stats.gates_2q for one in measured),
        )
        parent = Job(
            id=parent_id,
            project_id=project_id,
            spec=replace(base, type=MULTI_CIRCUIT, stats=sizes, gateset="qis", registers=None),
            status=JobStatus.SUBMITTED,
            submitted_at=children[0].job.submitted_at,
            children=len(children),
        )
        outcomes = [draft.job.outcome for draft in children]
        estimated = total(known.estimated_cost for known in outcomes)
        outcome = next(failed, Outcome(predicted_execution_ms=predicted_ms(outcomes), estimated_cost=estimated))
        return [Draft(_placed(parent, derive_parent(statuses), outcome)), *children]

    def _leaf(
        self,
        spec: JobSpec,
        project_id: str,
        measured: Measured,
        capabilities: Capabilities,
        fault: Failure | None = None,
        *,
        parent_id: str | None = None,
        child_index: int | None = None,
    ) -> Draft:
        prices = capabilities.prices
        outcome = _UNPRICED if prices is None else Outcome(estimated_cost=prices.of(spec.stats, spec.shots))
        if fault is None and capabilities.instant_prepare:
            fault = check(spec, capabilities)
        if fault is not None:
            status, outcome = JobStatus.FAILED, Outcome(failure=fault)
        elif not capabilities.instant_prepare:
            status = JobStatus.SUBMITTED
        else:
            status = JobStatus.COMPLETED if spec.dry_run else JobStatus.READY
            if (predicted := self._predicted(spec)) is not None:
                outcome = replace(outcome, predicted_execution_ms=predicted)
        now = self.clock.now_ms()
        job = Job(
            id=self.new_id(),
            project_id=project_id,
            spec=spec,
            status=status,
            submitted_at=now,
            parent_id=parent_id,
            child_index=child_index,
            outcome=outcome,
            **_times(status, now),
        )
        return Draft(job, measured.body)

    def _predicted(self, spec: JobSpec) -> int | None:
        """The adapter's prediction; one that fails is none."""
        try:
            with contained():
                predicted = self.backends.adapter(spec.backend).predict_ms(spec)
        except Exception:
            log.exception("adapter raised in predict_ms", backend=spec.backend)
            return None
        return predicted if isinstance(predicted, int) else None


@cache
def _reached(status: JobStatus) -> tuple[str, ...]:
    """The times that a new job of that status has, each that of its submission."""
    names = []
    if status in {JobStatus.READY, JobStatus.STARTED, JobStatus.COMPLETED}:
        names.append("ready_at")
    if status in {JobStatus.STARTED, JobStatus.COMPLETED}:
        names.append("started_at")
    if status in TERMINAL:
        names.append("completed_at")
    return tuple(names)


def _times(status: JobStatus, at: int) -> dict[str, Any]:
    return dict.fromkeys(_reached(status), at)


def _noise_of(request: JobRequest) -> Noise | None:
    """The noise asked for, also where it was written as a mapping, as in a body of the HTTP API.

    Raises:
        InvalidRequest: It is neither that nor a `Noise`; names ``noise``.
    """
    given: object = request.noise  # structs do not check their members when they are made
    if given is None or isinstance(given, Noise):
        return given
    try:
        return msgspec.convert(given, _StrictNoise)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"noise: {error}", code="wrong_type", fields=("noise",)) from error


def _placed(job: Job, status: JobStatus, outcome: Outcome) -> Job:
    """A new job in another status, with the times that follow."""
    none: dict[str, Any] = {"ready_at": None, "started_at": None, "completed_at": None}
    return replace(job, status=status, outcome=outcome, **(none | _times(status, job.submitted_at)))


def _settled(children: list[Draft]) -> list[Draft]:
    """If one child has failed already, the others are canceled: their parent fails at once."""
    if not any(draft.job.status is JobStatus.FAILED for draft in children):
        return children
    return [
        draft if draft.job.status in TERMINAL else Draft(_placed(draft.job, JobStatus.CANCELED, Outcome()), draft.input)
        for draft in children
    ]


def _seed_given(request: JobRequest) -> int | None:
    """The seed that was asked for; every backend heeds it, also one that has no noise to choose."""
    return None if request.noise is None else request.noise.seed


def _check_request(request: JobRequest, capabilities: Capabilities) -> None:
    if type(request.shots) is not int or not 1 <= request.shots <= MAX_SHOTS:
        raise InvalidRequest(f"shots must be from 1 to {MAX_SHOTS}", fields=("shots",))
    if not request.circuits:
        raise InvalidRequest("there must be at least one circuit", fields=("input.circuits",))
    if not request.multi and len(request.circuits) != 1:
        raise InvalidRequest("several circuits need a multi-circuit job", fields=("input.circuits",))
    if request.seeds is not None:
        if not request.multi or len(request.seeds) != len(request.circuits):
            raise InvalidRequest("give one seed for each circuit of a multi-circuit job", fields=("noise.seeds",))
        for seed in request.seeds:
            _check_seed(seed, "noise.seeds")
    noise = request.noise
    if noise is None:
        return
    if capabilities.noise_models and noise.model not in capabilities.noise_models:
        known = ", ".join(capabilities.noise_models)
        raise InvalidRequest(f"unknown noise model; available: {known}", fields=("noise.model",))
    if noise.seed is not None:
        _check_seed(noise.seed, "noise.seed")


def _check_seed(seed: object, field: str) -> None:
    if type(seed) is not int or not 1 <= seed <= MAX_SEED:
        raise InvalidRequest(f"{field} must be from 1 to {MAX_SEED}", fields=(field,))

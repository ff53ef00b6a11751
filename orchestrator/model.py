"""The domain's records: immutable, version-free, the same for every store and every API.

All times are Unix milliseconds (UTC). All records are frozen `msgspec` structs; a changed job is
a new record made by `msgspec.structs.replace`. Records that come by the thousand are kept out of Python's cycle
collector (``gc=False``): frozen, they cannot refer to themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import Any, Final

import msgspec

from orchestrator.circuits.ir import Circuit
from orchestrator.lifecycle import TERMINAL, JobStatus

CIRCUIT: Final = "ionq.circuit.v1"
MULTI_CIRCUIT: Final = "ionq.multi-circuit.v1"

#: Limits of the vendor contract (reference, sections 2, 4 and 6).
MAX_SHOTS: Final = 1_000_000
MAX_SEED: Final = 2**31 - 1
#: The noise model that is none.
IDEAL: Final = "ideal"
_MONEY: Final = Decimal("0.000001")


class Noise(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A noise model by name, and the seed of what it draws.

    Attributes:
        model: One of the backend's; `ideal` is none.
        seed: From 1 to 2**31 - 1, makes the counts reproducible; drawn unless given.
    """

    model: str = IDEAL
    seed: int | None = None


class Failure(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Why a job failed.

    Attributes:
        code: One of the vendor contract, such as ``NotEnoughQubits``.
        message: A sentence for the person who submitted it.
    """

    code: str
    message: str


class Cost(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a run cost.

    Attributes:
        value: The amount.
        unit: A currency code, or ``credit``.
    """

    value: float
    unit: str = "usd"


#: Where nothing is priced; the contract wants a figure of every job that is done.
FREE: Final = Cost(value=0.0)


def money(amount: Decimal) -> float:
    """An amount to a millionth of its unit: finer than any rate card, coarse enough to show no noise of floats."""
    return float(amount.quantize(_MONEY, ROUND_HALF_UP))


def total(costs: Iterable[Cost | None]) -> Cost | None:
    """What is known of the costs, in all; None where that is nothing, or not in one unit."""
    known = [cost for cost in costs if cost is not None]
    units = {cost.unit for cost in known}
    if len(units) != 1:
        return None
    return Cost(value=money(sum((Decimal(str(cost.value)) for cost in known), Decimal(0))), unit=units.pop())


class Stats(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Sizes known at submission.

    Attributes:
        qubits: Wires that gates touch: what has to fit.
        declared: Wires that the circuit declares: what its outcomes have as bits, and clients count by.
        circuits: One, or the children of a parent.
        gates_1q: One-qubit gates.
        gates_2q: Two-qubit gates, and wider ones.
        native: Names of the gates of a native circuit, sorted, ``nop`` left out; empty for other circuits.
    """

    qubits: int = 0
    declared: int = 0
    circuits: int = 1
    gates_1q: int = 0
    gates_2q: int = 0
    native: tuple[str, ...] = ()


class JobSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What was asked for; never changes after the submit.

    Attributes:
        backend: Name of the backend.
        type: The vendor contract's name for the kind of input.
        name: What the submitter called it.
        metadata: The submitter's own pairs of text.
        shots: How often the circuit is measured.
        noise: The noise model asked for, where the backend has some.
        settings: The vendor's ``settings`` object, as given: compilation, error mitigation.
        session_id: The session it was submitted in.
        dry_run: Check and compile only; it never gets to `run`.
        submitter_id: Whose key it was.
        seed: As the submitter's `noise.seed` gave it, on every backend, else drawn at the submit; every random choice
            of a run derives from it.
        stats: Sizes of the circuit as submitted.
        gateset: ``qis`` or ``native``.
        registers: Named classical registers of a circuit: name -> qubit per bit, null for an unused bit.
    """

    backend: str
    type: str = CIRCUIT
    name: str | None = None
    metadata: dict[str, str] | None = None
    shots: int = 100
    noise: Noise | None = None
    settings: dict[str, Any] = msgspec.field(default_factory=dict)
    session_id: str | None = None
    dry_run: bool = False
    submitter_id: str = ""
    seed: int = 0
    stats: Stats = Stats()
    gateset: str = "qis"
    registers: dict[str, list[int | None]] | None = None


class JobRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One submission, whatever door it came through.

    Attributes:
        circuits: The circuits in order; exactly one unless `multi`.
        multi: Make a parent with one child per circuit (also for a single circuit).
        settings: The vendor's ``settings`` object, kept as given.
        seeds: Seeds of the circuits of a `multi` one, in the place of drawn ones; an orchestrator in front of this one
            drew them.
    """

    backend: str
    circuits: tuple[Circuit, ...]
    multi: bool = False
    shots: int = 100
    name: str | None = None
    metadata: dict[str, str] | None = None
    noise: Noise | None = None
    settings: dict[str, Any] = msgspec.field(default_factory=dict)
    session_id: str | None = None
    dry_run: bool = False
    submitter_id: str = ""
    seeds: tuple[int, ...] | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What became known on the way; replaced as a whole by a transition.

    Attributes:
        predicted_execution_ms: Predicted duration of one execution, milliseconds.
        execution_ms: Duration on the backend, milliseconds (for a simulated QPU: simulated time), measured where the
            backend does not tell.
        sampled: Its result has counts or shots, not probabilities alone; false of a parent.
        native_gates_1q: Gates of the compiled circuit, by width.
        characterization_id: The calibration the job ran under.
        estimated_cost: What the run would cost by the prices at its submission; None where the backend has none.
        cost: What the run cost: as the backend told, else by its prices; of a parent, what its children cost.
        warnings: Sentences for the submitter.
    """

    failure: Failure | None = None
    predicted_execution_ms: int | None = None
    execution_ms: int | None = None
    sampled: bool = False
    native_gates_1q: int | None = None
    native_gates_2q: int | None = None
    characterization_id: str | None = None
    estimated_cost: Cost | None = None
    cost: Cost | None = None
    warnings: tuple[str, ...] = ()


class Job(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A job as the store knows it. A parent has `children > 0`; a child has `parent_id`.

    Attributes:
        attempt: Number of the latest execution, from 1; 0 before the first. It fences late results.
        failed_attempts: Executions that failed in a retryable way or lost their worker.
    """

    id: str
    project_id: str
    spec: JobSpec
    status: JobStatus
    submitted_at: int
    parent_id: str | None = None
    child_index: int | None = None
    children: int = 0
    attempt: int = 0
    failed_attempts: int = 0
    ready_at: int | None = None
    started_at: int | None = None
    completed_at: int | None = None
    deleted_at: int | None = None
    outcome: Outcome = Outcome()

    @property
    def backend(self) -> str:
        return self.spec.backend

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL

    @property
    def spent(self) -> Cost | None:
        """What a job that is done cost, be it nothing; None of one that is not done, or never runs."""
        if not self.terminal or self.spec.dry_run:
            return None
        estimated = self.outcome.estimated_cost
        return self.outcome.cost or (FREE if estimated is None else Cost(value=0.0, unit=estimated.unit))


class SessionStatus(StrEnum):
    """Where a session stands: no job of it has started, one has, it takes no more."""

    CREATED = "created"
    STARTED = "started"
    ENDED = "ended"


class SessionLimits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What ends a session by itself; None means no limit.

    Attributes:
        job_count_limit: Jobs it takes; it ends when the last of them has ended.
        duration_limit_min: Minutes from its creation.
        cost_limit: What its jobs may cost in all. A job that is running when that is reached still ends.
    """

    job_count_limit: int | None = None
    duration_limit_min: int | None = None
    cost_limit: Cost | None = None


class Session(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A run of jobs of one project on one backend, with limits on them together.

    Attributes:
        creator_id, ender_id: Keys; None where no key asked, or where a limit ended it.
        expires_at: When its time is over, by the wall clock.
        jobs: Jobs submitted into it, children not counted, whatever became of them.
        active_jobs: Those of them that have not ended.
        used_ms: Execution times of its jobs in all.
        spent: What its jobs cost in all, as far as backends told, in the unit of the limit (US dollars without one).
        closing: It has ended, and has queued jobs that are still to be canceled.
    """

    id: str
    project_id: str
    backend: str
    created_at: int
    creator_id: str | None = None
    limits: SessionLimits = SessionLimits()
    expires_at: int | None = None
    started_at: int | None = None
    ended_at: int | None = None
    ender_id: str | None = None
    jobs: int = 0
    active_jobs: int = 0
    used_ms: int = 0
    spent: float = 0.0
    closing: bool = False

    @property
    def active(self) -> bool:
        """Whether it may take jobs, its limits aside."""
        return self.ended_at is None

    @property
    def status(self) -> SessionStatus:
        if self.ended_at is not None:
            return SessionStatus.ENDED
        return SessionStatus.CREATED if self.started_at is None else SessionStatus.STARTED


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a backend measured. Keys are integers whose bit k is the outcome of qubit k.

    Attributes:
        qubits: Width of the register the keys index.
        probabilities: Outcome -> probability, zeros left out; sums to 1. Exact for an ideal simulation, else
            counts / shots.
        counts: Outcome -> number of shots; None where nothing was sampled.
        shots: Outcome of each shot in order; None where only totals exist.
        execution_ms: Duration on the backend, milliseconds; measured from start to end of the attempt where it is None.
        characterization_id: The calibration it ran under.
        cost: What the run cost, where the backend knows.
        predicted_execution_ms: What it was predicted to take, where that became known after the submission only.
        warnings: Sentences for the submitter.
    """

    qubits: int
    probabilities: dict[int, float]
    counts: dict[int, int] | None = None
    shots: list[int] | None = None
    execution_ms: int | None = None
    characterization_id: str | None = None
    cost: Cost | None = None
    predicted_execution_ms: int | None = None
    warnings: tuple[str, ...] = ()

    @property
    def sampled(self) -> bool:
        """Whether shots were measured: told in order, or counted."""
        return self.counts is not None or self.shots is not None


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs, newest first, and the cursor of the next page; None on the last."""

    jobs: list[Job]
    next: str | None = None


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """Owns keys and jobs; what belongs to one is invisible to all others."""

    id: str
    name: str
    created_at: int


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """An API key as stored: never its secret, only the SHA-256 of the whole key, in hex."""

    id: str
    project_id: str
    name: str
    digest: str
    created_at: int
    revoked_at: int | None = None


class Characterization(msgspec.Struct, frozen=True, kw_only=True):
    """One recorded calibration of a backend (reference, section 13).

    Attributes:
        id: Made with the context's `new_id`.
        backend: Name of the backend.
        recorded_at: When it was found, Unix milliseconds.
        qubits: Width of the device.
        connectivity: Pairs of qubits that two-qubit gates act on.
        fidelity: ``spam``, ``1q``, ``2q`` -> ``median``, ``stderr`` -> 0 to 1.
        timing: ``1q``, ``2q``, ``readout``, ``reset``, ``t1``, ``t2`` -> seconds.
    """

    id: str
    backend: str
    recorded_at: int
    qubits: int
    connectivity: list[tuple[int, int]]
    fidelity: dict[str, dict[str, float | None]]
    timing: dict[str, float]


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a backend takes jobs, as the log last told it.

    Attributes:
        status: ``available``; ``unavailable``: its jobs wait; ``retired``: no adapter serves it, so none are accepted.
        reason: Why it is not available, for people.
        paused: The operator's words for a pause, which outlives the server; None where it is not paused.
    """

    backend: str
    status: str = "available"
    reason: str = ""
    paused: str | None = None


class BackendState(msgspec.Struct, frozen=True, kw_only=True):
    """A backend as people see it: capabilities live in `orchestrator.backends.abc`, this is what moves.

    Attributes:
        backend: Its name.
        status: As of `Standing`.
        reason: Why not, for people.
        queued: Waiting jobs; the dispatcher fills it in.
        running: Jobs its adapter has in hand; filled in likewise.
        average_queue_ms: How long jobs waited of late, milliseconds; filled in where the adapter does not know better.
        updated_at: When this was so, Unix milliseconds; now where it is left out.
        characterization_id: The newest calibration.
    """

    backend: str
    status: str = "available"
    reason: str | None = None
    queued: int = 0
    running: int = 0
    average_queue_ms: int = 0
    updated_at: int = 0
    characterization_id: str | None = None

"""What a remote says of a job that ended, as outcomes of the attempts here. Nothing here asks anybody.

A remote's word is data like any other. What is no result of the job is the remote's fault, of that one job.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from orchestrator.backends.abc import Attempt
from orchestrator.errors import BackendFault, CanceledByBackend, ExecutionError
from orchestrator.model import Cost, Result
from orchestrator_remote_cloud.catalog import local_id
from orchestrator_remote_cloud.flights import COMPLETED, FAILED, Flight
from orchestrator_remote_cloud.shapes import Bulk, BulkHead, RemoteFailure, RemoteJob

Outcome = tuple[Attempt, Result | ExecutionError]

#: How far a probability times the shots may be from a whole number to be a count.
_WHOLE: Final = 1e-4
#: How far probabilities may sum beside 1: what is stored here may not be further off either.
_ROUNDED: Final = 1e-6
#: Widest register.
_MOST_QUBITS: Final = 1024
#: A duration beyond this is none.
_MOST_MS: Final = 2**53


@dataclass
class Measured:
    """What was measured of one circuit."""

    probabilities: dict[int, float] | None
    counts: dict[int, int] | None = None
    shots: list[int] | None = None


@dataclass(frozen=True)
class Told:
    """What else a cloud tells of a job."""

    job: RemoteJob
    cost: Cost | None
    characterization_id: str | None

    def shared(self, circuits: int) -> Told:
        """The same for each circuit, which bears its part of the cost."""
        share = None if self.cost is None else Cost(value=self.cost.value / circuits, unit=self.cost.unit)
        return replace(self, cost=share)


def of_cloud(attempt: Attempt, measured: Measured, told: Told, *, sampled: bool) -> Outcome:
    """The outcome of one circuit. Counts and shots that are not those of the job are left out, and a warning says so.

    Args:
        attempt: Whose circuit it is.
        measured: What a cloud has of it.
        told: What it says of the job.
        sampled: The probabilities are shares of the shots.
    """
    spec, probabilities = attempt.job.spec, measured.probabilities
    if probabilities is None:
        return attempt, BackendFault("the remote gives fewer results than there are circuits")
    if (fault := _fault_of(probabilities)) is not None:
        return attempt, BackendFault(f"the remote's result is no distribution: {fault}")
    warnings = [] if told.job.warning is None else list(told.job.warning.messages)
    counts, shots = measured.counts, measured.shots
    width = max(1, spec.stats.declared, max(probabilities).bit_length())
    if counts is not None and not (_fit(counts, width) and sum(counts.values()) == spec.shots):
        warnings.append(f"the remote's counts are not those of {spec.shots} shots and were left out")
        counts = None
    if shots is not None and not (_fit(dict.fromkeys(shots, 0), width) and len(shots) == spec.shots):
        warnings.append(f"the remote's list of shots is not one of {spec.shots} and was left out")
        shots = None
    if counts is None and sampled:
        counts = _counted(probabilities, spec.shots)
    return attempt, Result(
        qubits=width,
        probabilities=probabilities,
        counts=counts,
        shots=shots,
        execution_ms=_whole_ms(told.job.execution_duration_ms),
        predicted_execution_ms=_whole_ms(told.job.predicted_execution_duration_ms),
        characterization_id=told.characterization_id,
        cost=told.cost,
        warnings=tuple(warnings),
    )


def _whole_ms(told: float | None) -> int | None:
    """A duration, if it is one."""
    return round(told) if told is not None and 0 <= told < _MOST_MS else None


def of_orchestrator(local: str, flight: Flight, body: dict[str, Any] | Bulk) -> list[Outcome]:
    """What an orchestrator tells of a job and its children, in an answer or by itself, of the backend `local` here."""
    try:
        bulk = body if isinstance(body, Bulk) else msgspec.convert(body, Bulk, strict=False, str_keys=True)
    except msgspec.ValidationError as error:
        fault = BackendFault(f"the remote's result cannot be read: {error}")
        return [(attempt, fault) for attempt in flight.members]
    parts = bulk.children or [bulk]
    by_job = dict(zip(flight.intent.jobs, parts, strict=False))
    outcomes: list[Outcome] = []
    for attempt in flight.members:
        part = by_job.get(attempt.id)
        if part is None:
            outcomes.append((attempt, BackendFault("the remote gives fewer results than there are circuits")))
        elif part.status == COMPLETED:
            outcomes.append((attempt, _completed(local, part)))
        elif part.status == FAILED:
            outcomes.append((attempt, failed(part.failure or RemoteFailure())))
        elif bulk.status != FAILED:  # the others of a failed family are canceled here by its failure
            outcomes.append((attempt, CanceledByBackend("the remote canceled the job")))
    return outcomes


def head_of(body: dict[str, Any]) -> BulkHead | None:
    """Which job it is about; None if that cannot be read."""
    try:
        return msgspec.convert(body, BulkHead)
    except msgspec.ValidationError:
        return None


def _completed(local: str, part: Bulk) -> Result | ExecutionError:
    """A result with what the remote says of its job: warnings, and the cost, which may follow from its prices."""
    result = part.result
    if result is None:
        return BackendFault("the remote has no result of the job")
    if (fault := _fault_of(result.probabilities)) is not None:
        return BackendFault(f"the remote's result is no distribution: {fault}")
    return msgspec.structs.replace(
        result,
        characterization_id=result.characterization_id and local_id(local, result.characterization_id),
        cost=part.cost or result.cost,
        warnings=part.warnings,
        predicted_execution_ms=part.predicted_execution_ms,
    )


def gone(flight: Flight) -> list[Outcome]:
    """The remote knows the job no more, or does not tell what became of it."""
    failure = flight.news.failure if flight.news is not None else None
    reason = "the remote has no such job any more: it was deleted there" if failure is None else failure.text
    return [(attempt, BackendFault(reason)) for attempt in flight.members]


def canceled(flight: Flight) -> list[Outcome]:
    """The remote, or somebody there, canceled it."""
    return [(attempt, CanceledByBackend("the remote canceled the job")) for attempt in flight.members]


def failed(failure: RemoteFailure) -> ExecutionError:
    """The remote's failure, in its own code; it would fail again."""
    return ExecutionError(failure.code, failure.text)


def _fault_of(probabilities: dict[int, float]) -> str | None:
    """Why these are no distribution; None if they are."""
    total = 0.0
    for outcome, probability in probabilities.items():
        if outcome < 0 or outcome.bit_length() > _MOST_QUBITS:
            return f"{str(outcome)[:20]} is no outcome"
        if not 0.0 <= probability <= 1.0 + _ROUNDED:
            return f"{probability} of outcome {outcome} is no probability"
        total += probability
    if not probabilities or abs(total - 1.0) > _ROUNDED + len(probabilities) * 1e-12:
        return f"its probabilities sum to {total}"
    return None


def _fit(outcomes: dict[int, int], width: int) -> bool:
    """Whether these are outcomes of a register of that width, none of them counted less than not at all."""
    return all(0 <= outcome < 1 << width and count >= 0 for outcome, count in outcomes.items())


def _counted(probabilities: dict[int, float], shots: int) -> dict[int, int] | None:
    """The counts behind probabilities, if they are shares of the shots; averages over variants are not."""
    counts = {outcome: round(value * shots) for outcome, value in probabilities.items()}
    exact = all(abs(value * shots - counts[outcome]) <= _WHOLE for outcome, value in probabilities.items())
    return counts if exact and sum(counts.values()) == shots else None

"""What becomes of an attempt that has ended: the job's end, or another attempt."""

from __future__ import annotations

from typing import Final

import anyio.to_thread
import msgspec
import structlog

from orchestrator.backends.abc import Capabilities
from orchestrator.clock import Clock
from orchestrator.dispatch import results
from orchestrator.errors import CanceledByBackend, ExecutionError
from orchestrator.events import EventKind
from orchestrator.lifecycle import Cause
from orchestrator.model import Cost, Job, Result
from orchestrator.storage.abc import Move
from orchestrator.storage.ledger import failure_data, moved

log = structlog.get_logger()
replace = msgspec.structs.replace

#: A result with more outcomes and shots is checked and encoded off the event loop.
LARGE_RESULT: Final = 10_000
_CONTAINERS: Final = (dict, list)


class Concluding:
    """The conclusions of one backend.

    Args:
        max_failed_attempts: Retryable failures after which a job is failed.
    """

    def __init__(self, capabilities: Capabilities, clock: Clock, max_failed_attempts: int) -> None:
        self._capabilities = capabilities
        self._clock = clock
        self._most = max_failed_attempts
        simulated = capabilities.kind == "simulator"
        self._usual_code = "SimulationError" if simulated else "QuantumComputerError"
        self._timeout_code = "SimulationTimeout" if simulated else "QuantumComputerError"

    async def of(self, job: Job, outcome: Result | ExecutionError) -> Move:
        """The move that follows from an outcome; one that is no result of that job is the backend's failure."""
        if isinstance(outcome, ExecutionError):
            return self.failed(job, outcome)
        if isinstance(outcome, Result) and outcome.execution_ms is None:
            outcome = replace(outcome, execution_ms=self._took_ms(job))
        try:
            if isinstance(outcome, Result) and _size(outcome) > LARGE_RESULT:
                result, body = await anyio.to_thread.run_sync(results.checked, job, outcome)
            else:
                result, body = results.checked(job, outcome)
        except results.InvalidResult as fault:
            log.error(  # noqa: TRY400 - the backend's fault, our trace says nothing
                "adapter answered an invalid result", backend=job.backend, job=job.id, fault=str(fault)
            )
            return self.failed(job, ExecutionError("InternalError", f"invalid result: {fault}"))
        return self._completed(job, result, body)

    def _completed(self, job: Job, result: Result, body: bytes) -> Move:
        now = self._clock.now_ms()
        predicted = job.outcome.predicted_execution_ms
        outcome = replace(
            job.outcome,
            predicted_execution_ms=result.predicted_execution_ms if predicted is None else predicted,
            execution_ms=result.execution_ms,
            sampled=result.sampled,
            characterization_id=result.characterization_id,
            cost=result.cost or self._price(job),
            warnings=job.outcome.warnings + result.warnings,
        )
        after = moved(job, Cause.COMPLETED, now, outcome=outcome)
        data = {"execution_ms": result.execution_ms}
        return Move(job, after, EventKind.JOB_COMPLETED, now, result=body, data=data)

    def _took_ms(self, job: Job) -> int:
        """Since the attempt's start, by the wall clock, which may have been set back meanwhile."""
        now = self._clock.now_ms()
        return max(0, now - (now if job.started_at is None else job.started_at))

    def _price(self, job: Job) -> Cost | None:
        prices = self._capabilities.prices
        return None if prices is None else prices.of(job.spec.stats, job.spec.shots)

    def timed_out(self) -> ExecutionError:
        """The outcome of an attempt that reached its run limit."""
        return ExecutionError(self._timeout_code, "the run limit was reached")

    def failed(self, job: Job, error: ExecutionError) -> Move:
        """Another attempt where that may help and the limit is not reached, else the end."""
        return failed(job, error, self._clock.now_ms(), most=self._most, usual_code=self._usual_code)


def failed(job: Job, error: ExecutionError, now: int, *, most: int, usual_code: str = "InternalError") -> Move:
    """What follows from an attempt's failure; see `Concluding`."""
    if isinstance(error, CanceledByBackend):
        data = {"reason": error.message}
        return Move(job, moved(job, Cause.CANCELED, now), EventKind.JOB_CANCELED, now, data=data)
    counted = job.failed_attempts + bool(error.retryable)
    failure = results.failure(error.failure_code or usual_code, error.message)
    if error.retryable and counted < most:
        after = moved(job, Cause.REQUEUED, now, failed_attempts=counted)
        return Move(job, after, EventKind.JOB_REQUEUED, now, data={"reason": failure.message})
    outcome = replace(job.outcome, failure=failure)
    after = moved(job, Cause.FAILED, now, failed_attempts=counted, outcome=outcome)
    return Move(job, after, EventKind.JOB_FAILED, now, data=failure_data(failure))


def _size(result: Result) -> int:
    """How much there is to check; members of the wrong type count nothing and are refused later."""
    members = (result.probabilities, result.counts, result.shots)
    return sum([len(member) for member in members if isinstance(member, _CONTAINERS)])

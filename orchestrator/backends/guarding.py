"""What an adapter's code raises, caught where it is called: it fails a job, never the service."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import structlog

from orchestrator.errors import BackendFault, ExecutionError
from orchestrator.foreign import contained, name_of
from orchestrator.model import Result

if TYPE_CHECKING:
    from orchestrator.backends.abc import Attempt

log = structlog.get_logger()

Outcome = Result | ExecutionError


def _told(error: Exception) -> ExecutionError | None:
    """What the adapter said, also where a task group of its own has wrapped that."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, MemoryError):
        return BackendFault("needs more memory than is available")
    return error if isinstance(error, ExecutionError) else None


def execution_error(error: Exception, attempts: Sequence[Attempt]) -> ExecutionError:
    """What an exception of an adapter's code makes of attempts: what it says, or ``InternalError``; logged then."""
    if (told := _told(error)) is not None:
        return told
    whose = {"job": attempts[0].id} if len(attempts) == 1 else {"jobs": len(attempts)}
    log.error("adapter raised", backend=attempts[0].job.backend, **whose, exc_info=error)
    failed = ExecutionError("InternalError", f"the backend raised {name_of(error)}")
    failed.__cause__ = error  # its words are for the log and for whoever tries the adapter, not for who submitted
    return failed


async def guarded(run: Awaitable[Result], attempt: Attempt) -> Outcome:
    """The answer of one attempt's execution, every exception of the author's code turned into an `ExecutionError`."""
    try:
        with contained():
            return await run
    except Exception as error:
        return execution_error(error, [attempt])


async def guarded_batch(
    run_batch: Callable[[Sequence[Attempt]], Awaitable[Sequence[Outcome]]], attempts: Sequence[Attempt]
) -> list[Outcome]:
    """One answer per attempt, whatever the author's code does.

    A batch that raises, or answers too few or too many, is run again one by one: a bad job fails alone.
    """
    try:
        with contained():
            outcomes = list(await run_batch(attempts))
        if len(outcomes) == len(attempts):
            return outcomes
        log.error(
            "adapter answers too few or too many",
            backend=attempts[0].job.backend,
            answers=len(outcomes),
            jobs=len(attempts),
        )
        error = ExecutionError("InternalError", f"the backend gave {len(outcomes)} answers for {len(attempts)} jobs")
    except Exception as raised:
        error = execution_error(raised, attempts)
    if len(attempts) == 1:
        return [error]
    return [(await guarded_batch(run_batch, [attempt]))[0] for attempt in attempts]

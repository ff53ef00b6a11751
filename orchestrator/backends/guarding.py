"""What an adapter's code raises, caught where it is called: it fails a job, never the service."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final

import structlog

from orchestrator.errors import BackendFault, ExecutionError
from orchestrator.model import Result

if TYPE_CHECKING:
    from orchestrator.backends.abc import Attempt

log = structlog.get_logger()

Outcome = Result | ExecutionError


class Escaped(Exception):
    """An adapter's code raised what no ``except Exception`` catches, such as `SystemExit`."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.name = type(error).__name__


class _Contained:
    """See `contained`; without state, so that one serves all (it stands on the way of every submit)."""

    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, Exception | GeneratorExit | KeyboardInterrupt):
            return
        if isinstance(error, asyncio.CancelledError):
            task = asyncio.current_task()
            if task is None or task.cancelling():
                return
        raise Escaped(error) from error


_CONTAINED: Final = _Contained()


def contained() -> AbstractContextManager[None]:
    """Code of an adapter inside: whatever it raises leaves as an `Exception`.

    What is not the adapter's passes: Ctrl-C, and a cancel that somebody asked of this task. A `CancelledError`
    that nobody asked for, of a task of the adapter's own, is an error like any other.
    """
    return _CONTAINED


def name_of(error: Exception) -> str:
    """The name of what was raised, for people."""
    return error.name if isinstance(error, Escaped) else type(error).__name__


def reason_of(error: Exception) -> str:
    """What was raised and what it says, for people; taken out of groups that hold nothing else."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return str(error) if isinstance(error, Escaped) else f"{type(error).__name__}: {error}"


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
        error = ExecutionError("InternalError", f"the backend gave {len(outcomes)} answers for {len(attempts)} jobs")
    except Exception as raised:
        error = execution_error(raised, attempts)
    if len(attempts) == 1:
        return [error]
    return [(await guarded_batch(run_batch, [attempt]))[0] for attempt in attempts]

"""The work of ``submitted``: check and compile, before a job may wait for its run.

Runs under the same rules as an execution: what is being prepared is known by id, a failure is tried again with
backoff up to the limit, a stop of the server costs nothing, since preparing is repeatable.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import anyio
import msgspec
import structlog

from orchestrator.backends.abc import Attempt, Prepared
from orchestrator.backends.check import check
from orchestrator.clock import Clock
from orchestrator.dispatch.line import Line
from orchestrator.dispatch.queue import Entry
from orchestrator.dispatch.results import InvalidResult, prepared
from orchestrator.events import KIND_OF
from orchestrator.lifecycle import Cause
from orchestrator.model import Failure, Job
from orchestrator.settings import DispatchSettings
from orchestrator.storage.abc import Move
from orchestrator.storage.ledger import failure_data, moved

log = structlog.get_logger()
replace = msgspec.structs.replace

BATCH: Final = 16


class Preparer:
    """Prepares the submitted jobs of one line."""

    def __init__(
        self,
        line: Line,
        settings: DispatchSettings,
        clock: Clock,
        *,
        apply: Callable[[Sequence[Move]], Awaitable[list[bool]]],
        backoff: Callable[[int], float],
    ) -> None:
        self._line = line
        self._settings = settings
        self._clock = clock
        self._apply = apply
        self._backoff = backoff
        self._tries: dict[str, int] = {}

    async def run(self) -> None:
        """Prepare until canceled."""
        line = self._line
        while True:
            await line.opened()
            entries = await line.submitted.take(BATCH)
            if not line.open:
                for entry in entries:
                    line.submitted.put_back(entry, 0.0)
                continue
            held = {entry.job.id for entry in entries}
            line.preparing.update(held)
            try:
                await self._prepare([Attempt(entry.job, 0, entry.input) for entry in entries])
            except Exception:
                for entry in entries:  # what was recorded before is refused when it comes again
                    line.submitted.put_back(entry, self._backoff(1))
                raise
            finally:
                line.preparing.difference_update(held)

    async def _prepare(self, attempts: Sequence[Attempt]) -> None:
        answers: dict[str, Prepared | Failure] = {}
        for attempt in attempts:
            fault = check(attempt.job.spec, self._line.capabilities)
            if fault is not None:
                answers[attempt.id] = fault
        fit = [attempt for attempt in attempts if attempt.id not in answers]
        if fit:
            answers |= await self._ask(fit)
        await self._record([(attempt, answers[attempt.id]) for attempt in attempts if attempt.id in answers])

    async def _ask(self, attempts: Sequence[Attempt]) -> dict[str, Prepared | Failure]:
        """The adapter's answers. A batch that fails as a whole is asked one by one: a bad job fails alone."""
        try:
            answers = [prepared(answer) for answer in await self._line.adapter.prepare(attempts)]
            if len(answers) != len(attempts):
                raise InvalidResult(f"{len(answers)} answers for {len(attempts)} attempts")  # noqa: TRY301
        except Exception as error:
            log.exception("adapter raised in prepare", backend=self._line.backend, jobs=len(attempts))
            if len(attempts) == 1:
                return self._retry(attempts[0], error)
            return {job: answer for attempt in attempts for job, answer in (await self._ask([attempt])).items()}
        return {attempt.id: answer for attempt, answer in zip(attempts, answers, strict=True)}

    def _retry(self, attempt: Attempt, error: Exception) -> dict[str, Prepared | Failure]:
        """Put the job back, or fail it if it has been tried often enough."""
        tries = self._tries.pop(attempt.id, 0) + 1
        if tries >= self._settings.max_failed_attempts:
            message = f"the backend raised {type(error).__name__} while preparing"
            return {attempt.id: Failure(code="CompilationError", message=message)}
        self._tries[attempt.id] = tries
        self._line.submitted.put_back(Entry(attempt.job, attempt.input), self._backoff(tries))
        return {}

    async def _record(self, answers: Sequence[tuple[Attempt, Prepared | Failure]]) -> None:
        moves: list[Move] = []
        now = self._clock.now_ms()
        for attempt, answer in answers:
            self._tries.pop(attempt.id, None)
            moves += _moves(attempt.job, answer, now)
        if not moves:
            return
        with anyio.CancelScope(shield=True):
            applied = await self._apply(moves)
        inputs = {attempt.id: attempt.input for attempt, _ in answers}
        for move, ok in zip(moves, applied, strict=True):
            if ok and move.kind is KIND_OF[Cause.READY] and not move.after.spec.dry_run:
                self._line.ready.offer(Entry(move.after, inputs[move.after.id], move.compiled))


def _moves(job: Job, answer: Prepared | Failure, now: int) -> list[Move]:
    """What the answer makes of a job: failed, ready, or (dry run) straight through to completed."""
    if isinstance(answer, Failure):
        after = replace(moved(job, Cause.FAILED, now), outcome=replace(job.outcome, failure=answer))
        return [Move(job, after, KIND_OF[Cause.FAILED], now, data=failure_data(answer))]
    known = replace(
        job.outcome,
        predicted_execution_ms=answer.predicted_execution_ms,
        native_gates_1q=answer.native_gates_1q,
        native_gates_2q=answer.native_gates_2q,
        warnings=answer.warnings,
    )
    causes = (Cause.READY, Cause.STARTED, Cause.COMPLETED) if job.spec.dry_run else (Cause.READY,)
    moves = []
    for cause in causes:
        after = replace(moved(job, cause, now), outcome=known)
        moves.append(Move(job, after, KIND_OF[cause], now, compiled=answer.compiled if cause is Cause.READY else None))
        job = after
    return moves

"""The work of ``submitted``: check and compile, before a job may wait for its run.

Runs under the same rules as an execution: what is being prepared is known by id, a failure is tried again with
backoff up to the limit, a stop of the server costs nothing, since preparing is repeatable.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

import anyio
import msgspec
import structlog

from orchestrator.backends.abc import Attempt, Prepared
from orchestrator.backends.check import check
from orchestrator.backends.threads import Thread, called, lane_thread
from orchestrator.dispatch.line import Line
from orchestrator.dispatch.queue import Entry
from orchestrator.dispatch.results import InvalidResult, failure, prepared
from orchestrator.errors import CanceledByBackend, ExecutionError
from orchestrator.events import KIND_OF
from orchestrator.foreign import apart, contained, name_of
from orchestrator.lifecycle import Cause
from orchestrator.model import Failure, Job
from orchestrator.storage.abc import Move
from orchestrator.storage.ledger import failure_data, moved
from orchestrator.tasks import OutOfTime, within

log = structlog.get_logger()
replace = msgspec.structs.replace

BATCH: Final = 16
#: Of a job whose preparing failed, where the adapter names none.
USUAL_CODE: Final = "CompilationError"

Answer = Prepared | Failure | CanceledByBackend


class Preparer:
    """Prepares the submitted jobs of one line."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._settings = line.settings
        self._tries: dict[str, int] = {}

    async def run(self) -> None:
        """Prepare until canceled."""
        line = self._line
        with Thread(f"{line.backend} prepare") as thread:
            lane_thread.set(thread)
            await self._run()

    async def _run(self) -> None:
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
                    line.submitted.put_back(entry, self._line.backoff(1))
                raise
            finally:
                line.preparing.difference_update(held)

    async def _prepare(self, attempts: Sequence[Attempt]) -> None:
        answers: dict[str, Answer] = {}
        for attempt in attempts:
            fault = check(attempt.job.spec, self._line.capabilities)
            if fault is not None:
                answers[attempt.id] = fault
        fit = [attempt for attempt in attempts if attempt.id not in answers]
        if fit:
            answers |= await self._ask(fit)
        await self._record([(attempt, answers[attempt.id]) for attempt in attempts if attempt.id in answers])

    async def _ask(self, attempts: Sequence[Attempt]) -> dict[str, Answer]:
        """The adapter's answers. A batch that fails as a whole is asked one by one: a bad job fails alone."""
        try:
            with contained():
                answers = [prepared(answer) for answer in await self._answers(attempts)]
            if len(answers) != len(attempts):
                raise InvalidResult(f"{len(answers)} answers for {len(attempts)} attempts")  # noqa: TRY301
        except Exception as error:
            if len(attempts) > 1:
                log.warning(
                    "prepare failed; each is tried alone",
                    backend=self._line.backend,
                    jobs=len(attempts),
                    exc_info=error,
                )
                return {job: answer for attempt in attempts for job, answer in (await self._ask([attempt])).items()}
            return self._failed(attempts[0], error)
        return {attempt.id: answer for attempt, answer in zip(attempts, answers, strict=True)}

    async def _answers(self, attempts: Sequence[Attempt]) -> Sequence[Prepared | Failure]:
        """What the adapter answers, in the time it has."""
        line, limit_s = self._line, self._settings.prepare_limit_s
        prepare = partial(apart, partial(called, line.adapter.prepare, attempts), "prepare", backend=line.backend)
        return await within(line.clock, limit_s, prepare) if limit_s else await prepare()

    def _failed(self, attempt: Attempt, error: Exception) -> dict[str, Answer]:
        """What an error makes of a job: its end where the adapter says so, else another try."""
        if isinstance(error, CanceledByBackend):
            return {attempt.id: error}
        if isinstance(error, ExecutionError):
            verdict = failure(error.failure_code or USUAL_CODE, error.message)
            return self._retry(attempt, verdict) if error.retryable else {attempt.id: verdict}
        if isinstance(error, OutOfTime):
            log.warning("preparing took too long", backend=self._line.backend, job=attempt.id)
            message = f"preparing took longer than {self._settings.prepare_limit_s:g} s"
        else:
            log.error("adapter raised in prepare", backend=self._line.backend, job=attempt.id, exc_info=error)
            message = f"the backend raised {name_of(error)} while preparing"
        return self._retry(attempt, Failure(code=USUAL_CODE, message=message))

    def _retry(self, attempt: Attempt, verdict: Failure) -> dict[str, Answer]:
        """Put the job back, or fail it if it has been tried often enough."""
        tries = self._tries.pop(attempt.id, 0) + 1
        if tries >= self._settings.max_failed_attempts:
            return {attempt.id: verdict}
        self._tries[attempt.id] = tries
        self._line.submitted.put_back(Entry(attempt.job, attempt.input), self._line.backoff(tries))
        return {}

    async def _record(self, answers: Sequence[tuple[Attempt, Answer]]) -> None:
        moves: list[Move] = []
        now = self._line.clock.now_ms()
        for attempt, answer in answers:
            self._tries.pop(attempt.id, None)
            moves += _moves(attempt.job, answer, now)
        if not moves:
            return
        with anyio.CancelScope(shield=True):
            applied = await self._line.apply(moves)
        inputs = {attempt.id: attempt.input for attempt, _ in answers}
        for move, ok in zip(moves, applied, strict=True):
            if ok and move.kind is KIND_OF[Cause.READY] and not move.after.spec.dry_run:
                self._line.ready.offer(Entry(move.after, inputs[move.after.id], move.compiled))


def _moves(job: Job, answer: Answer, now: int) -> list[Move]:
    """What the answer makes of a job: failed, ready, or (dry run) straight through to completed."""
    if isinstance(answer, CanceledByBackend):
        reason = {"reason": answer.message}
        return [Move(job, moved(job, Cause.CANCELED, now), KIND_OF[Cause.CANCELED], now, data=reason)]
    if isinstance(answer, Failure):
        after = moved(job, Cause.FAILED, now, outcome=replace(job.outcome, failure=answer))
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
        after = moved(job, cause, now, outcome=known)
        moves.append(Move(job, after, KIND_OF[cause], now, compiled=answer.compiled if cause is Cause.READY else None))
        job = after
    return moves

"""Between the dispatcher and a wrapped adapter: one backend's stream of ready jobs, and what is told of them.

Theory of operation
-------------------
The wrapped adapter serves its own backend, under its own name. It is handed *inner* attempts, equal to those of the
dispatcher but for that name, and each carries the faults drawn when it was taken. `take` injects what happens before
and at the hand-over, the members of `Emit` what happens on the way back. With no fault drawn, every call goes
straight through.

An inner attempt is known from its hand-over until its end was told, its job ended otherwise, or the wrapped adapter's
`serve` came to an end. `held` are attempts that the wrapped adapter does not work on, not yet or no more, and that
are still alive.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

import anyio.abc
import msgspec
import structlog

from orchestrator.backends.abc import AdapterContext, Attempt, Emit, Ready
from orchestrator.errors import BackendFault, ExecutionError, InfrastructureFault, WorkerLost
from orchestrator.model import Characterization, Job, Result
from orchestrator_fault.dying import CALL
from orchestrator_fault.plan import Fault, Settings

log = structlog.get_logger()
replace = msgspec.structs.replace

#: How far an attempt had come when it failed in its middle.
HALF = 0.5

Outcome = Result | ExecutionError


class Inner(Attempt, frozen=True, kw_only=True):
    """An attempt as the wrapped adapter sees it.

    Attributes:
        outer: The dispatcher's.
        faults: What strikes it; `serial` is its number at the backend, which decided that.
    """

    outer: Attempt
    faults: frozenset[Fault] = frozenset()
    serial: int = 0


def renamed(job: Job, backend: str) -> Job:
    """The job under the backend's other name."""
    return replace(job, spec=replace(job.spec, backend=backend))


class Injection:
    """One backend's faults; the wrapped adapter's `Ready` and `Emit` while it serves.

    Args:
        outer, inner: The backend's name outside, and inside the wrapped adapter.
        count: Told of every fault that is injected.

    Attributes:
        out: Away for calibration.
    """

    def __init__(
        self, outer: str, inner: str, settings: Settings, context: AdapterContext, count: Callable[[Fault], None]
    ) -> None:
        self.outer, self.inner = outer, inner
        self.out = False
        self._settings = settings
        self._clock, self._workers = context.clock, context.workers
        self._count = count
        self._serial = 0
        self._known: dict[tuple[str, int], Inner] = {}
        self._held: set[tuple[str, int]] = set()
        #: Whether some attempts are not to be recorded as started when they are claimed.
        self._tells_start = bool(settings.delay or settings.busy or settings.reorder)
        self._busy_until = 0.0
        self._available, self._reason = True, ""
        self._ready: Ready
        self._emit: Emit
        self._tasks: anyio.abc.TaskGroup

    async def begin(self, ready: Ready, emit: Emit, tasks: anyio.abc.TaskGroup) -> None:
        """The wrapped adapter is about to serve; an outage that a crash cut short is over."""
        self._ready, self._emit, self._tasks = ready, emit, tasks
        if self.out:
            self.out = False
            await self._tell_availability()

    def end(self) -> None:
        """The wrapped adapter serves no more: the dispatcher puts back what it had."""
        self._known.clear()
        self._held.clear()

    # -- who knows which attempt --------------------------------------------------------------

    def enter(self, attempt: Attempt, faults: frozenset[Fault] = frozenset(), serial: int = 0) -> Inner:
        """The inner attempt, known from now on."""
        job = renamed(attempt.job, self.inner)
        inner = Inner(job, attempt.number, attempt.input, attempt.compiled, outer=attempt, faults=faults, serial=serial)
        self._known[_key(attempt)] = inner
        return inner

    def known(self, attempt: Attempt) -> Inner | None:
        """The inner attempt, if it is known."""
        return self._known.get(_key(attempt))

    def held(self, attempt: Attempt) -> bool:
        """Whether the attempt is alive without the wrapped adapter."""
        return _key(attempt) in self._held

    def forget(self, attempt: Attempt) -> Inner | None:
        """The attempt ended; answers the inner one if the wrapped adapter may still work on it."""
        self._held.discard(_key(attempt))
        return self._known.pop(_key(attempt), None)

    def _outer(self, attempt: Attempt) -> Attempt:
        """The attempt under its name outside; one that the wrapped adapter made up itself keeps its number."""
        if isinstance(attempt, Inner) and attempt.number == attempt.outer.number:
            return attempt.outer
        return Attempt(renamed(attempt.job, self.outer), attempt.number, attempt.input, attempt.compiled)

    @contextmanager
    def _holding(self, attempts: Sequence[Attempt]) -> Iterator[None]:
        keys = {_key(attempt) for attempt in attempts}
        self._held |= keys
        try:
            yield
        finally:
            self._held -= keys

    # -- Ready ------------------------------------------------------------------------------

    async def take(self, limit: int, *, start: bool = True) -> list[Attempt]:
        """See `Ready.take`."""
        while True:
            await self._until_not_busy()
            attempts = await self._ready.take(limit, start=start and not self._tells_start)
            taken = [self._draw(attempt) for attempt in attempts]
            with self._holding(taken):
                await self._until_not_busy()  # another lane may have been refused meanwhile
            if handed := await self._hand_over(taken, start=start):
                return handed

    def ended(self, jobs: Collection[str] = ()) -> AsyncGenerator[list[str]]:
        """See `Ready.ended`."""
        return self._ready.ended(jobs)

    async def _until_not_busy(self) -> None:
        while (wait_s := self._busy_until - self._clock.monotonic()) > 0:
            await self._clock.sleep(wait_s)

    def _draw(self, attempt: Attempt) -> Inner:
        self._serial += 1
        return self.enter(attempt, self._settings.strikes(self.outer, self._serial), self._serial)

    async def _hand_over(self, taken: Sequence[Inner], *, start: bool) -> list[Attempt]:
        if late := _struck(Fault.DELAY, taken):
            self._inject(Fault.DELAY, late)
            with self._holding(taken):
                await self._clock.sleep(self._settings.delay_s)
        if _struck(Fault.OUTAGE, taken) and not self.out:
            self._inject(Fault.OUTAGE, _struck(Fault.OUTAGE, taken))
            self.out = True
            self._tasks.start_soon(self._calibrate)
        if busy := _struck(Fault.BUSY, taken):
            await self._refuse(busy)
        if crashing := [inner for inner in _struck(Fault.CRASH, taken) if inner not in busy]:
            self._inject(Fault.CRASH, crashing)
            self._tasks.start_soon(self._crash, crashing)
        rest = [inner for inner in taken if inner not in busy and inner not in crashing]
        return await self.started(rest) if start and rest else list(rest)

    async def _refuse(self, busy: Sequence[Inner]) -> None:
        """Answer as a backend with too many requests; see `Fault.BUSY`."""
        self._inject(Fault.BUSY, busy)
        self._busy_until = self._clock.monotonic() + self._settings.retry_after_s
        reason = f"the backend is busy (429), to be asked again after {self._settings.retry_after_s:g} s"
        await self._end([(inner, InfrastructureFault(reason)) for inner in busy])

    async def _crash(self, crashing: Sequence[Inner]) -> None:
        """Have each run in a worker process that dies."""
        with self._holding([inner.outer for inner in crashing]):
            await self._emit.started([inner.outer for inner in crashing])
            for inner in crashing:
                [answer] = await self._workers.run(CALL, [b"null"])
                error = answer if isinstance(answer, ExecutionError) else WorkerLost("it should have died")
                await self._end([(inner, error)])

    async def _calibrate(self) -> None:
        await self._tell_availability()
        await self._clock.sleep(self._settings.outage_s)
        self.out = False
        await self._tell_availability()

    async def _tell_availability(self) -> None:
        reason = "calibrating" if self.out else self._reason
        await self._emit.availability(self._available and not self.out, reason)

    # -- Emit -------------------------------------------------------------------------------

    async def started(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        """See `Emit.started`."""
        told = [attempt for attempt in attempts if not self._withheld(attempt)]
        holding: set[tuple[str, int]] = set()
        if told:
            holding = {_key(each) for each in await self._emit.started([self._outer(attempt) for attempt in told])}
        if twice := _struck(Fault.DUPLICATE, told):
            self._inject(Fault.DUPLICATE, twice)
            await self._emit.started([inner.outer for inner in twice])
        for attempt in told:
            if _key(attempt) not in holding:
                self.forget(attempt)
        return [attempt for attempt in attempts if _key(attempt) in holding or self._withheld(attempt)]

    def _withheld(self, attempt: Attempt) -> bool:
        """Whether start and progress are told after the end, of an attempt that still holds its job.

        Not where the end will be lost: what was never started is never counted as tried.
        """
        inner = self.known(attempt)
        return inner is not None and Fault.REORDER in inner.faults and Fault.LOST not in inner.faults

    async def progress(self, attempt: Attempt, fraction: float) -> None:
        """See `Emit.progress`."""
        if not self._withheld(attempt):
            for _ in range(2 if _struck(Fault.DUPLICATE, [attempt]) else 1):
                await self._emit.progress(self._outer(attempt), fraction)

    async def finished(self, outcomes: Sequence[tuple[Attempt, Outcome]]) -> None:
        """See `Emit.finished`."""
        prompt: list[tuple[Attempt, Outcome]] = []
        late: list[tuple[Attempt, Outcome]] = []
        for attempt, outcome in outcomes:
            inner = self.known(attempt)
            if inner is None:
                prompt.append((attempt, outcome))
            elif Fault.LOST in inner.faults:
                self._lose(inner)
            else:
                told = await self._failed(inner) if Fault.FAILURE in inner.faults else outcome
                (late if Fault.LATE in inner.faults else prompt).append((inner, told))
        if late:
            self._inject(Fault.LATE, [attempt for attempt, _ in late])
            self._tasks.start_soon(self._end_late, late)
        if prompt:
            await self._end(prompt)

    def _lose(self, inner: Inner) -> None:
        self._inject(Fault.LOST, [inner])
        self.forget(inner)
        if self._settings.lost_vouched:
            self._held.add(_key(inner))

    async def _failed(self, inner: Inner) -> ExecutionError:
        self._inject(Fault.FAILURE, [inner])
        await self.progress(inner, HALF)
        if self._settings.failure_retryable:
            return InfrastructureFault("the run was interrupted in its middle")
        return BackendFault("the run failed in its middle")

    async def _end_late(self, outcomes: Sequence[tuple[Attempt, Outcome]]) -> None:
        with self._holding([attempt for attempt, _ in outcomes]):
            await self._clock.sleep(self._settings.late_s)
            await self._end(outcomes)

    async def _end(self, outcomes: Sequence[tuple[Attempt, Outcome]]) -> None:
        """Tell how attempts ended, and what is told after the end."""
        attempts = [attempt for attempt, _ in outcomes]
        ends = [(self._outer(attempt), outcome) for attempt, outcome in outcomes]
        twice = {inner.outer for inner in _struck(Fault.DUPLICATE, attempts)}
        after = [inner for inner in _struck(Fault.REORDER, attempts) if self._withheld(inner)]
        await self._emit.finished(ends)  # known until it is committed: what is being told is alive
        for attempt in attempts:
            self.forget(attempt)
        if again := [(outer, outcome) for outer, outcome in ends if outer in twice]:
            await self._emit.finished(again)
        if after:
            self._inject(Fault.REORDER, after)
            await self._emit.started([inner.outer for inner in after])
            for inner in after:
                await self._emit.progress(inner.outer, HALF)

    async def calibrated(self, characterization: Characterization) -> None:
        """See `Emit.calibrated`."""
        await self._emit.calibrated(replace(characterization, backend=self.outer))

    async def availability(self, available: bool, reason: str = "") -> None:
        """See `Emit.availability`; what the wrapped adapter says counts when no outage is on."""
        self._available, self._reason = available, reason
        await self._tell_availability()

    def _inject(self, fault: Fault, attempts: Sequence[Attempt]) -> None:
        for attempt in attempts:
            serial = attempt.serial if isinstance(attempt, Inner) else 0
            self._count(fault)
            log.debug(
                "fault injected",
                fault=fault.value,
                backend=self.outer,
                job=attempt.id,
                attempt=attempt.number,
                serial=serial,
            )


def _key(attempt: Attempt) -> tuple[str, int]:
    return attempt.id, attempt.number


def _struck(fault: Fault, attempts: Sequence[Attempt]) -> list[Inner]:
    return [attempt for attempt in attempts if isinstance(attempt, Inner) and fault in attempt.faults]

"""An adapter under observation: what it is handed, what it tells, and when.

The adapter stays itself, of its own class; only its methods are reached through here, by attributes of the instance.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence, Sized
from dataclasses import dataclass, field
from typing import Any

from orchestrator.backends.abc import Adapter, Attempt, Capabilities, Emit, Prepared, Ready
from orchestrator.backends.threads import called
from orchestrator.dispatch.results import InvalidResult, checked
from orchestrator.errors import ExecutionError
from orchestrator.model import Characterization, Failure, Result
from orchestrator.testing.adapter_kit.frames import told_of
from orchestrator.testing.adapter_kit.freezing import Freezer


@dataclass(eq=False)
class Watch:
    """What was seen of one adapter.

    Attributes:
        taken: Attempts handed over, in order.
        held: Those neither answered nor canceled.
        peak: The most held at one time, by backend.
        answers: What was answered, by attempt, in order.
        canceled: When the adapter was told to stop an attempt (monotonic seconds).
        late: Seconds between that and an answer that came all the same, by attempt.
        fractions: Progress as told, by attempt.
        crashes: What the adapter's methods raised that must not raise, in plain words.
        faults: What must not be told, in plain words.
        prepared: Attempts given to `prepare`.
        vouching: Whether heartbeats get through; the adapter is taken for dead otherwise.
        recovered: What `recover` was asked, and what it answered.
        followed: Backends whose `Ready.ended` it follows; `named` are the jobs it named there.
        closed: What `aclose` raised, or None, each time it was called.
        raised: What its code raised that was none of the contract's failures, in plain words, by the id of the job.
    """

    adapter: Adapter
    freezer: Freezer
    taken: list[Attempt] = field(default_factory=list)
    held: dict[Attempt, None] = field(default_factory=dict)
    peak: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    answers: dict[Attempt, list[Any]] = field(default_factory=lambda: defaultdict(list))
    canceled: dict[Attempt, float] = field(default_factory=dict)
    late: dict[Attempt, float] = field(default_factory=dict)
    fractions: dict[Attempt, list[float]] = field(default_factory=lambda: defaultdict(list))
    crashes: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    prepared: list[Attempt] = field(default_factory=list)
    vouching: bool = True
    recovered: list[tuple[list[Attempt], list[Any]]] = field(default_factory=list)
    followed: set[str] = field(default_factory=set)
    named: set[str] = field(default_factory=set)
    closed: list[Exception | None] = field(default_factory=list)
    raised: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        watched = ["serve", "prepare", "cancel", "heartbeat", "recover", "aclose"]
        if overrides(self.adapter, "run_batch"):
            watched.append("run_batch")
        for name in watched:
            setattr(self.adapter, name, getattr(self, f"_{name}")(getattr(self.adapter, name)))

    # -- what the adapter is told -----------------------------------------------------------

    def _serve(self, serve: Callable[..., Awaitable[None]]) -> Any:
        async def watched(backend: Capabilities, ready: Ready, emit: Emit) -> None:
            try:
                await self.freezer.stepped(serve(backend, _Ready(self, backend, ready), _Emit(self, emit)))
            except Exception as error:
                self.crashes.append(f"serve raised {told_of(error)}")
                raise
            self.crashes.append("serve returned, where it serves until it is canceled")

        return watched

    def _prepare(self, prepare: Callable[..., Any]) -> Any:
        async def watched(attempts: Sequence[Attempt]) -> Sequence[Prepared | Failure]:
            self.prepared += attempts
            try:
                return await self.freezer.stepped(called(prepare, attempts))
            except Exception as error:
                self.raised.update(dict.fromkeys((attempt.id for attempt in attempts), told_of(error)))
                raise

        return watched

    def _run_batch(self, run_batch: Callable[..., Any]) -> Any:
        async def watched(attempts: Sequence[Attempt]) -> Any:
            try:
                answers = await called(run_batch, attempts)
            except ExecutionError:
                raise
            except Exception as error:
                if len(attempts) > 1:  # hidden else: each is run again alone
                    self.faults.append(f"run_batch raised {told_of(error)} for {len(attempts)} jobs at once")
                raise
            if isinstance(answers, Sized) and len(answers) != len(attempts):  # hidden likewise
                self.faults.append(
                    f"run_batch gave {len(answers)} answers for {len(attempts)} jobs, where it gives one for each"
                )
            return answers

        return watched

    def _cancel(self, cancel: Callable[..., Awaitable[None]]) -> Any:
        async def watched(attempt: Attempt) -> None:
            self.canceled[attempt] = time.monotonic()
            self.held.pop(attempt, None)
            try:
                await cancel(attempt)
            except Exception as error:
                self.crashes.append(f"cancel raised {told_of(error)}")
                raise

        return watched

    def _heartbeat(self, heartbeat: Callable[..., Awaitable[Sequence[Attempt]]]) -> Any:
        async def watched(attempts: Sequence[Attempt]) -> Sequence[Attempt]:
            try:
                answer = await heartbeat(attempts)
            except Exception as error:
                self.crashes.append(f"heartbeat raised {told_of(error)}")
                raise
            return answer if self.vouching else ()

        return watched

    def _recover(self, recover: Callable[..., Awaitable[list[Attempt]]]) -> Any:
        async def watched(attempts: Sequence[Attempt]) -> list[Attempt]:
            try:
                answer = await recover(attempts)
            except Exception as error:
                self.crashes.append(f"recover raised {told_of(error)}")
                raise
            self.recovered.append((list(attempts), list(answer)))
            return answer

        return watched

    def _aclose(self, aclose: Callable[[], Awaitable[None]]) -> Any:
        async def watched() -> None:
            error: Exception | None = TimeoutError("it did not return")
            self.closed.append(error)
            try:
                await aclose()
            except Exception as raised:
                self.closed[-1] = raised
                raise
            self.closed[-1] = None

        return watched

    # -- what the adapter tells -------------------------------------------------------------

    def took(self, backend: str, attempts: Sequence[Attempt]) -> None:
        """Attempts were handed over."""
        self.freezer.handed()
        self.taken += attempts
        self.held.update(dict.fromkeys(attempts))
        held = sum(attempt.job.backend == backend for attempt in self.held)
        self.peak[backend] = max(self.peak[backend], held)

    def answered(self, attempt: Attempt, outcome: Any) -> None:
        """An attempt was reported as over."""
        if attempt not in self.taken and not any(attempt in asked for asked, _ in self.recovered):
            self.faults.append("it answered an attempt that was never handed to it")
            return
        self.held.pop(attempt, None)
        if self.answers[attempt]:
            self.faults.append("it answered the same attempt more than once")
        self.answers[attempt].append(outcome)
        if isinstance(outcome, ExecutionError) and outcome.__cause__ is not None:
            self.raised[attempt.id] = told_of(outcome.__cause__)
        if attempt in self.canceled:
            self.late[attempt] = time.monotonic() - self.canceled[attempt]

    def progressed(self, attempt: Attempt, fraction: float) -> None:
        """Progress was reported."""
        known = self.fractions[attempt]
        if not isinstance(fraction, int | float) or not math.isfinite(fraction) or not 0.0 <= fraction <= 1.0:
            self.faults.append(f"progress of {fraction} was told, where it goes from 0 to 1")
        elif known and fraction < known[-1]:
            self.faults.append(f"progress of {fraction:g} was told after {known[-1]:g}: it went back")
        elif self.answers.get(attempt):
            self.faults.append("progress was told after the answer")
        else:
            known.append(fraction)

    def invalid(self) -> str:
        """Why the first answer that is no answer is none; empty if there is none of that kind."""
        for attempt, outcomes in self.answers.items():
            for outcome in outcomes:
                if isinstance(outcome, ExecutionError):
                    continue
                try:
                    checked(attempt.job, outcome)
                except InvalidResult as error:
                    return str(error)
        return ""


class _Ready:
    def __init__(self, watch: Watch, backend: Capabilities, ready: Ready) -> None:
        self._watch, self._backend, self._ready = watch, backend, ready

    async def take(self, limit: int, *, start: bool = True) -> list[Attempt]:
        attempts = await self._ready.take(limit, start=start)
        self._watch.took(self._backend.backend, attempts)
        return attempts

    def ended(self, jobs: Collection[str] = ()) -> AsyncGenerator[list[str]]:
        self._watch.followed.add(self._backend.backend)
        self._watch.named.update(jobs)
        return self._ready.ended(jobs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ready, name)


class _Emit:
    def __init__(self, watch: Watch, emit: Emit) -> None:
        self._watch, self._emit = watch, emit

    async def started(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        going = await self._emit.started(attempts)
        for attempt in attempts:
            if attempt not in going:
                self._watch.held.pop(attempt, None)
        return going

    async def progress(self, attempt: Attempt, fraction: float) -> None:
        self._watch.progressed(attempt, fraction)
        await self._emit.progress(attempt, fraction)

    async def finished(self, outcomes: Sequence[tuple[Attempt, Result | ExecutionError]]) -> None:
        for attempt, outcome in outcomes:
            self._watch.answered(attempt, outcome)
        await self._emit.finished(outcomes)

    async def calibrated(self, characterization: Characterization) -> None:
        await self._emit.calibrated(characterization)

    async def availability(self, available: bool, reason: str = "") -> None:
        await self._emit.availability(available, reason)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._emit, name)


def overrides(adapter: Adapter, method: str) -> bool:
    """Whether an adapter's class has its own version of a method of the contract."""
    return getattr(type(adapter), method) is not getattr(Adapter, method)

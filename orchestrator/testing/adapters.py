"""Adapters for tests: they run nothing, and answer what the test says when it says so."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import anyio

from orchestrator.backends.abc import Adapter, Attempt, Capabilities
from orchestrator.circuits.ir import Circuit, Gate
from orchestrator.clock import Clock
from orchestrator.model import Result
from orchestrator.service import Orchestrator
from orchestrator.settings import DispatchSettings, Settings
from orchestrator.storage.abc import Store
from orchestrator.testing.clock import ManualClock

#: A circuit to submit.
FLIP: Final = Circuit(qubits=1, gates=(Gate("x", (0,)),))


def zeros(attempt: Attempt) -> Result:
    """Every shot of that attempt read 0."""
    spec = attempt.job.spec
    return Result(qubits=spec.stats.declared, probabilities={0: 1.0}, counts={0: spec.shots})


class ScriptedAdapter(Adapter):
    """Serves one backend with the simple form, one coroutine per job.

    Args:
        backend: Name of the backend.
        answer: What an attempt comes to, or an exception to raise; may be any object, to test who trusts it.
        held: Attempts wait until `release`.
        capabilities: Members of `Capabilities`.

    Attributes:
        seen: Attempts in the order they began; `ended` in the order they got through to their answer;
            `canceled` those the dispatcher asked to stop.
        vouching: Whether heartbeats are answered.
    """

    name = "scripted"

    def __init__(
        self,
        backend: str = "scripted",
        *,
        answer: Callable[[Attempt], Any] = zeros,
        held: bool = False,
        **capabilities: Any,
    ) -> None:
        self.answer = answer
        self.seen: list[Attempt] = []
        self.ended: list[Attempt] = []
        self.canceled: list[Attempt] = []
        self.vouching = True
        self._capabilities = Capabilities(backend=backend, **{"qubits": 8, "concurrency": 4, **capabilities})
        self._gate = anyio.Event()
        if not held:
            self._gate.set()
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []

    def capabilities(self) -> Sequence[Capabilities]:
        return [self._capabilities]

    def release(self) -> None:
        """Let all attempts go on, those that wait and those to come."""
        self._gate.set()

    def hold(self) -> None:
        """Let attempts to come wait."""
        self._gate = anyio.Event()

    async def until_seen(self, number: int) -> None:
        """Wait until so many attempts have begun."""
        if len(self.seen) < number:
            future = asyncio.get_running_loop().create_future()
            self._waiters.append((number, future))
            await future

    def begun(self, *attempts: Attempt) -> None:
        """Count attempts that begin; for subclasses that do not use `run`."""
        self.seen += attempts
        for number, future in self._waiters:
            if len(self.seen) >= number and not future.done():
                future.set_result(None)

    async def run(self, attempt: Attempt) -> Result:
        self.begun(attempt)
        await self._gate.wait()
        self.ended.append(attempt)
        outcome: Any = self.answer(attempt)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome  # type: ignore[no-any-return]

    async def cancel(self, attempt: Attempt) -> None:
        self.canceled.append(attempt)
        await super().cancel(attempt)

    async def heartbeat(self, attempts: Sequence[Attempt]) -> Sequence[Attempt]:
        return attempts if self.vouching else ()


def serving(
    *adapters: Adapter,
    data: Path | None = None,
    store: Store | None = None,
    clock: Clock | None = None,
    seed: int = 0,
    **dispatch: Any,
) -> Orchestrator:
    """An orchestrator over these adapters, to be entered; it does not wait for running attempts when it is left.

    Nobody watches the event loop: a debugger would be named.

    Args:
        data: Folder of a SQLite store; without it and `store`, everything is kept in memory.
        clock: By default one that a test moves by hand, `ManualClock`.
        dispatch: Members of `DispatchSettings`.
    """
    settings = Settings(dispatch=DispatchSettings(**{"drain_s": 0.0, "blocked_ms": 0, **dispatch}))
    rng = random.Random(seed)
    return Orchestrator.open(
        data, settings=settings, adapters=adapters, store=store, clock=clock or ManualClock(), rng=rng
    )

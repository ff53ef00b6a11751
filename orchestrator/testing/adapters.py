"""Adapters for tests: they run nothing, and answer what the test says when it says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import anyio

from orchestrator.backends.abc import Adapter, Attempt, Capabilities
from orchestrator.model import Result


def zeros(attempt: Attempt) -> Result:
    """Every shot of that attempt read 0."""
    return Result(qubits=1, probabilities={0: 1.0}, counts={0: attempt.job.spec.shots})


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

    async def run(self, attempt: Attempt) -> Result:
        self.seen.append(attempt)
        for number, future in self._waiters:
            if len(self.seen) >= number and not future.done():
                future.set_result(None)
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

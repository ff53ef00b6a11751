"""How an adapter's `run` and `run_batch` are executed: lanes, what stops them, and in which process they run.

Theory of operation
-------------------
A backend has `concurrency` lanes; each takes a batch, has it executed and tells what became of it. Coroutines run on
the event loop, plain functions on the lane's thread, and both in worker processes of the backend's own where the
adapter asks for that (`Adapter.isolation`) or was *moved* there. It is moved when it blocked the event loop, or when a
run does not return long after its attempt ended, in a thread or on the loop: a process can be killed, a thread cannot,
and a coroutine may ignore that it is canceled. Work under way is not touched by a move.

A lane whose run does not return waits for it, if the adapter is not moved. When all of them do, the backend is
unavailable and its jobs wait.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio
import anyio.abc
import structlog

from orchestrator.backends.capabilities import Capabilities
from orchestrator.backends.guarding import Outcome, guarded_batch
from orchestrator.backends.hosting import NotHostable, origin_of, run_hosted
from orchestrator.backends.placements import Placements
from orchestrator.backends.threads import Thread, called, lane_thread
from orchestrator.clock import Clock
from orchestrator.errors import AdapterUnavailable
from orchestrator.foreign import apart
from orchestrator.tasks import OutOfTime, within
from orchestrator.workers.pool import WorkerPool

if TYPE_CHECKING:
    from orchestrator.backends.abc import Adapter, AdapterContext, Attempt, Emit, Ready

log = structlog.get_logger()

#: A thread still busy so long after its attempt ended hangs.
HANG_S: Final = 30.0


def bind(adapter: Adapter, context: AdapterContext, *, move: bool, placements: Placements | None = None) -> None:
    """See `Execution.bind`; also for an adapter that opens and serves another one."""
    adapter._execution.bind(context, move=move, placements=placements)


def move(adapter: Adapter, reason: str) -> bool:
    """See `Execution.move`."""
    return adapter._execution.move(reason)


def movable(adapter: Adapter) -> bool:
    """Whether `move` would move it, or has."""
    return adapter._execution.movable


def made_by(adapter: Adapter, entry_point: str) -> None:
    """Tell what made the adapter, ``module:name``, so that another process can make one too."""
    adapter._execution.made_by = entry_point


class Execution:
    """How one adapter's runs are executed. Belongs to the adapter; the host tells it with what.

    Attributes:
        made_by: The entry point of the adapter, ``module:name``; None where the host made it.
        hosted: Runs go to worker processes.
        context: What the adapter was opened with; None where no host said so.
        on_stop: Called when a run is canceled.
    """

    def __init__(self, adapter: Adapter) -> None:
        self.made_by: str | None = None
        self.hosted = False
        self.adapter = adapter
        self.on_stop: list[Callable[[], None]] = []
        self._scopes: dict[Attempt, tuple[anyio.CancelScope, set[Attempt]]] = {}
        self.context: AdapterContext | None = None
        self._origin = ""
        self._obstacle = "it is not served by a host"
        self._complained = False
        self._placements: Placements | None = None

    def bind(self, context: AdapterContext, *, move: bool, placements: Placements | None = None) -> None:
        """Tell what the adapter is opened with, and whether it may be moved; one that was moved before is so again.

        Args:
            placements: Where moves are remembered; None where nobody does.

        Raises:
            AdapterUnavailable: It asks for worker processes and cannot run there.
        """
        self.context = context
        self._obstacle = self._obstacle_to(move)
        if self.adapter.isolation == "worker":
            if not self._origin:
                raise AdapterUnavailable(self.adapter.name, f"no run in a worker process: {self._obstacle}")
            self.hosted = True
        if placements is not None and not self.hosted and (known := placements.of(self.adapter.name)) is not None:
            self.move(known.reason)
        self._placements = placements

    @property
    def movable(self) -> bool:
        """Whether further runs can go to worker processes."""
        return self.hosted or not self._obstacle

    def _obstacle_to(self, move: bool) -> str:
        """Why the adapter cannot be moved; empty where it can."""
        if self.adapter.isolation == "server":
            return "it asks to stay"
        if self.adapter.isolation == "auto" and not move:
            return "dispatch.blocking is warn"
        try:
            self._origin = origin_of(self.adapter, self.made_by)
        except NotHostable as error:
            return str(error)
        return ""

    def move(self, reason: str) -> bool:
        """Have further runs go to worker processes, in later lives too; answers whether they do."""
        if self.hosted:
            return True
        if not self._obstacle:
            self.hosted = True
            log.warning("adapter moved to worker processes", adapter=self.adapter.name, reason=reason)
            if self._placements is not None:
                self._placements.put(self.adapter.name, reason, worker=True)
        elif not self._complained:
            self._complained = True
            log.warning("adapter stays in the server process", adapter=self.adapter.name, reason=self._obstacle)
        return self.hosted

    @contextmanager
    def stoppable(self, *attempts: Attempt) -> Iterator[anyio.CancelScope]:
        """A scope that is canceled when `stop` was called for each of the attempts."""
        wanted = set(attempts)
        with anyio.CancelScope() as scope:
            for attempt in attempts:
                self._scopes[attempt] = scope, wanted
            try:
                yield scope
            finally:
                for attempt in attempts:
                    del self._scopes[attempt]

    def stop(self, attempt: Attempt) -> None:
        """Nobody wants the answer of that attempt any more."""
        if (found := self._scopes.get(attempt)) is not None:
            scope, wanted = found
            wanted.discard(attempt)
            if not wanted:
                scope.cancel()
                for tell in self.on_stop:
                    tell()

    async def serve(self, backend: Capabilities, ready: Ready, emit: Emit) -> None:
        """Serve one backend until canceled."""
        async with self._processes(backend) as pool, anyio.create_task_group() as tasks:
            lanes = _Lanes(self, backend, ready, emit, pool=pool, tasks=tasks)
            try:
                for _ in range(backend.concurrency):
                    lanes.start_one()
                if self.context is not None:
                    await lanes.watch(self.context.clock)
            finally:
                lanes.over = True

    @asynccontextmanager
    async def _processes(self, backend: Capabilities) -> AsyncGenerator[WorkerPool | None]:
        """The backend's own, so that runs that hang take nobody else's; none starts before it is needed."""
        if self.context is None or not self._origin:
            yield None
            return
        async with WorkerPool(backend.concurrency, self.context.clock) as pool:
            yield pool

    async def batch(self, pool: WorkerPool | None, attempts: Sequence[Attempt]) -> Sequence[Outcome]:
        """Execute one batch, wherever that is done now."""
        if self.hosted and pool is not None and self.context is not None:
            return await run_hosted(pool, self._origin, self.context, attempts, self.adapter.isolated_memory_mb)
        return await called(self.adapter.run_batch, attempts)


class _Lanes:
    """The lanes of one backend while it is served, in tasks of that group.

    Attributes:
        over: It is not served any more: a lane that was left behind takes no job.
    """

    def __init__(
        self,
        execution: Execution,
        backend: Capabilities,
        ready: Ready,
        emit: Emit,
        *,
        pool: WorkerPool | None,
        tasks: anyio.abc.TaskGroup,
    ) -> None:
        self._execution = execution
        self._backend = backend
        self._ready = ready
        self._emit = emit
        self._pool = pool
        self._name = execution.adapter.name
        self._tasks = tasks
        self._stuck = 0
        self._stopped = anyio.Event()
        self.over = False
        #: Runs on the loop: the scope that stops one, and the scope inside it that spares one.
        self._runs: dict[anyio.CancelScope, anyio.CancelScope] = {}
        self._replaced: set[anyio.CancelScope] = set()

    def start_one(self) -> None:
        """Begin a lane; canceled, it is left behind if its run does not end."""
        self._tasks.start_soon(partial(apart, self.run_one, "run", backend=self._backend.backend))

    async def run_one(self) -> None:
        """One lane, until canceled, or replaced."""
        run = partial(self._execution.batch, self._pool)
        with Thread(f"{self._name} {self._backend.backend}") as thread:
            lane_thread.set(thread)
            while True:
                if thread.busy and not self._execution.hosted:
                    await self._returned(thread)
                attempts = await self._ready.take(self._backend.batch)
                with self._execution.stoppable(*attempts) as scope, anyio.CancelScope() as spared:
                    self._runs[scope] = spared
                    try:
                        outcomes = await guarded_batch(run, attempts)
                    finally:
                        del self._runs[scope]
                if self.over or scope in self._replaced:
                    return self._replaced.discard(scope)
                if spared.shield:
                    await self._unstuck()
                elif not scope.cancelled_caught:
                    await self._emit.finished(list(zip(attempts, outcomes, strict=True)))

    async def _returned(self, thread: Thread) -> None:
        """Wait for a call that was left behind, unless the adapter is moved on that account."""
        if (context := self._execution.context) is not None:
            try:
                return await within(context.clock, HANG_S, thread.returned)
            except OutOfTime:
                log.warning("adapter hangs in a thread", adapter=self._name, backend=self._backend.backend)
            if self._execution.move("a run does not return"):
                return None
        await self._sticks()
        await thread.returned()
        await self._unstuck()
        return None

    async def watch(self, clock: Clock) -> None:
        """See to runs on the loop that go on though they were canceled, until canceled."""

        def tell() -> None:
            self._stopped.set()

        self._execution.on_stop.append(tell)
        try:
            while True:
                await self._stopped.wait()
                self._stopped = anyio.Event()
                while canceled := self._canceled():
                    await clock.sleep(HANG_S)
                    for scope in canceled:
                        if scope in self._runs:
                            await self._hangs(scope)
        finally:
            self._execution.on_stop.remove(tell)

    def _canceled(self) -> list[anyio.CancelScope]:
        return [scope for scope, spared in self._runs.items() if scope.cancel_called and not spared.shield]

    async def _hangs(self, scope: anyio.CancelScope) -> None:
        """Cancel a run no more, which only keeps the loop busy; its lane is another's, or waits for it."""
        log.warning("adapter goes on with a run that was ended", adapter=self._name, backend=self._backend.backend)
        self._runs[scope].shield = True
        if self._execution.move("a run does not end when it is canceled"):
            self._replaced.add(scope)
            self.start_one()
        else:
            await self._sticks()

    async def _sticks(self) -> None:
        """One more lane waits for a run that was ended."""
        self._stuck += 1
        if self._stuck == self._backend.concurrency:
            await self._emit.availability(False, "runs that were ended do not return")

    async def _unstuck(self) -> None:
        """That run has returned."""
        self._stuck -= 1
        if self._stuck == self._backend.concurrency - 1:
            await self._emit.availability(True)

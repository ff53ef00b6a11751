"""Supervised worker processes behind one coroutine, `WorkerPool.run`.

Theory of operation
-------------------
Callers put batches into one queue, first come first served. A ready worker takes the next batch in the
very callback that brought its last answer. Workers start when a batch finds none free, up to the size of
the pool, each under a task of the pool that owns its process from start to reaping.

A worker that dies takes at most one batch with it. Those of its payloads that have no answer yet are run
again, each alone, so that one poisonous payload cannot blame its neighbours: only who kills a worker alone
is lost.

Time limits are deadlines on the injected clock, kept by one task that sleeps until the earliest.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import anyio
import anyio.abc
import structlog
from anyio import AsyncContextManagerMixin

from orchestrator.clock import Clock
from orchestrator.errors import ExecutionError, Unavailable, UnsupportedEventLoop, WorkerLost
from orchestrator.tasks import background
from orchestrator.workers.process import environment, processors
from orchestrator.workers.protocol import FRAME_CAP, FrameTooLargeError, Run
from orchestrator.workers.worker import Batch, Worker

log = structlog.get_logger()

Answer = bytes | ExecutionError

#: Failed starts in a row before waiting callers are told.
_START_ATTEMPTS: Final = 3
_BACKOFF_S: Final = 0.1
_BACKOFF_CAP_S: Final = 5.0
#: Processor seconds a batch may use above its time limit on every processor: the kernel's limit is the second guard.
_CPU_MARGIN_S: Final = 5.0


class WorkerPool(AsyncContextManagerMixin):
    """Worker processes for heavy work; ``async with WorkerPool(size, clock) as pool``.

    No process starts before the first `run` or `warm`. Leaving the context kills all of them; callers still
    waiting get `Unavailable`. Enter it on the thread that runs the event loop for the pool's whole life:
    the kernel ends the workers with that thread.

    Args:
        size: Most processes at one time.
        clock: Times limits and the pauses between failed starts.
        threads: Threads for numerical libraries in each worker; None shares the processors among the workers.
        beat_s: Seconds between a worker's signs of life; three missed ones, without processor time used, are a death.
        grace_s: How long a worker may go on with work whose caller was canceled before it is killed.
    """

    def __init__(
        self, size: int, clock: Clock, *, threads: int | None = None, beat_s: float = 1.0, grace_s: float = 0.05
    ) -> None:
        if size < 1:
            raise ValueError("a pool has at least one worker")
        self.size = size
        self._clock = clock
        self._threads = threads or max(1, processors() // size)
        self._beat_s = beat_s
        self._grace_s = grace_s
        self._tasks: anyio.abc.TaskGroup | None = None
        self._queue: deque[Batch] = deque()
        self._workers: set[Worker] = set()  # those that have started
        self._idle: list[Worker] = []
        self._starting = 0
        self._changed = anyio.Event()  # a worker has started or ended; replaced each time
        self._failures = 0  # failed starts in a row
        self._failure = ""
        self._slots = 0  # tasks that own, start or will start a worker
        self._numbers = itertools.count(1)
        self._alarm = math.inf  # what the deadline task sleeps for, on the clock
        self._nap = anyio.CancelScope()

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[WorkerPool]:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise UnsupportedEventLoop("not asyncio") from None
        async with background() as tasks:
            self._tasks = tasks
            tasks.start_soon(self._keep_deadlines)
            try:
                yield self
            finally:
                self._tasks = None
                self._fail_queue("the pool was closed")
                self._notify()

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the live workers."""
        return tuple(worker.pid for worker in self._workers if not worker.lost)

    async def warm(self) -> None:
        """Start all workers now and wait for them.

        Raises:
            WorkerLost: They do not start.
            Unavailable: The pool is closed.
        """
        while len(self._workers) < self.size:
            self._check_open()
            self._start(self.size - self._slots)
            await self._changed.wait()
            if self._failures >= _START_ATTEMPTS:
                raise WorkerLost(self._failure)

    async def run(
        self,
        call: str,
        payloads: Sequence[bytes],
        *,
        time_limit_s: float | None = None,
        memory_bytes: int | None = None,
    ) -> list[Answer]:
        """Call ``module:function`` (bytes to bytes) once for each payload, in order, in one worker.

        Args:
            call: Importable in the worker, which has the import path of this process.
            payloads: JSON documents, opaque here.
            time_limit_s: For the batch, from when a worker takes it; a payload run again alone has it anew.
            memory_bytes: What the batch may allocate beyond what the worker uses (enforced on Linux). What the
                function's module imports at its top does not count, what the function imports itself does. Libraries
                that abort when memory is refused make it a `WorkerLost`: give an honest estimate.

        Returns:
            One answer per payload: bytes, or the `ExecutionError` the function raised; ``InternalError`` for any
            other exception, ``SimulationError`` for lack of memory, ``SimulationTimeout`` and `WorkerLost` for
            a payload that, alone, ran out of time or lost its worker.

        Raises:
            Unavailable: The pool is closed.

        Cancelling takes the batch out of the queue, or kills the worker that runs it.
        """
        self._check_open()
        if not payloads:
            return []
        run = Run(
            sizes=tuple(map(len, payloads)),
            number=next(self._numbers),
            call=call,
            memory_bytes=memory_bytes,
            cpu_s=None if time_limit_s is None else time_limit_s * processors() + _CPU_MARGIN_S,
        )
        try:
            batch = Batch(run, payloads, time_limit_s)
        except FrameTooLargeError:
            if len(payloads) == 1:
                return [ExecutionError("SimulationError", f"the input is larger than {FRAME_CAP // 2**20} MiB")]
            answers: list[Answer] = []
        else:
            await self._wait(batch)
            answers = batch.answers
            missing = len(payloads) - len(answers)
            if missing:
                self._check_open()
            if missing and (len(payloads) == 1 or not batch.taken):
                return answers + [_verdict(batch)] * missing
        for payload in payloads[len(answers) :]:
            answers += await self.run(call, [payload], time_limit_s=time_limit_s, memory_bytes=memory_bytes)
        return answers

    def _check_open(self) -> None:
        if self._tasks is None:
            raise Unavailable("the worker pool is closed")

    async def _wait(self, batch: Batch) -> None:
        self._queue.append(batch)
        self._feed()
        try:
            await batch.done
        except asyncio.CancelledError:
            if batch.worker is not None:
                batch.worker.abandon(self._grace_s)
            elif batch in self._queue:
                self._queue.remove(batch)
            raise

    def _feed(self) -> None:
        """Bring waiting batches and idle workers together; start workers for the rest."""
        while self._queue and self._idle:
            worker = self._idle.pop()  # the last one used: its caches are warm, others may never have to start
            if not worker.lost:
                self._hand(worker, self._queue.popleft())
        self._start(min(len(self._queue) - self._starting, self.size - self._slots))

    def _hand(self, worker: Worker, batch: Batch) -> None:
        if batch.time_limit_s is None:
            worker.take(batch, None)
            return
        deadline = self._clock.monotonic() + batch.time_limit_s
        worker.take(batch, deadline)
        if deadline < self._alarm:
            self._nap.cancel()

    def _free(self, worker: Worker) -> None:
        """Callback of a worker that has nothing to do, having started or answered."""
        if worker not in self._workers:
            self._workers.add(worker)
            self._starting -= 1
            self._failures = 0
            self._notify()
        self._idle.append(worker)
        self._feed()

    def _start(self, number: int) -> None:
        if self._tasks is None:
            return
        for _ in range(number):
            self._slots += 1
            self._starting += 1
            self._tasks.start_soon(self._own_worker)

    async def _own_worker(self) -> None:
        """One worker, from start to end."""
        if self._failures:
            await self._clock.sleep(min(_BACKOFF_CAP_S, _BACKOFF_S * 2 ** min(self._failures - 1, 10)))
        try:
            worker = Worker(environment(self._threads), self._beat_s, self._free)
        except OSError as error:
            self._start_failed(f"{type(error).__name__}: {error.strerror}")
        else:
            reason = await worker.supervise()
            log.warning("worker lost", pid=worker.pid, reason=reason)
            if worker in self._workers:
                self._workers.remove(worker)
            else:
                self._start_failed(reason)
            if worker in self._idle:
                self._idle.remove(worker)
        self._slots -= 1
        self._notify()
        self._feed()

    def _start_failed(self, reason: str) -> None:
        self._starting -= 1
        self._failures += 1
        self._failure = f"could not start ({reason})"
        if self._failures >= _START_ATTEMPTS and not self._workers:
            self._fail_queue(self._failure)

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    def _fail_queue(self, reason: str) -> None:
        while self._queue:
            self._queue.popleft().end(reason)

    async def _keep_deadlines(self) -> None:
        while True:
            self._alarm = min((w.deadline for w in self._workers if w.deadline is not None), default=math.inf)
            with anyio.CancelScope() as self._nap:
                if self._alarm == math.inf:
                    await anyio.sleep_forever()
                await self._clock.sleep(max(0.0, self._alarm - self._clock.monotonic()))
            now = self._clock.monotonic()
            for worker in self._workers:
                if worker.deadline is not None and worker.deadline <= now:
                    worker.time_out()


def _verdict(batch: Batch) -> ExecutionError:
    if batch.timed_out:
        return ExecutionError("SimulationTimeout", f"ran longer than its limit of {batch.time_limit_s:g} s")
    return WorkerLost(batch.loss)

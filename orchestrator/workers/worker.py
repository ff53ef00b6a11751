"""The pool's side of one worker process: start it, feed it, watch it, end it.

Rules
-----
* A worker has at most one batch. Its answers free it; anything else that ends it is a *loss*, and a
  loss always goes the same way: `lose` kills the process group at once, `supervise` reaps the process
  and only then tells the batch, so whoever learns of a loss knows that nothing runs any more.
* Starting, sending, receiving and killing never wait; only `supervise` does.
* Supervision runs on the event loop's own time, not on the injected clock: the process it watches beats
  in real time, and moving a test's clock must not make it look dead.
* A worker that holds the interpreter lock in a long C call cannot beat. Silence therefore counts as
  death only if the process has used no processor time meanwhile (stopped, or stuck for good).
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import anyio
import structlog

from orchestrator.errors import ExecutionError
from orchestrator.workers import protocol
from orchestrator.workers.process import cpu_ticks, exit_reason, spawn, wants_processor
from orchestrator.workers.protocol import Answers, Beat, Decoder, Ready, Run

log = structlog.get_logger()

_START_LIMIT_S: Final = 30.0
_REAP_LIMIT_S: Final = 1.5
_MISSED_BEATS: Final = 3
_READ: Final = 2**18


class Batch:
    """One request on its way through the pool.

    Attributes:
        frame: The encoded `Run`.
        answers: What has come back so far, in order.
        done: Resolves when all answers are here or the worker is lost; never raises of itself.
        worker: The worker that has it.
        taken: A worker has or had it.
        loss: Why the missing answers are missing; empty while nothing is lost.
        timed_out: The loss was its own time limit.
    """

    def __init__(self, run: Run, payloads: Sequence[bytes], time_limit_s: float | None) -> None:
        self.frame = protocol.encode(run, payloads)
        self.number = run.number
        self.size = len(payloads)
        self.time_limit_s = time_limit_s
        self.answers: list[bytes | ExecutionError] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.worker: Worker | None = None
        self.taken = False
        self.loss = ""
        self.timed_out = False

    def end(self, loss: str = "") -> None:
        """Let the caller go on."""
        self.loss = loss
        self.worker = None
        if not self.done.done():  # the caller may have been canceled
            self.done.set_result(None)


class Worker:
    """A running process; made by the thread whose death shall end it.

    Args:
        environment: Variables set in the worker, beside those of this process.
        beat_s: Seconds between its signs of life.
        on_idle: Called when it becomes ready for a batch.

    Raises:
        OSError: The process could not be started.
    """

    def __init__(self, environment: Mapping[str, str], beat_s: float, on_idle: Callable[[Worker], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._beat_s = beat_s
        self._on_idle = on_idle
        self._decoder = Decoder()
        self._unsent = memoryview(b"")
        self._heard = False
        self._begun = anyio.Event()  # ready or lost
        self._lost = anyio.Event()
        self._loss = ""
        self._grace: asyncio.TimerHandle | None = None
        self.ready = False
        self.batch: Batch | None = None
        self.deadline: float | None = None
        self._socket, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = spawn(theirs.fileno(), environment, beat_s)
        except BaseException:
            self._socket.close()
            raise
        self._socket.setblocking(False)
        self._loop.add_reader(self._socket, self._readable)

    @property
    def pid(self) -> int:
        """Process id, which is also its process group and session."""
        return self._process.pid

    @property
    def lost(self) -> bool:
        """Whether it is dead or being killed."""
        return self._lost.is_set()

    def take(self, batch: Batch, deadline: float | None) -> None:
        """Send a batch; the worker must be ready and idle. `deadline` is kept for the pool."""
        self.batch, self.deadline = batch, deadline
        batch.worker, batch.taken = self, True
        self._unsent = memoryview(batch.frame)
        self._writable()
        if self._unsent and not self.lost:
            self._loop.add_writer(self._socket, self._writable)

    def abandon(self, grace_s: float) -> None:
        """Nobody waits for the batch any more: lose the worker unless it is done within the grace."""
        if not self.lost:
            self._grace = self._loop.call_later(grace_s, self.lose, "its caller left")

    def time_out(self) -> None:
        """The batch has reached its deadline."""
        if self.batch is not None:
            self.batch.timed_out = True
        self.lose("reached the time limit of its work")

    def lose(self, reason: str = "") -> None:
        """Kill the process group now. Without a reason the exit status is the reason."""
        if self.lost:
            return
        self._loss, self.deadline = reason, None
        self._end_grace()
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):  # gone already (macOS: EPERM for a group of zombies)
            log.debug("worker group was gone", pid=self.pid)
        self._lost.set()
        self._begun.set()

    async def supervise(self) -> str:
        """Watch over the process until it is lost or this is canceled; leaves no process behind.

        Returns:
            Why it was lost.
        """
        try:
            with anyio.move_on_after(_START_LIMIT_S):
                await self._begun.wait()
            if not self._begun.is_set():
                self.lose(f"did not start within {_START_LIMIT_S:g} s")
            await self._watch()
        finally:
            self.lose("the pool was closed")
            with anyio.move_on_after(_REAP_LIMIT_S, shield=True):
                await self._reap()
            reason = self._loss or exit_reason(self._process.returncode)
            if (batch := self.batch) is not None:
                batch.timed_out |= self._process.returncode == -signal.SIGXCPU
                self.batch = None
                batch.end(reason)
        return reason

    async def _watch(self) -> None:
        missed, cpu = 0, None
        while not self.lost:
            with anyio.move_on_after(self._beat_s):
                await self._lost.wait()
            if self._heard:
                missed, self._heard = 0, False
                continue
            missed += 1  # turns, not seconds: a stalled event loop makes no worker look dead
            before, cpu = cpu, cpu_ticks(self.pid)
            silent = missed >= _MISSED_BEATS and cpu == before and cpu is not None
            if silent and not wants_processor(self.pid):  # else it gets too little of a busy machine
                self.lose("stopped answering")

    async def _reap(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        pause_s = 0.001
        while self._process.poll() is None:  # killed above: soon over; a portable wait without a thread
            await anyio.sleep(pause_s)
            pause_s = min(2 * pause_s, 0.05)

    def _writable(self) -> None:
        try:
            self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except BlockingIOError:
            return
        except OSError:
            self.lose()
            return
        if not self._unsent:
            self._loop.remove_writer(self._socket)

    def _readable(self) -> None:
        try:
            data = self._socket.recv(_READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.lose()
            return
        self._heard = True
        try:
            for message, payloads in self._decoder.feed(data):
                self._receive(message, payloads)
        except protocol.ProtocolError as error:
            self.lose(f"sent a malformed message ({error})")

    def _receive(self, message: Ready | Beat | Run | Answers, payloads: list[bytes]) -> None:
        match message:
            case Beat():
                return
            case Ready() if not self.ready:
                self.ready = True
                self._begun.set()
                self._on_idle(self)
            case Answers() if self.batch is not None and message.number == self.batch.number:
                self._answered(self.batch, message, payloads)
            case _:
                raise protocol.ProtocolError("out of turn")

    def _answered(self, batch: Batch, message: Answers, payloads: list[bytes]) -> None:
        if len(payloads) != message.outcomes.count(None):
            raise protocol.ProtocolError("answers do not match payloads")
        remaining = iter(payloads)
        for failed in message.outcomes:
            batch.answers.append(next(remaining) if failed is None else failed.error())
        if len(batch.answers) > batch.size or self._unsent:
            raise protocol.ProtocolError("more answers than questions")
        if len(batch.answers) == batch.size:
            self.batch = self.deadline = None
            self._end_grace()
            batch.end()
            self._on_idle(self)

    def _end_grace(self) -> None:
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None

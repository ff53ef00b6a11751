"""The worker process: ``python -m orchestrator.workers.child DESCRIPTOR PARENT BEAT_S``.

Reads batches from the inherited socket, calls the named function on each payload, answers in order.
It never outlives its parent: the kernel kills it with the thread that started it (Linux), and the end
of its standard input ends it anywhere. Functions see an empty standard input, and what they print goes
to standard error, so neither can disturb the protocol or the parent's output.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import resource
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final

from orchestrator.errors import ExecutionError
from orchestrator.workers import protocol
from orchestrator.workers.limits import limit_cpu, limit_memory
from orchestrator.workers.protocol import Answers, Beat, Failed, Ready, Run

Function = Callable[[bytes], bytes]

#: Largest answer to one payload, bytes.
ANSWER_CAP: Final = protocol.FRAME_CAP // 2
#: Answers are sent together until they are this large, bytes.
_FLUSH: Final = 2**20

_PR_SET_PDEATHSIG: Final = 1


def tie_to_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends; exit if that has happened already."""
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        os._exit(0)


def shield_standard_streams() -> int:
    """Move the parent's pipe away from standard input, and standard output to standard error.

    Returns:
        The descriptor whose end says that the parent is gone.
    """
    guard = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return guard


def volunteer_for_oom() -> None:
    """When memory runs out the kernel shall take the worker, not the server (Linux)."""
    with contextlib.suppress(OSError):  # no such file elsewhere, or not allowed in this container
        Path("/proc/self/oom_score_adj").write_text("500")


class Channel:
    """The worker's end of the socket; sends whole frames from any thread."""

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._socket = socket.socket(fileno=descriptor)
        self.stream = self._socket.makefile("rb")
        self._sending = threading.Lock()

    def send(self, frame: bytes) -> None:
        with self._sending:
            self._socket.sendall(frame)

    def beat(self, guard: int, beat_s: float) -> None:
        """Thread: beat until the parent is gone, then exit at once, whatever is running."""
        frame = protocol.encode(Beat())
        while True:
            with contextlib.suppress(MemoryError):  # the job's limit; its own allocation fails too and reports it
                if select.select([guard], [], [], beat_s)[0]:
                    os._exit(0)
                try:
                    self.send(frame)
                except OSError:
                    os._exit(0)


class Executor:
    """Calls functions by name; imports each module when it is first named."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._functions: dict[str, Function] = {}

    def run(self, batch: Run, payloads: list[bytes]) -> None:
        """Answer one batch."""
        function = self._resolve(batch.call)  # before the limits: what it imports belongs to the process
        if batch.memory_bytes is not None:
            limit_memory(batch.memory_bytes)
        if batch.cpu_s is not None:
            limit_cpu(batch.cpu_s)
        outcomes: list[bytes | Failed] = []
        size = 0
        for payload in payloads:
            outcome = function if isinstance(function, Failed) else self._call(batch, function, payload)
            outcomes.append(outcome)
            size += len(outcome) if isinstance(outcome, bytes) else 0
            if size >= _FLUSH:
                self._answer(batch, outcomes)
                outcomes, size = [], 0
        if batch.memory_bytes is not None:
            limit_memory(None)
        if batch.cpu_s is not None:
            limit_cpu(None)
        if outcomes:
            self._answer(batch, outcomes)

    def _resolve(self, call: str) -> Function | Failed:
        if (known := self._functions.get(call)) is not None:
            return known
        module, _, name = call.partition(":")
        try:
            function: Function = getattr(importlib.import_module(module), name)
        except (Exception, SystemExit) as error:
            return _raised(call, error)
        self._functions[call] = function
        return function

    def _call(self, batch: Run, function: Function, payload: bytes) -> bytes | Failed:
        answer, starved = None, False
        try:
            answer = function(payload)
        except ExecutionError as error:
            return Failed.of(error)
        except MemoryError:
            starved = True  # reported below, where the traceback no longer holds the memory
        except (Exception, SystemExit) as error:
            return _raised(batch.call, error)
        if starved:
            return _out_of_memory(batch.memory_bytes)
        if not isinstance(answer, bytes):
            return _raised(batch.call, TypeError(f"{batch.call} returned {type(answer).__name__}, not bytes"))
        if len(answer) > ANSWER_CAP:
            return Failed("SimulationError", f"the result is larger than {ANSWER_CAP // 2**20} MiB")
        return answer

    def _answer(self, batch: Run, outcomes: list[bytes | Failed]) -> None:
        payloads = [outcome for outcome in outcomes if isinstance(outcome, bytes)]
        message = Answers(
            number=batch.number,
            sizes=tuple(map(len, payloads)),
            outcomes=tuple(outcome if isinstance(outcome, Failed) else None for outcome in outcomes),
        )
        self._channel.send(protocol.encode(message, payloads))


def _raised(call: str, error: BaseException) -> Failed:
    """What the caller may know; the rest goes to the log."""
    traceback.print_exception(error)
    return Failed("InternalError", f"{call} raised {type(error).__name__}")


def _out_of_memory(memory_bytes: int | None) -> Failed:
    limit = "is available" if memory_bytes is None else f"the {memory_bytes / 2**20:.0f} MiB it was given"
    return Failed("SimulationError", f"needs more memory than {limit}")


def main() -> None:
    """Serve batches until the parent closes the socket."""
    descriptor, parent, beat_s = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    tie_to_parent(parent)
    guard = shield_standard_streams()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    volunteer_for_oom()
    channel = Channel(descriptor)
    executor = Executor(channel)
    threading.Thread(target=channel.beat, args=(guard, beat_s), daemon=True, name="beat").start()
    channel.send(protocol.encode(Ready()))
    while (frame := protocol.read_frame(channel.stream)) is not None:
        message, payloads = frame
        if not isinstance(message, Run):
            raise protocol.ProtocolError(f"unexpected {type(message).__name__}")
        executor.run(message, payloads)


if __name__ == "__main__":
    main()

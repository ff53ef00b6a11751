"""Adapters that go wrong, each in its own way; installed as a distribution by `test_faulty_adapters`.

Imported by worker processes too: nothing here but the contract.
"""

import asyncio
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any, ClassVar

import anyio

from orchestrator.backends.abc import Adapter, AdapterContext, Attempt, Capabilities
from orchestrator.errors import CanceledByBackend, UserFault
from orchestrator.model import Result

#: A thread of `HangsInThread` is there; lets them go.
entered, released = threading.Event(), threading.Event()


def in_worker() -> bool:
    return "orchestrator.workers.child" in sys.orig_argv


class Lab(Adapter):
    """Serves a backend of its own name, well."""

    limits: ClassVar[dict[str, Any]] = {}

    async def open(self, context: AdapterContext) -> None:
        self.answer = context.settings.get("answer", 0)

    def capabilities(self) -> Sequence[Capabilities]:
        return [Capabilities(backend=self.name, qubits=4, concurrency=2, **self.limits)]

    async def run(self, attempt: Attempt) -> Any:
        return self.good(attempt)

    def good(self, attempt: Attempt) -> Result:
        outcome = self.answer
        counts = {outcome: attempt.job.spec.shots}
        return Result(qubits=2, probabilities={outcome: 1.0}, counts=counts, warnings=(f"process {os.getpid()}",))


class Isolated(Lab):
    """Well, in a worker process."""

    name = "isolated"
    isolation = "worker"


class IsolatedPlain(Lab):
    """Well, in a thread of a worker process."""

    name = "isolated_plain"
    isolation = "worker"

    def run(self, attempt: Attempt) -> Any:
        return self.good(attempt)


class Neighbour(Lab):
    name = "neighbour"


class FailsToOpen(Lab):
    name = "fails_to_open"

    async def open(self, context: AdapterContext) -> None:
        raise RuntimeError("no such device")


class ExitsAtOpen(Lab):
    name = "exits_at_open"

    async def open(self, context: AdapterContext) -> None:
        sys.exit("no such device")


class CannotBeIsolated(Lab):
    name = "cannot_be_isolated"
    isolation = "worker"

    async def cancel(self, attempt: Attempt) -> None:
        await super().cancel(attempt)


class Hangs(Lab):
    name = "hangs"
    limits: ClassVar[dict[str, Any]] = {"run_limit_s": 0.2}

    async def run(self, attempt: Attempt) -> Any:
        await anyio.sleep_forever()


class HangsInThread(Hangs):
    """In the server, and not in a worker process."""

    name = "hangs_in_thread"

    def run(self, attempt: Attempt) -> Any:
        if not in_worker():
            entered.set()
            released.wait()
        return self.good(attempt)


class HangsIsolated(Hangs):
    name = "hangs_isolated"
    isolation = "worker"

    def run(self, attempt: Attempt) -> Any:
        time.sleep(3600)


class Answers(Lab):
    """Answers what no result can be; the job's name says which."""

    name = "answers"

    async def run(self, attempt: Attempt) -> Any:
        half = attempt.job.spec.shots // 2
        answers: dict[str | None, Any] = {
            "counts": Result(qubits=2, probabilities={0: 1.0}, counts={0: half}),
            "nan": Result(qubits=2, probabilities={0: math.nan}),
            "inf": Result(qubits=2, probabilities={0: math.inf}),
            "negative": Result(qubits=2, probabilities={-1: 1.0}),
            "wide": Result(qubits=2, probabilities={4: 1.0}),
            "text": "0b11",
            "nothing": None,
            "member": Result(qubits="2", probabilities={0: 1.0}),  # type: ignore[arg-type]
            "object": Result(qubits=2, probabilities={0: object()}),  # type: ignore[dict-item]
        }
        return answers[attempt.job.spec.name]


class AnswersIsolated(Answers):
    name = "answers_isolated"
    isolation = "worker"


class Unheard(BaseException):
    """What no ``except Exception`` catches."""


class Raises(Lab):
    """Raises what the job's name says."""

    name = "raises"

    async def run(self, attempt: Attempt) -> Any:
        errors: dict[str | None, BaseException] = {
            "exit": SystemExit(1),
            "interrupt": KeyboardInterrupt(),
            "unheard": Unheard(),
            "value": ValueError("odd"),
            "user": UserFault("too hot", "InvalidInput"),
            "canceled": CanceledByBackend("maintenance"),
            "memory": MemoryError(),
        }
        raise errors[attempt.job.spec.name]


class RaisesPlain(Raises):
    name = "raises_plain"

    def run(self, attempt: Attempt) -> Any:
        coroutine = super().run(attempt)
        coroutine.send(None)


class RaisesIsolated(Raises):
    name = "raises_isolated"
    isolation = "worker"


class Kills(Lab):
    """Kills its process, unless the job is named ``well``."""

    name = "kills"
    isolation = "worker"

    def run(self, attempt: Attempt) -> Any:
        if attempt.job.spec.name != "well":
            os.kill(os.getpid(), signal.SIGKILL)
        return self.good(attempt)


class Floods(Lab):
    name = "floods"
    isolation = "worker"
    isolated_memory_mb = 64

    def run(self, attempt: Attempt) -> Any:
        return [bytearray(2**28) for _ in range(40)]


class Swallows(Lab):
    """Hangs, and goes on when it is canceled."""

    name = "swallows"
    limits: ClassVar[dict[str, Any]] = {"run_limit_s": 0.2}

    async def run(self, attempt: Attempt) -> Any:
        while True:
            try:
                await anyio.sleep_forever()
            except asyncio.CancelledError:
                continue


class SwallowsAtClose(Lab):
    """Well, until it is closed."""

    name = "swallows_at_close"

    async def aclose(self) -> None:
        await Swallows.run(self, None)  # type: ignore[arg-type]


class Leaks(Lab):
    """Leaves files open."""

    name = "leaks"

    async def run(self, attempt: Attempt) -> Any:
        self.left = [*getattr(self, "left", ()), *(open(__file__, "rb") for _ in range(50))]  # noqa: ASYNC230, SIM115
        return self.good(attempt)


class KeepsThreads(Lab):
    """Starts a thread that the interpreter waits for."""

    name = "keeps_threads"

    async def open(self, context: AdapterContext) -> None:
        await super().open(context)
        threading.Thread(target=released.wait, name="vendor").start()


class BlocksForGood(Lab):
    """Blocks the event loop of the server for ever; in a worker process all is well."""

    name = "blocks_for_good"

    async def run(self, attempt: Attempt) -> Any:
        while not in_worker():
            time.sleep(1e6)  # noqa: ASYNC251 - that is the fault
        return self.good(attempt)


class SpinsForGood(Lab):
    """Blocks the event loop for ever, and may not leave the server."""

    name = "spins_for_good"
    isolation = "server"

    async def run(self, attempt: Attempt) -> Any:
        while True:
            pass


class BlocksAtOpen(Lab):
    name = "blocks_at_open"

    async def open(self, context: AdapterContext) -> None:
        time.sleep(1e6)  # noqa: ASYNC251 - that is the fault


class Blocks(Lab):
    """Blocks the event loop of the server, and not that of a worker process."""

    name = "blocks"

    async def run(self, attempt: Attempt) -> Any:
        if not in_worker():
            time.sleep(0.15)  # noqa: ASYNC251 - that is the fault
        return self.good(attempt)

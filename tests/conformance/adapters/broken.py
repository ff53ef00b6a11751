"""Adapters with one fault each, the check that has to catch it, and words that have to stand in the finding."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import anyio
import msgspec
from anyio.lowlevel import checkpoint

from orchestrator.backends.abc import Adapter, AdapterContext, Attempt, Capabilities, Emit, Prepared, Ready
from orchestrator.circuits import ir
from orchestrator.errors import ExecutionError
from orchestrator.model import BackendState, Characterization, Cost, Failure, JobSpec, Result
from tests.conformance.adapters.sound import Sound, SoundBatch, SoundElsewhere, SoundStream

replace = msgspec.structs.replace
F = type[Adapter]


class Fault(NamedTuple):
    """One fault."""

    adapter: F
    check: str
    words: str


FAULTS: list[Fault] = []
#: Gives back what was leaked on purpose; for after the test.
RELEASES: list[Callable[[], object]] = []


def caught_by(check: str, words: str) -> Callable[[F], F]:
    """Say which check has to catch a fault, and a part of what it has to say."""

    def add(adapter: F) -> F:
        FAULTS.append(Fault(adapter, check, words))
        return adapter

    return add


@caught_by("told_once", "run_batch raised IndexError: two at most, at broken.py")
class RaisesForMany(SoundBatch):
    """Hidden by the orchestrator, which runs each of them again alone."""

    async def run_batch(self, attempts: Sequence[Attempt]) -> list[Result | ExecutionError]:
        if len(attempts) > 2:
            raise IndexError("two at most")
        return await super().run_batch(attempts)


@caught_by("told_once", "where it gives one for each")
class AnswersTooFew(SoundBatch):
    """Hidden by the orchestrator, which runs each of them again alone."""

    async def run_batch(self, attempts: Sequence[Attempt]) -> list[Result | ExecutionError]:
        answers = await super().run_batch(attempts)
        return answers[:2]


# -- results --------------------------------------------------------------------------------


class _Changed(Sound):
    """Changes results."""

    def changed(self, result: Result) -> Result:
        raise NotImplementedError

    def measured(self, attempt: Attempt) -> Result:
        return self.changed(super().measured(attempt))


@caught_by("bit_order", "the bits are reversed")
class ReversedBits(_Changed):
    def changed(self, result: Result) -> Result:
        def mirrored(key: int) -> int:
            return int(f"{key:0{result.qubits}b}"[::-1], 2)

        counts = result.counts or {}
        return replace(
            result,
            probabilities={mirrored(key): p for key, p in result.probabilities.items()},
            counts={mirrored(key): number for key, number in counts.items()},
        )


@caught_by("bit_order", "idle qubits were dropped")
class DropsIdleWires(Sound):
    def circuit(self, attempt: Attempt) -> ir.Circuit:
        return replace(ir.compact(attempt.circuit)[0], qubits=attempt.circuit.qubits)


@caught_by("registers", "of 2 declared qubits got a result of 1")
class WrongRegisterWidth(Sound):
    def circuit(self, attempt: Attempt) -> ir.Circuit:
        return ir.compact(attempt.circuit)[0]


@caught_by("plain_job", "counts sum to 101, not to the 100 shots")
class CountsOneTooMany(_Changed):
    def changed(self, result: Result) -> Result:
        counts = result.counts or {}
        return replace(result, counts={key: number + 1 for key, number in counts.items()})


@caught_by("plain_job", "invalid result")
class NotANumber(_Changed):
    def changed(self, result: Result) -> Result:
        return replace(result, probabilities=dict.fromkeys(result.probabilities, float("nan")))


@caught_by("plain_job", "probabilities sum to 0.9")
class NotNormalised(_Changed):
    def changed(self, result: Result) -> Result:
        return replace(result, probabilities={key: 0.9 * p for key, p in result.probabilities.items()})


@caught_by("plain_job", "the execution time is negative")
class NegativeTime(_Changed):
    def changed(self, result: Result) -> Result:
        return replace(result, execution_ms=-1)


@caught_by("plain_job", "more than a century")
class AbsurdTime(_Changed):
    def changed(self, result: Result) -> Result:
        return replace(result, execution_ms=2**70)


@caught_by("plain_job", "the cost is not an amount of a currency")
class NegativeCost(_Changed):
    def changed(self, result: Result) -> Result:
        return replace(result, cost=Cost(value=-1.0))


@caught_by("plain_job", "answered a dict")
class AnswersADictionary(Sound):
    async def run(self, attempt: Attempt) -> Any:
        return {"probabilities": {0: 1.0}}


@caught_by("plain_job", "counts has the key '00001'; outcomes are integers")
class TextForOutcomes(_Changed):
    def changed(self, result: Result) -> Result:
        return replace(result, counts={f"{key:05b}": number for key, number in (result.counts or {}).items()})


@caught_by("shots", "a job of 1 shots")
class AlwaysAHundredShots(Sound):
    def measured(self, attempt: Attempt) -> Result:
        job = replace(attempt.job, spec=replace(attempt.job.spec, shots=100))
        return super().measured(Attempt(job, attempt.number, attempt.input))


@caught_by("gates", "gpi2")
class RadiansForTurns(Sound):
    def circuit(self, attempt: Attempt) -> ir.Circuit:
        circuit = attempt.circuit
        if circuit.gateset == "qis":
            return circuit
        gates = (replace(gate, params=tuple(each / 6.283185 for each in gate.params)) for gate in circuit.gates)
        return replace(circuit, gates=tuple(gates))


@caught_by("gates", "cnot, its control")
class ControlAndTargetSwapped(Sound):
    def circuit(self, attempt: Attempt) -> ir.Circuit:
        gates = tuple(
            replace(gate, targets=gate.controls, controls=gate.targets) if len(gate.controls) == 1 else gate
            for gate in attempt.circuit.gates
        )
        return replace(attempt.circuit, gates=gates)


@caught_by("every_gate", "the smallest is the qis circuit: ")
class NoPhases(Sound):
    def circuit(self, attempt: Attempt) -> ir.Circuit:
        circuit = attempt.circuit
        return replace(circuit, gates=tuple(each for each in circuit.gates if each.name not in {"z", "s", "t"}))


@caught_by("entanglement", "Bell")
class ForgetsEntanglement(_Changed):
    def changed(self, result: Result) -> Result:
        everything = range(1 << result.qubits)
        flat = dict.fromkeys(everything, 1 / len(everything))
        return result if len(result.probabilities) == 1 else replace(result, probabilities=flat)


@caught_by("empty_circuit", "a circuit without gates failed")
class NeedsAGate(Sound):
    def circuit(self, attempt: Attempt) -> ir.Circuit:
        assert len(attempt.circuit.gates) > 0
        return attempt.circuit


@caught_by("gatesets", "a native circuit (gpi)")
class DeclaresWhatItCannotRun(Sound):
    def circuit(self, attempt: Attempt) -> ir.Circuit:
        if attempt.circuit.gateset == "native":
            raise ExecutionError("UnsupportedGate", "no native gates here")
        return attempt.circuit


# -- seeds ----------------------------------------------------------------------------------


@caught_by("other_seed", "with seeds of their own all counted")
class IgnoresTheSeed(Sound):
    def rng(self, attempt: Attempt) -> random.Random:
        return random.Random(4)


@caught_by("same_seed", "and then")
class GlobalRandomNumbers(Sound):
    def rng(self, attempt: Attempt) -> random.Random:
        return random.Random(random.random())


@caught_by("same_seed", "and then")
class OneGeneratorForAll(Sound):
    def rng(self, attempt: Attempt) -> random.Random:
        if not hasattr(self, "shared"):
            self.shared = random.Random(time.monotonic_ns())
        return self.shared


# -- cancel and telling ---------------------------------------------------------------------


@caught_by("cancel_stops", "kept the backend busy")
class SwallowsCancel(Sound):
    declared: ClassVar[dict[str, Any]] = {"concurrency": 1}

    async def run(self, attempt: Attempt) -> Result:
        until = time.monotonic() + (0.6 if attempt.job.spec.shots > 100 else 0)
        await checkpoint()
        while time.monotonic() < until:
            try:
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                continue
        return self.measured(attempt)


@caught_by("cancel_stops", "after the cancel")
class AnswersAfterCancel(SoundStream):
    async def cancel(self, attempt: Attempt) -> None:
        await super().cancel(attempt)
        self.context.workers._tasks.start_soon(self.late, attempt)  # type: ignore[union-attr]

    async def late(self, attempt: Attempt) -> None:
        await anyio.sleep(0.3)
        await self.emit.finished([(attempt, self.measured(attempt))])

    async def serve(self, backend: Capabilities, ready: Ready, emit: Emit) -> None:
        self.emit = emit
        await super().serve(backend, ready, emit)


@caught_by("cancel_anywhere", "serve raised")
class CrashesOnCancel(SoundStream):
    async def serve_one(self, attempt: Attempt, emit: Emit) -> None:
        await super().serve_one(attempt, emit)
        if attempt.id in self.stopped:
            raise RuntimeError("this cannot be")

    async def open(self, context: AdapterContext) -> None:
        self.stopped: set[str] = set()
        await super().open(context)

    async def cancel(self, attempt: Attempt) -> None:
        self.stopped.add(attempt.id)
        await super().cancel(attempt)


@caught_by("cancel_anywhere", "takes no more jobs")
class LosesItsLaneToCancel(Sound):
    declared: ClassVar[dict[str, Any]] = {"concurrency": 1}

    async def run(self, attempt: Attempt) -> Result:
        try:
            await anyio.sleep(0.001)
        finally:
            if attempt in self.stopped:
                await asyncio.shield(asyncio.get_running_loop().create_future())
        return self.measured(attempt)

    async def open(self, context: AdapterContext) -> None:
        self.stopped: set[Attempt] = set()

    async def cancel(self, attempt: Attempt) -> None:
        self.stopped.add(attempt)


@caught_by("told_once", "more than once")
class AnswersTwice(SoundStream):
    async def serve_one(self, attempt: Attempt, emit: Emit) -> None:
        await super().serve_one(attempt, emit)
        await emit.finished([(attempt, self.measured(attempt))])


@caught_by("told_once", "never handed to it")
class AnswersStrangers(SoundStream):
    async def serve_one(self, attempt: Attempt, emit: Emit) -> None:
        await super().serve_one(attempt, emit)
        await emit.finished([(Attempt(attempt.job, 99, attempt.input), self.measured(attempt))])


@caught_by("progress", "progress of 2.0")
class TooMuchProgress(SoundStream):
    async def step(self, attempt: Attempt, emit: Emit) -> Result:
        await emit.progress(attempt, 2.0)
        return self.measured(attempt)


@caught_by("progress", "it went back")
class ProgressGoesBack(SoundStream):
    async def step(self, attempt: Attempt, emit: Emit) -> Result:
        await emit.progress(attempt, 0.5)
        await emit.progress(attempt, 0.25)
        return self.measured(attempt)


@caught_by("many_jobs", "got the outcome")
class MixesUpTheBatch(SoundBatch):
    async def run_batch(self, attempts: Sequence[Attempt]) -> list[Result | ExecutionError]:
        return (await super().run_batch(attempts))[::-1]


@caught_by("many_jobs", "got the outcome")
class SharesStateBetweenLanes(Sound):
    async def run(self, attempt: Attempt) -> Result:
        self.current = attempt
        await anyio.sleep(0.001)
        return self.measured(self.current)


# -- attempts -------------------------------------------------------------------------------


@caught_by("back_pressure", "it held")
class TakesTooMuch(SoundStream):
    async def serve(self, backend: Capabilities, ready: Ready, emit: Emit) -> None:
        while True:
            for attempt in await ready.take(1_000, start=False):
                await self.serve_one(attempt, emit)


@caught_by("back_pressure", "it held")
class BeginsWithoutEnd(SoundStream):
    async def serve(self, backend: Capabilities, ready: Ready, emit: Emit) -> None:
        async with anyio.create_task_group() as tasks:
            while True:
                for attempt in await ready.take(1, start=False):
                    tasks.start_soon(self.serve_one, attempt, emit)


@caught_by("heartbeat", "an attempt that has ended")
class VouchesForTheDead(SoundStream):
    async def serve_one(self, attempt: Attempt, emit: Emit) -> None:
        await super().serve_one(attempt, emit)
        self.running.add(attempt)


@caught_by("heartbeat", "never handed")
class VouchesForStrangers(SoundStream):
    async def heartbeat(self, attempts: Sequence[Attempt]) -> Sequence[Attempt]:
        return [attempt for attempt in attempts if attempt.job.status]


@caught_by("lost_lease", "serve raised KeyError")
class KeepsAttemptsByJob(SoundStream):
    declared: ClassVar[dict[str, Any]] = {**SoundStream.declared, "concurrency": 2}

    async def serve(self, backend: Capabilities, ready: Ready, emit: Emit) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(super().serve, backend, ready, emit)

    async def serve_one(self, attempt: Attempt, emit: Emit) -> None:
        self.jobs[attempt.id] = attempt
        await super().serve_one(attempt, emit)
        del self.jobs[attempt.id]

    async def cancel(self, attempt: Attempt) -> None:
        await super().cancel(self.jobs.pop(attempt.id))

    async def open(self, context: AdapterContext) -> None:
        self.jobs: dict[str, Attempt] = {}
        await super().open(context)


@caught_by("recover", "which it was never handed")
class ClaimsStrangers(Sound):
    async def recover(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        return list(attempts)


@caught_by("crash", "did not end")
class AdoptsAndForgets(SoundStream):
    declared: ClassVar[dict[str, Any]] = {**SoundStream.declared, "recovers": True}

    async def recover(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        self.running.update(attempts)
        return list(attempts)


@caught_by("ended", "it does not follow Ready.ended")
class HearsOfNoEnds(SoundElsewhere):
    async def follow(self, ready: Ready) -> None:
        await anyio.sleep_forever()


@caught_by("ended", "it adopted jobs and did not name them")
class AdoptsAndNamesNone(SoundElsewhere):
    async def follow(self, ready: Ready) -> None:
        async for jobs in ready.ended():
            self.stop(jobs)


# -- declared -------------------------------------------------------------------------------


@caught_by("prepare_is_called", "nobody calls")
class PreparesInVain(Sound):
    async def prepare(self, attempts: Sequence[Attempt]) -> list[Prepared | Failure]:
        return [Prepared(compiled=attempt.input) for attempt in attempts]


@caught_by("prepare_repeatable", "prepare answers otherwise when asked again")
class PreparesOtherwise(SoundStream):
    numbers = itertools.count()

    async def prepare(self, attempts: Sequence[Attempt]) -> list[Prepared | Failure]:
        return [Prepared(compiled=attempt.input, native_gates_1q=next(self.numbers)) for attempt in attempts]


@caught_by("prepare_repeatable", "in another order")
class SortsWhatItPrepares(SoundStream):
    async def prepare(self, attempts: Sequence[Attempt]) -> list[Prepared | Failure]:
        return await super().prepare(sorted(attempts, key=lambda attempt: attempt.id))


@caught_by("capabilities", "capabilities changed")
class CapabilitiesChange(Sound):
    def capabilities(self) -> Sequence[Capabilities]:
        (told,) = super().capabilities()
        self.asked = getattr(self, "asked", 0) + 1
        return [replace(told, qubits=3 + self.asked)]


@caught_by("capabilities", "it raised RuntimeError: not twice")
class CapabilitiesOnce(Sound):
    def capabilities(self) -> Sequence[Capabilities]:
        if hasattr(self, "asked"):
            raise RuntimeError("not twice")
        self.asked = True
        return super().capabilities()


@caught_by("capabilities", "gatesets names none")
class UnknownGateSet(Sound):
    declared: ClassVar[dict[str, Any]] = {"gatesets": ("qis", "native", "pulse")}


@caught_by("state", "none of available")
class OddState(Sound):
    def state(self, backend: str) -> BackendState:
        return BackendState(backend=backend, status="tired")


@caught_by("state", "everybody who lists backends waits for it")
class SlowState(Sound):
    def state(self, backend: str) -> BackendState:
        time.sleep(0.06)
        return super().state(backend)


@caught_by("predictions", "predict_ms of 1 shots is -5")
class NegativePrediction(Sound):
    def predict_ms(self, spec: JobSpec) -> int:
        return -5


@caught_by("characterizations", "other ids")
class NewIdsEachTime(SoundStream):
    def initial_characterizations(self) -> Sequence[Characterization]:
        return [replace(self.calibration, id=self.context.new_id())]


@caught_by("characterizations", "which was never recorded")
class NamesNoRecord(_Changed):
    def changed(self, result: Result) -> Result:
        return replace(result, characterization_id="0198f000-0000-7000-8000-000000000000")


# -- the host -------------------------------------------------------------------------------


@caught_by("open", "aclose raised ValueError: already closed")
class CannotClose(Sound):
    async def aclose(self) -> None:
        raise ValueError("already closed")


@caught_by("open", "it did not open: RuntimeError: only one")
class OpensOnce(Sound):
    opened = False

    async def open(self, context: AdapterContext) -> None:
        if type(self).opened:
            raise RuntimeError("only one of a process")
        type(self).opened = True


@caught_by("close_anyway", "aclose of an adapter that was never opened raised AttributeError")
class ClosesOnlyWhatIsOpen(Sound):
    async def open(self, context: AdapterContext) -> None:
        self.link = anyio.Event()

    async def aclose(self) -> None:
        self.link.set()


@caught_by("leaves_nothing", "tasks running")
class LeaksATask(Sound):
    async def open(self, context: AdapterContext) -> None:
        self.task = asyncio.create_task(asyncio.sleep(3600))


@caught_by("leaves_nothing", "threads running")
class LeaksAThread(Sound):
    async def open(self, context: AdapterContext) -> None:
        event = threading.Event()
        threading.Thread(target=event.wait, daemon=True).start()
        RELEASES.append(event.set)


@caught_by("leaves_nothing", "child processes")
class LeaksAProcess(Sound):
    async def open(self, context: AdapterContext) -> None:
        command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE)  # noqa: ASYNC220 - it is quick
        RELEASES.append(process.communicate)


@caught_by("leaves_nothing", "files open")
class LeaksAFile(Sound):
    async def open(self, context: AdapterContext) -> None:
        descriptor = os.open(os.devnull, os.O_RDONLY)
        RELEASES.append(lambda: os.close(descriptor))


@caught_by("keeps_the_loop", "broken.py")
class BlocksTheLoop(Sound):
    async def run(self, attempt: Attempt) -> Result:
        time.sleep(0.2)  # noqa: ASYNC251 - the fault
        return self.measured(attempt)


@caught_by("output", "it printed 'running")
class Prints(Sound):
    async def run(self, attempt: Attempt) -> Result:
        print("running")  # noqa: T201 - the fault
        return self.measured(attempt)


@caught_by("plain_job", "did not end within")
class Hangs(Sound):
    async def run(self, attempt: Attempt) -> Result:
        await anyio.sleep_forever()
        raise AssertionError


@caught_by("plain_job", "blocked for good")
class BlocksForGood(Sound):
    async def run(self, attempt: Attempt) -> Result:
        threading.Event().wait()
        raise AssertionError


@caught_by("plain_job", "did not end within")
class NeverLetsGo(Sound):
    async def run(self, attempt: Attempt) -> Result:
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                continue


@caught_by("plain_job", "it is ready, and the adapter takes no more jobs")
class ServesNothing(SoundStream):
    async def serve(self, backend: Capabilities, ready: Ready, emit: Emit) -> None:
        await anyio.sleep_forever()


@caught_by("plain_job", "serve returned")
class ServesOnce(SoundStream):
    async def serve(self, backend: Capabilities, ready: Ready, emit: Emit) -> None:
        for attempt in await ready.take(1, start=False):
            await self.serve_one(attempt, emit)


@caught_by("plain_job", "failed: InternalError: the backend raised ZeroDivisionError: no ions, at broken.py:")
class Raises(Sound):
    async def run(self, attempt: Attempt) -> Result:
        raise ZeroDivisionError("no ions")


@caught_by("plain_job", "the backend raised AttributeError: 'RaisesInThread' object has no attribute 'ions'")
class RaisesInThread(Sound):
    def run(self, attempt: Attempt) -> Result:  # type: ignore[override]
        return self.ions  # type: ignore[attr-defined,no-any-return]


@caught_by("plain_job", "the backend raised KeyError: 'trap', at broken.py:")
class RaisesOfABatch(SoundBatch):
    async def run_batch(self, attempts: Sequence[Attempt]) -> list[Result | ExecutionError]:
        raise KeyError("trap")


@caught_by("plain_job", "the backend raised NotImplementedError: RunsNothing has neither run, nor run_batch, nor serve")
class RunsNothing(Adapter):
    name = "nothing"

    def capabilities(self) -> Sequence[Capabilities]:
        return [Capabilities(backend="nothing", qubits=1)]

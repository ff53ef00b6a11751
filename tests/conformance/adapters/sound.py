"""Adapters that keep their promises, in each form, to break them one by one."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Sequence
from contextlib import aclosing
from typing import Any, ClassVar

import anyio
from anyio.lowlevel import checkpoint

from orchestrator.backends.abc import (
    Adapter,
    AdapterContext,
    Attempt,
    Capabilities,
    Emit,
    Prepared,
    Ready,
)
from orchestrator.backends.guarding import guarded
from orchestrator.circuits import ir
from orchestrator.errors import ExecutionError, UserFault
from orchestrator.model import Characterization, Failure, Result
from orchestrator.testing.adapter_kit.simulating import probabilities


class Sound(Adapter):
    """One coroutine per job: an exact simulator of few qubits."""

    name = "sound"
    declared: ClassVar[dict[str, Any]] = {}

    def capabilities(self) -> Sequence[Capabilities]:
        return [
            Capabilities(**{"backend": "sound", "qubits": 4, "physics": "exact", "concurrency": 2, **self.declared})
        ]

    async def run(self, attempt: Attempt) -> Result:
        await anyio.sleep(0.001)
        return self.measured(attempt)

    def circuit(self, attempt: Attempt) -> ir.Circuit:
        return attempt.circuit

    def rng(self, attempt: Attempt) -> random.Random:
        return random.Random(attempt.job.spec.seed)

    def measured(self, attempt: Attempt) -> Result:
        circuit, shots = self.circuit(attempt), attempt.job.spec.shots
        told = probabilities(circuit)
        counts: dict[int, int] = {}
        for key in self.rng(attempt).choices(list(told), list(told.values()), k=shots):
            counts[key] = counts.get(key, 0) + 1
        return Result(qubits=circuit.qubits, probabilities=told, counts=counts, execution_ms=1)


class SoundBatch(Sound):
    """Batches."""

    declared: ClassVar[dict[str, Any]] = {"batch": 4}

    async def run_batch(self, attempts: Sequence[Attempt]) -> list[Result | ExecutionError]:
        await anyio.sleep(0.001)
        return [self.measured(attempt) for attempt in attempts]


class SoundStream(Sound):
    """The full form: a QPU that compiles, tells progress, is calibrated, vouches for what it runs."""

    declared: ClassVar[dict[str, Any]] = {
        "instant_prepare": False,
        "native_gates": ("gpi", "gpi2", "ms"),
        "kind": "qpu",
        "concurrency": 1,
    }

    async def open(self, context: AdapterContext) -> None:
        self.context = context
        self.running: set[Attempt] = set()
        known = context.characterizations.get("sound")
        self.calibration = known or Characterization(
            id=context.new_id(),
            backend="sound",
            recorded_at=context.clock.now_ms(),
            qubits=4,
            connectivity=list(itertools.combinations(range(4), 2)),
            fidelity={"1q": {"median": 1.0}, "2q": {"median": 1.0}},
            timing={"1q": 0.001},
        )

    def initial_characterizations(self) -> Sequence[Characterization]:
        return [self.calibration]

    async def prepare(self, attempts: Sequence[Attempt]) -> list[Prepared | Failure]:
        answers: list[Prepared | Failure] = []
        for attempt in attempts:
            await checkpoint()
            names = {gate.name for gate in attempt.circuit.gates}
            foreign = attempt.circuit.gateset == "native" and names - set(self.declared["native_gates"])
            if foreign:
                answers.append(Failure(code="UnsupportedGate", message=f"no {', '.join(sorted(foreign))}"))
            else:
                answers.append(Prepared(compiled=attempt.input, native_gates_1q=len(attempt.circuit.gates)))
        return answers

    def circuit(self, attempt: Attempt) -> ir.Circuit:
        if attempt.compiled is None:
            raise UserFault("the job has no compiled circuit")
        return ir.loads(attempt.compiled)

    async def serve(self, backend: Capabilities, ready: Ready, emit: Emit) -> None:
        while True:
            for attempt in await ready.take(1, start=False):
                await self.serve_one(attempt, emit)

    async def serve_one(self, attempt: Attempt, emit: Emit) -> None:
        with self.stoppable(attempt) as scope:
            self.running.add(attempt)
            try:
                if not await emit.started([attempt]):
                    return
                outcome = await guarded(self.step(attempt, emit), attempt)
            finally:
                self.running.discard(attempt)
        if not scope.cancelled_caught:
            await emit.finished([(attempt, outcome)])

    async def step(self, attempt: Attempt, emit: Emit) -> Result:
        for part in (0.25, 0.5, 0.75):
            await anyio.sleep(0.001)
            await emit.progress(attempt, part)
        return self.measured(attempt)

    async def heartbeat(self, attempts: Sequence[Attempt]) -> Sequence[Attempt]:
        return [attempt for attempt in attempts if attempt in self.running]


class SoundElsewhere(SoundStream):
    """Executions that outlive it: they run on a machine that all lives share, until they are collected or stopped."""

    declared: ClassVar[dict[str, Any]] = {**SoundStream.declared, "recovers": True}
    machine: ClassVar[dict[str, Result]] = {}

    async def open(self, context: AdapterContext) -> None:
        self.adopted: list[Attempt] = []
        await super().open(context)

    async def recover(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        self.adopted += [attempt for attempt in attempts if attempt.id in self.machine]
        self.running.update(self.adopted)
        return list(self.adopted)

    async def serve(self, backend: Capabilities, ready: Ready, emit: Emit) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.follow, ready)
            while self.adopted:
                await self.serve_one(self.adopted.pop(), emit)
            await super().serve(backend, ready, emit)

    async def follow(self, ready: Ready) -> None:
        async with aclosing(ready.ended(tuple(self.machine))) as ends:
            async for jobs in ends:
                self.stop(jobs)

    def stop(self, jobs: Iterable[str]) -> None:
        for job_id in jobs:
            self.machine.pop(job_id, None)

    async def step(self, attempt: Attempt, emit: Emit) -> Result:
        result = self.machine.setdefault(attempt.id, self.measured(attempt))
        await super().step(attempt, emit)
        return result

    async def serve_one(self, attempt: Attempt, emit: Emit) -> None:
        await super().serve_one(attempt, emit)
        self.stop([attempt.id])

    async def cancel(self, attempt: Attempt) -> None:
        self.stop([attempt.id])
        await super().cancel(attempt)

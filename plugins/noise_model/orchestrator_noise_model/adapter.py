"""The adapter of ``simulator``: ideal and noisy simulation in worker processes.

Only pure Python here: the server process never loads numerics because of this plugin.

Theory of operation
-------------------
Tiny jobs go to a worker together, so that the hop does not dominate; any other job goes alone and is
reported as soon as it is done. Jobs that take seconds never hold all workers at once (where
there are several), so that tiny ones always find one soon.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Final

import anyio
import msgspec

from orchestrator.backends.abc import Adapter, AdapterContext, Attempt, Capabilities, Emit, NoiseModel, Ready
from orchestrator.backends.guarding import guarded_batch
from orchestrator.errors import ExecutionError, SettingsError
from orchestrator.model import JobSpec, Result
from orchestrator_noise_model.estimate import Estimate, estimate
from orchestrator_noise_model.models import IDEAL, MODELS, QUBITS, Rates, load
from orchestrator_noise_model.task import CALL, Task

#: Most jobs in one batch, and the longest one of them, milliseconds.
_BATCH: Final = 64
_TINY_MS: Final = 5.0
#: Jobs beyond this leave one worker to the others, milliseconds.
_LONG_MS: Final = 1_000.0
#: Batches of tiny jobs on their way for each worker: one runs, one waits in front of it.
_AHEAD: Final = 2
#: Jobs that are not tiny and were taken but are not done; more stay in the queue.
_ALONE: Final = 64
#: A time limit is this many times the estimate, and at least so many seconds.
_PATIENCE: Final = 20.0
_LEAST_LIMIT_S: Final = 30.0

_decoder = msgspec.json.Decoder(Result)


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The adapter's table of the configuration.

    Attributes:
        models: A TOML file of more noise models, see ``configs/noise.example.toml``.
        time_limit_s: Longest run of one job, seconds; without it 20 times the estimate, at least 30.
        max_outcomes: Most outcomes of an ideal result; each takes about 30 bytes of the answer.
    """

    models: str | None = None
    time_limit_s: Annotated[float, msgspec.Meta(gt=0)] | None = None
    max_outcomes: Annotated[int, msgspec.Meta(ge=1)] = 2**20


class NoiseModelAdapter(Adapter):
    """Serves the backend ``simulator``."""

    name = "noise_model"

    async def open(self, context: AdapterContext) -> None:
        """Read the settings and the custom noise models.

        Raises:
            SettingsError: A setting or a model is wrong.
        """
        try:
            self._settings = msgspec.convert(dict(context.settings), Settings)
        except msgspec.ValidationError as error:
            raise SettingsError(f"noise_model: {error}") from error
        custom = {} if self._settings.models is None else load(Path(self._settings.models))
        self._models: dict[str, Rates] = {**MODELS, **custom}
        self._workers = context.workers
        size = context.workers.size
        self._batches = anyio.Semaphore(_AHEAD * size)
        self._alone = anyio.Semaphore(_ALONE)
        self._lanes = anyio.Semaphore(size)
        self._long_lanes = anyio.Semaphore(max(1, size - 1))

    def capabilities(self) -> Sequence[Capabilities]:
        models = {IDEAL: QUBITS} | {name: rates.qubits for name, rates in self._models.items()}
        return [
            Capabilities(
                backend="simulator",
                qubits=QUBITS,
                physics="exact",
                noise_models={name: NoiseModel(qubits=qubits) for name, qubits in models.items()},
                concurrency=_AHEAD * self._workers.size,
                batch=_BATCH,
            )
        ]

    def predict_ms(self, spec: JobSpec) -> int:
        return round(self._estimate(spec).ms)

    async def run_batch(self, attempts: Sequence[Attempt]) -> list[Result | ExecutionError]:
        """Execute attempts in one worker, one after the other."""
        estimates = [self._estimate(attempt.job.spec) for attempt in attempts]
        seconds = sum(cost.ms for cost in estimates) * 1e-3
        answers = await self._workers.run(
            CALL,
            [self._payload(attempt) for attempt in attempts],
            time_limit_s=self._settings.time_limit_s or max(_LEAST_LIMIT_S, _PATIENCE * seconds),
            memory_bytes=max(cost.memory_bytes for cost in estimates),
        )
        return [answer if isinstance(answer, ExecutionError) else _decoder.decode(answer) for answer in answers]

    async def serve(self, backend: Capabilities, ready: Ready, emit: Emit) -> None:
        """Take jobs as long as workers are free or few wait; see the module's theory of operation."""
        async with anyio.create_task_group() as tasks:
            while True:
                await self._batches.acquire()
                attempts = await self._known(await ready.take(backend.batch), emit)
                costs = [(attempt, self._estimate(attempt.job.spec).ms) for attempt in attempts]
                if tiny := [attempt for attempt, ms in costs if ms <= _TINY_MS]:
                    tasks.start_soon(self._run_tiny, tiny, emit)
                else:
                    self._batches.release()
                for attempt, ms in costs:
                    if ms > _TINY_MS:
                        await self._alone.acquire()
                        tasks.start_soon(self._run_alone, attempt, ms > _LONG_MS, emit)

    async def _known(self, attempts: Sequence[Attempt], emit: Emit) -> list[Attempt]:
        """Those with a noise model that is still there: custom ones may have gone since the job was accepted."""
        known, lost = [], []
        for attempt in attempts:
            noise = attempt.job.spec.noise
            if noise is None or noise.model == IDEAL or noise.model in self._models:
                known.append(attempt)
            else:
                message = f"the noise model {noise.model!r} is no longer configured"
                lost.append((attempt, ExecutionError("SimulationError", message)))
        if lost:
            await emit.finished(lost)
        return known

    async def _run_tiny(self, attempts: Sequence[Attempt], emit: Emit) -> None:
        try:
            outcomes = await guarded_batch(self.run_batch, attempts)
        finally:
            self._batches.release()
        await emit.finished(list(zip(attempts, outcomes, strict=True)))

    async def _run_alone(self, attempt: Attempt, long: bool, emit: Emit) -> None:
        try:
            with self.stoppable(attempt) as scope:
                async with AsyncExitStack() as held:
                    for lanes in (self._long_lanes, self._lanes) if long else (self._lanes,):
                        await held.enter_async_context(lanes)
                    (outcome,) = await guarded_batch(self.run_batch, [attempt])
        finally:
            self._alone.release()
        if not scope.cancelled_caught:
            await emit.finished([(attempt, outcome)])

    def _rates(self, spec: JobSpec) -> Rates | None:
        noise = spec.noise
        return None if noise is None or noise.model == IDEAL else self._models[noise.model]

    def _estimate(self, spec: JobSpec) -> Estimate:
        sizes = spec.stats
        return estimate(sizes.qubits, sizes.gates_1q, sizes.gates_2q, spec.shots, self._rates(spec))

    def _payload(self, attempt: Attempt) -> bytes:
        spec = attempt.job.spec
        return msgspec.json.encode(
            Task(
                circuit=msgspec.Raw(attempt.input),
                shots=spec.shots,
                seed=spec.seed,
                max_outcomes=self._settings.max_outcomes,
                rates=self._rates(spec),
            )
        )

"""The adapter of the simulated trapped-ion QPUs: each runs one job at a time, in order.

A QPU's job takes two kinds of time. Its *execution time* is that of the simulated device and is what
the result reports. Its *wall time* is what people wait: execution time x ``time_scale``, at most
``wall_limit_s``, or as long as the simulation takes if that is longer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import anyio
import msgspec
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
from orchestrator.backends.check import DEBIASING
from orchestrator.backends.guarding import guarded
from orchestrator.errors import ExecutionError, SettingsError
from orchestrator.model import BackendState, Characterization, Failure, Result
from orchestrator_trapped_ion import timing
from orchestrator_trapped_ion.calibration import Calibration, load
from orchestrator_trapped_ion.compiling import Submission, Terms, Verdict, effort, prepare
from orchestrator_trapped_ion.drift import belongs, drifted
from orchestrator_trapped_ion.measuring import (
    COMPILE_ATTEMPTS,
    COMPILE_LIMIT_S,
    COMPILE_MEMORY_BYTES,
    PATIENCE,
    Run,
    memory_bytes,
)

#: Circuits above either are prepared in a worker (settled: Rooms).
_INLINE_GATES: Final = 1_000
_INLINE_BYTES: Final = 128 * 1024
#: Progress is told at most so often within a run, and not more often than every so many seconds.
_PROGRESS_STEPS: Final = 10
_PROGRESS_S: Final = 0.1


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The adapter's table of the configuration.

    Attributes:
        time_scale: Wall time per execution time; 0 to wait for nothing.
        wall_limit_s: Longest wait for one job, seconds.
        max_wires: Most wires a circuit may touch; each more doubles memory and time of its simulation.
        simulation_limit_s: Longest estimated time of a job's simulation, seconds; longer ones fail at once.
        calibrations: A folder of ``*.toml`` that replace built-in devices or add some.
        seed: Of the drift.
    """

    time_scale: Annotated[float, msgspec.Meta(ge=0)] = 0.25
    wall_limit_s: Annotated[float, msgspec.Meta(ge=0)] = 5.0
    max_wires: Annotated[int, msgspec.Meta(ge=1, le=40)] = 25
    simulation_limit_s: Annotated[float, msgspec.Meta(gt=0)] = 300.0
    calibrations: str | None = None
    seed: int = 0


class TrappedIonAdapter(Adapter):
    """Serves one backend per calibration."""

    name = "trapped_ion"

    async def open(self, context: AdapterContext) -> None:
        """Read settings and calibrations; go on from the newest recorded characterizations.

        Raises:
            SettingsError: A setting or a calibration is wrong.
        """
        self._context = context
        self._settings = _settings(context.settings)
        overrides = self._settings.calibrations
        self._calibrations = load(None if overrides is None else Path(overrides))
        now, known = context.clock.now_ms(), context.characterizations
        fresh = {
            backend: calibration.characterization(context.new_id(), now)
            for backend, calibration in self._calibrations.items()
            if not belongs(calibration, known.get(backend))
        }
        self._current = {**known, **fresh}
        self._initial = [record for backend, record in fresh.items() if backend not in known]
        self._edited = {backend: record for backend, record in fresh.items() if backend in known}

    def capabilities(self) -> Sequence[Capabilities]:
        return [_capabilities(calibration) for calibration in self._calibrations.values()]

    def initial_characterizations(self) -> Sequence[Characterization]:
        return self._initial

    def state(self, backend: str) -> BackendState:
        current = self._current[backend]
        return BackendState(backend=backend, updated_at=current.recorded_at, characterization_id=current.id)

    def wall_ms(self, execution_ms: int) -> int:
        return timing.wall_ms(execution_ms, self._settings.time_scale, self._settings.wall_limit_s)

    # -- submitted: the compile step --------------------------------------------------------

    async def prepare(self, attempts: Sequence[Attempt]) -> list[Prepared | Failure]:
        outcomes = []
        for attempt in attempts:
            outcomes.append(await self._prepare(attempt))
            await checkpoint()  # the loop goes on between circuits
        return outcomes

    async def _prepare(self, attempt: Attempt) -> Prepared | Failure:
        spec = attempt.job.spec
        terms = Terms(
            calibration=self._calibrations[spec.backend],
            shots=spec.shots,
            settings=spec.settings,
            max_wires=self._settings.max_wires,
            simulation_limit_s=self._settings.simulation_limit_s,
        )
        if len(attempt.input) <= _INLINE_BYTES and effort(attempt.circuit) <= _INLINE_GATES:
            return prepare(attempt.circuit, terms).outcome
        payload = msgspec.json.encode(Submission(msgspec.Raw(attempt.input), terms))
        message = ""
        for _ in range(COMPILE_ATTEMPTS):
            try:
                answer = await self._worker(
                    "prepare", payload, time_limit_s=COMPILE_LIMIT_S, memory_bytes=COMPILE_MEMORY_BYTES
                )
            except ExecutionError as error:
                message = error.message
                if not error.retryable:
                    break
            else:
                return msgspec.json.decode(answer, type=Verdict).outcome
        return Failure(code="CompilationError", message=message)

    # -- ready and started: the queue of one ------------------------------------------------

    async def serve(self, backend: Capabilities, ready: Ready, emit: Emit) -> None:
        """Run jobs one by one, and record a characterization whenever its interval has passed."""
        calibration = self._calibrations[backend.backend]
        if (edited := self._edited.pop(backend.backend, None)) is not None:
            await emit.calibrated(edited)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._recalibrate, calibration, emit)
            while True:
                for attempt in await ready.take(1, start=False):
                    await self._serve_one(attempt, emit)

    async def _serve_one(self, attempt: Attempt, emit: Emit) -> None:
        with self.stoppable(attempt) as canceled:
            if not await emit.started([attempt]):
                return
            outcome = await guarded(self._execute(attempt, emit), attempt)
        if not canceled.cancelled_caught:
            await emit.finished([(attempt, outcome)])

    async def _execute(self, attempt: Attempt, emit: Emit) -> Result:
        """Simulate, then hold the QPU until the job's wall time is over."""
        clock = self._context.clock
        began = clock.monotonic()
        spec = attempt.job.spec
        if attempt.compiled is None:
            raise ExecutionError("CompilationError", "the job has no compiled circuit")
        run = Run(
            native=msgspec.Raw(attempt.compiled),
            characterization=self._current[spec.backend],
            shots=spec.shots,
            seed=spec.seed,
        )
        answer = await self._worker(
            "execute",
            msgspec.json.encode(run),
            time_limit_s=PATIENCE * self._settings.simulation_limit_s,
            memory_bytes=memory_bytes(min(spec.stats.qubits, self._settings.max_wires), spec.shots),
        )
        result = msgspec.json.decode(answer, type=Result)
        wall_s = self.wall_ms(result.execution_ms or 0) / 1000
        steps = min(_PROGRESS_STEPS, max(1, int(wall_s / _PROGRESS_S)))
        for step in range(1, steps + 1):
            left_s = began + wall_s * step / steps - clock.monotonic()
            if left_s > 0:
                await clock.sleep(left_s)
                if step < steps:
                    await emit.progress(attempt, step / steps)
        return result

    async def _worker(self, function: str, payload: bytes, *, time_limit_s: float, memory_bytes: int) -> bytes:
        [answer] = await self._context.workers.run(
            f"orchestrator_trapped_ion.job:{function}", [payload], time_limit_s=time_limit_s, memory_bytes=memory_bytes
        )
        if isinstance(answer, ExecutionError):
            raise answer
        return answer

    # -- calibration ------------------------------------------------------------------------

    async def _recalibrate(self, calibration: Calibration, emit: Emit) -> None:
        """Record characterizations for ever; the first when the interval since the last one has passed."""
        if calibration.drift is None:
            return
        clock, interval_s = self._context.clock, calibration.drift.interval_s
        while True:
            last = self._current[calibration.backend]
            age_s = (clock.now_ms() - last.recorded_at) / 1000
            await clock.sleep(min(max(interval_s - age_s, 0.0), interval_s))
            record = drifted(calibration, last, self._context.new_id(), clock.now_ms(), self._settings.seed)
            await emit.calibrated(record)
            self._current[calibration.backend] = record


def _settings(table: Mapping[str, Any]) -> Settings:
    try:
        settings = msgspec.convert(dict(table), Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"trapped_ion: {error}") from error
    if not math.isfinite(settings.time_scale + settings.wall_limit_s + settings.simulation_limit_s):
        raise SettingsError("trapped_ion: times and scales must be finite")
    return settings


def _capabilities(calibration: Calibration) -> Capabilities:
    return Capabilities(
        backend=calibration.backend,
        kind="qpu",
        qubits=calibration.qubits,
        native_gates=calibration.native_gates,
        physics="noisy",
        error_mitigations=(DEBIASING,),
        instant_prepare=False,
        cost_model=calibration.cost_model,
        prices=calibration.prices,
    )

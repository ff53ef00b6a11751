"""The adapter: ``lab.trap``, one ion trap behind a blocking driver.

Theory of operation
-------------------
`prepare` compiles to the trap's own pulses while a job is ``submitted``. `prepare` and `run` are plain functions: they
run in threads, and `run` blocks there on the instrument. `serve` is the usual one with a watch beside it, which asks
the instrument how it is every few seconds and tells what it hears: interlocks and silence as availability,
calibrations as such.
Each attempt runs under a tag of its own, by which `cancel` stops that one and never another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import combinations
from typing import Annotated, Final

import anyio
import anyio.to_thread
import msgspec

from lab_trap.driver import Trap, TrapError
from orchestrator.backends.abc import Adapter, AdapterContext, Attempt, Capabilities, Emit, Prepared, Ready
from orchestrator.circuits import Circuit, to_native
from orchestrator.circuits.ir import compact, dumps, loads
from orchestrator.errors import BackendFault, ExecutionError, InfrastructureFault, SettingsError
from orchestrator.model import Characterization, Failure, Result

BACKEND: Final = "lab.trap"
IONS: Final = 5
_NATIVE: Final = ("gpi", "gpi2", "ms", "nop")
#: Of a pulse on one ion, on two, and of what comes before and after a shot, milliseconds.
_PULSE_MS, _PAIR_MS, _SHOT_MS = 0.1, 0.6, 1.0


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table ``[plugins.lab_trap]``.

    Attributes:
        host: Address of the instrument.
        port: Its TCP port.
        patience_s: Longest silence of the instrument, seconds.
        watch_s: The instrument is asked how it is so often, seconds.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 7070
    patience_s: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    watch_s: Annotated[float, msgspec.Meta(gt=0)] = 5.0


class LabTrapAdapter(Adapter):
    """Serves ``lab.trap``, a trap of five ions that runs one program at a time."""

    name = "lab_trap"
    isolation = "server"  # the one instrument is spoken to from one process

    async def open(self, context: AdapterContext) -> None:
        """Read the settings, and stop what an earlier process may have left running.

        An instrument that is switched off is no reason to fail: the backend is there, and unavailable.

        Raises:
            SettingsError: A setting is wrong.
        """
        try:
            self._settings = msgspec.convert(dict(context.settings), Settings, strict=False)
        except msgspec.ValidationError as error:
            raise SettingsError(f"lab_trap: {error}") from error
        self._context = context
        self._trap = Trap(self._settings.host, self._settings.port, self._settings.patience_s)
        known = context.characterizations.get(BACKEND)
        self._calibrated_at = known.recorded_at if known else 0
        await self._stop()

    async def aclose(self) -> None:
        """Stop what runs: nobody is left to read it."""
        await self._stop()

    async def _stop(self) -> None:
        if (trap := getattr(self, "_trap", None)) is not None:  # a failed `open` has made none
            with suppress(OSError):  # it is off, as the watch will tell
                await anyio.to_thread.run_sync(trap.abort)

    def capabilities(self) -> list[Capabilities]:
        return [
            Capabilities(
                backend=BACKEND,
                kind="qpu",
                qubits=IONS,
                native_gates=_NATIVE,
                max_shots=10_000,
                physics="noisy",
                seeded=False,  # ions throw their own dice
                instant_prepare=False,
            )
        ]

    # -- submitted: the compile step --------------------------------------------------------

    def prepare(self, attempts: Sequence[Attempt]) -> list[Prepared | Failure]:
        """In a thread too: compiling a large circuit keeps nobody waiting."""
        return [_compiled(attempt) for attempt in attempts]

    # -- started: one program at a time -----------------------------------------------------

    def run(self, attempt: Attempt) -> Result:
        """Run the compiled program. In a thread: whatever it waits for, nobody else waits."""
        circuit, wires = compact(loads(attempt.compiled or attempt.input))
        try:
            status = self._trap.status()
            if status["ions"] != status["of"]:
                self._trap.load()
            shots = self._trap.run(_tag(attempt), list(_pulses(circuit)), attempt.job.spec.shots)
        except TrapError as error:
            raise _fault(error) from error
        except OSError as error:
            raise InfrastructureFault(f"the trap does not answer: {error}") from error
        counts = Counter(sum(1 << wire for ion, wire in enumerate(wires) if shot[ion] == "1") for shot in shots)
        return Result(
            qubits=attempt.circuit.qubits,
            counts=dict(counts),
            probabilities={outcome: number / len(shots) for outcome, number in counts.items()},
            execution_ms=_duration_ms(circuit, len(shots)),
        )

    async def cancel(self, attempt: Attempt) -> None:
        """Stop the instrument, then the wait for it."""
        try:
            await anyio.to_thread.run_sync(self._trap.abort, _tag(attempt))
        except OSError as error:
            raise InfrastructureFault(f"the trap does not answer: {error}") from error
        finally:
            await super().cancel(attempt)

    # -- beside the jobs --------------------------------------------------------------------

    async def serve(self, backend: Capabilities, ready: Ready, emit: Emit) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch, emit)
            await super().serve(backend, ready, emit)

    async def _watch(self, emit: Emit) -> None:
        """Tell of interlocks, silence and calibrations, for ever."""
        while True:
            try:
                status, found = await anyio.to_thread.run_sync(self._look)
            except (OSError, TrapError) as error:
                await emit.availability(False, f"the trap does not answer: {error}")
            else:
                closed = status["door"] == "closed"
                await emit.availability(closed, "" if closed else "the door is open")
                record = _characterization(self._context.new_id(), found)
                if record.recorded_at > self._calibrated_at:
                    await emit.calibrated(record)
                    self._calibrated_at = record.recorded_at
            await self._context.clock.sleep(self._settings.watch_s)

    def _look(self) -> tuple[dict[str, str], dict[str, str]]:
        return self._trap.status(), self._trap.calibration()


def _tag(attempt: Attempt) -> str:
    return f"{attempt.id}/{attempt.number}"


def _fault(error: TrapError) -> ExecutionError:
    """Whose fault it was. An ion lost or an open door says nothing about the job: it is tried again."""
    if error.code in {"lost", "interlock", "busy", "aborted"}:
        return InfrastructureFault(f"{error.code}: {error}")
    return BackendFault(f"the trap refused the program: {error}")


def _compiled(attempt: Attempt) -> Prepared | Failure:
    """Native gates that the trap has stay as they were written; everything else becomes such gates."""
    foreign = {gate.name for gate in attempt.circuit.gates} - set(_NATIVE)
    if attempt.circuit.gateset == "native" and foreign:
        return Failure(code="UnsupportedGate", message=f"{BACKEND} has no {', '.join(sorted(foreign))}")
    circuit = to_native(attempt.circuit, "ms").circuit
    pairs = sum(gate.name == "ms" for gate in circuit.gates)
    return Prepared(
        compiled=dumps(circuit),
        predicted_execution_ms=_duration_ms(circuit, attempt.job.spec.shots),
        native_gates_1q=sum(gate.name in {"gpi", "gpi2"} for gate in circuit.gates),
        native_gates_2q=pairs,
    )


def _pulses(circuit: Circuit) -> Iterator[str]:
    for gate in circuit.gates:
        if gate.name != "nop":
            yield " ".join((gate.name, *map(str, gate.targets), *map(repr, gate.params)))


def _duration_ms(circuit: Circuit, shots: int) -> int:
    pulses = sum(_PAIR_MS if gate.name == "ms" else _PULSE_MS for gate in circuit.gates)
    return round(shots * (pulses + _SHOT_MS))


def _characterization(record_id: str, found: dict[str, str]) -> Characterization:
    """What the instrument found out about itself, in the words of the vendor contract; times in seconds."""
    return Characterization(
        id=record_id,
        backend=BACKEND,
        recorded_at=int(found["at"]) * 1000,
        qubits=IONS,
        connectivity=list(combinations(range(IONS), 2)),
        fidelity={
            name: {"median": float(found[key])} for name, key in (("spam", "spam"), ("1q", "one"), ("2q", "two"))
        },
        timing={"1q": _PULSE_MS / 1000, "2q": _PAIR_MS / 1000},
    )

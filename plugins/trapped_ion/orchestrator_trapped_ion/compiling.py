"""The compile step: check whether this machine can simulate a job, compile it to native gates, predict its duration.

What the device can do has been compared before, see `orchestrator.backends.check`. Pure Python, so that small circuits
are prepared in the server process and large ones in a worker.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from orchestrator.backends.abc import Prepared
from orchestrator.backends.check import DEBIASING, mitigations
from orchestrator.circuits import ir
from orchestrator.circuits.native import to_native
from orchestrator.model import Failure
from orchestrator_trapped_ion.calibration import ONE_QUBIT, TWO_QUBIT, Calibration
from orchestrator_trapped_ion.measuring import simulation_s
from orchestrator_trapped_ion.timing import execution_ms


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What `prepare` needs to know beside the circuit.

    Attributes:
        settings: The ``settings`` of the job as submitted.
        max_wires: Most wires whose state fits this machine.
        simulation_limit_s: Longest noisy run that is worth beginning, seconds.
    """

    calibration: Calibration
    shots: int
    settings: dict[str, Any]
    max_wires: int
    simulation_limit_s: float


class Submission(msgspec.Struct, frozen=True):
    """A circuit (as `ir.dumps` wrote it) on its way to a worker."""

    circuit: msgspec.Raw
    terms: Terms


class Verdict(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer of `prepare`, in a form that travels; `prepared` counts only without a failure."""

    prepared: Prepared = Prepared()
    failure: Failure | None = None

    @property
    def outcome(self) -> Prepared | Failure:
        return self.failure or self.prepared


def prepare(circuit: ir.Circuit, terms: Terms) -> Verdict:
    """Check and compile; a circuit of native gates is kept as it was written."""
    calibration = terms.calibration
    wires = len(circuit.active)
    if wires > terms.max_wires:
        return _failed(
            "SimulationError",
            f"the state of {wires} wires takes {_mebibytes(wires)} MiB; "
            f"this machine is set to at most {terms.max_wires} wires, {_mebibytes(terms.max_wires)} MiB",
        )
    native = to_native(circuit, calibration.entangler, opt=_optimization(terms.settings)).circuit
    seconds = simulation_s(native, calibration, terms.shots)
    if seconds > terms.simulation_limit_s:
        return _failed(
            "SimulationError",
            f"{len(native.gates)} native gates on {wires} wires ({_mebibytes(wires)} MiB), {terms.shots} shots: "
            f"simulating the noise would take about {seconds:,.0f} s, the limit is {terms.simulation_limit_s:,.0f} s",
        )
    names = [gate.name for gate in native.gates]
    return Verdict(
        prepared=Prepared(
            compiled=ir.dumps(native),
            predicted_execution_ms=execution_ms(native, msgspec.to_builtins(calibration.timing), terms.shots),
            native_gates_1q=sum(name in ONE_QUBIT for name in names),
            native_gates_2q=sum(name in TWO_QUBIT for name in names),
            warnings=(_DEBIASED,) if DEBIASING in mitigations(terms.settings) else (),
        )
    )


_DEBIASED: Final = (
    "Debiasing changed nothing: it averages over assignments of the circuit to qubits, "
    "and all qubits of this simulated device have the same noise."
)


def effort(circuit: ir.Circuit) -> int:
    """Roughly how much the compiler has to do, in gates: wide gates become many (about the cube of their width)."""
    wide = (len(gate.terms) * len(gate.wires) or len(gate.wires) ** 3 for gate in circuit.gates if len(gate.wires) > 2)
    return len(circuit.gates) + sum(wide)


def _optimization(settings: dict[str, Any]) -> int:
    """`settings.compilation.opt` (reference, section 10.1); 1 where it is not given."""
    compilation = settings.get("compilation")
    opt = compilation.get("opt") if isinstance(compilation, dict) else None
    return 0 if opt == 0 else 1


def _failed(code: str, message: str) -> Verdict:
    return Verdict(failure=Failure(code=code, message=message))


def _mebibytes(wires: int) -> str:
    """Size of one complex128 statevector."""
    return f"{2 ** (wires + 4 - 20):,.0f}"

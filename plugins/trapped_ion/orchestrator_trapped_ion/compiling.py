"""The compile step: check a job against the device, compile it to native gates, predict its duration.

Pure Python, so that small circuits are prepared in the server process and large ones in a worker.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from orchestrator.backends.abc import Prepared
from orchestrator.circuits import ir
from orchestrator.circuits.native import to_native
from orchestrator.model import Failure
from orchestrator_trapped_ion.calibration import ONE_QUBIT, TWO_QUBIT, Calibration
from orchestrator_trapped_ion.measuring import simulation_s
from orchestrator_trapped_ion.timing import execution_ms

#: Fewest shots that can be split over variants (reference, section 10.2).
DEBIASING_SHOTS: Final = 500


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
    if circuit.gateset == "native":
        foreign = sorted({gate.name for gate in circuit.gates} - set(calibration.native_gates))
        if foreign:
            return _failed(
                "UnsupportedGate",
                f"{calibration.backend} has no {', '.join(foreign)}; "
                f"its native gates are {', '.join(calibration.native_gates)}",
            )
    wires = len(circuit.active)
    if wires > terms.max_wires:
        return _failed(
            "SimulationError",
            f"the state of {wires} wires takes {_mebibytes(wires)} MiB; "
            f"this machine is set to at most {terms.max_wires} wires, {_mebibytes(terms.max_wires)} MiB",
        )
    mitigation = _requested_mitigation(terms.settings)
    if "debiasing" in mitigation and terms.shots < DEBIASING_SHOTS:
        return _failed(
            "DebiasingError",
            f"debiasing needs at least {DEBIASING_SHOTS} shots, this job has {terms.shots}",
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
            warnings=tuple(_WARNINGS[name] for name in mitigation),
        )
    )


_WARNINGS: Final = {
    "debiasing": (
        "Debiasing changed nothing: it averages over assignments of the circuit to qubits, "
        "and all qubits of this simulated device have the same noise."
    ),
    "symmetry_verification": "Symmetry verification was not applied: this simulated device does not offer it.",
}


def effort(circuit: ir.Circuit) -> int:
    """Roughly how much the compiler has to do, in gates: wide gates become many (about the cube of their width)."""
    wide = (len(gate.terms) * len(gate.wires) or len(gate.wires) ** 3 for gate in circuit.gates if len(gate.wires) > 2)
    return len(circuit.gates) + sum(wide)


def _optimization(settings: dict[str, Any]) -> int:
    """`settings.compilation.opt` (reference, section 10.1); 1 where it is not given."""
    compilation = settings.get("compilation")
    opt = compilation.get("opt") if isinstance(compilation, dict) else None
    return 0 if opt == 0 else 1


def _requested_mitigation(settings: dict[str, Any]) -> list[str]:
    """Error mitigations asked for by name; `debias` is the older spelling (reference, section 10.1)."""
    asked = settings.get("error_mitigation")
    if not isinstance(asked, dict):
        return []
    names = {"debiasing": asked.get("debiasing") or asked.get("debias")}
    names["symmetry_verification"] = asked.get("symmetry_verification")
    return [name for name, wanted in names.items() if wanted]


def _failed(code: str, message: str) -> Verdict:
    return Verdict(failure=Failure(code=code, message=message))


def _mebibytes(wires: int) -> str:
    """Size of one complex128 statevector."""
    return f"{2 ** (wires + 4 - 20):,.0f}"

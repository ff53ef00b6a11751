"""The compile step: what is refused, what passes through, what is warned about."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestrator.backends.abc import Prepared
from orchestrator.circuits import ir
from orchestrator.model import Failure
from orchestrator_trapped_ion.calibration import load
from orchestrator_trapped_ion.compiling import Terms, prepare

DEVICES = load()
BELL = ir.Circuit(qubits=25, gates=(ir.Gate("h", (3,)), ir.Gate("x", (17,), controls=(3,))))


def outcome(
    circuit: ir.Circuit, backend: str = "qpu.aria-1", shots: int = 100, settings: dict[str, Any] | None = None
) -> Prepared | Failure:
    """The compile step's answer; 24 wires and 60 s of simulation at most."""
    terms = Terms(
        calibration=DEVICES[backend], shots=shots, settings=settings or {}, max_wires=24, simulation_limit_s=60.0
    )
    return prepare(circuit, terms).outcome


def native(*gates: ir.Gate) -> ir.Circuit:
    return ir.Circuit(qubits=25, gateset="native", gates=gates)


MS = ir.Gate("ms", (0, 1), params=(0.0, 0.0, 0.25))


@pytest.mark.parametrize(("backend", "entangler"), [("qpu.aria-1", "ms"), ("qpu.forte-1", "zz")])
def test_qis_is_compiled_to_the_native_gates_of_the_device(backend: str, entangler: str) -> None:
    """A compiled circuit has native gates alone, on the wires it had, counted and timed."""
    prepared = outcome(BELL, backend)
    assert isinstance(prepared, Prepared)
    assert prepared.compiled is not None
    compiled = ir.loads(prepared.compiled)
    names = [gate.name for gate in compiled.gates]
    assert (compiled.gateset, compiled.qubits, compiled.active) == ("native", 25, (3, 17))
    assert set(names) <= {"gpi", "gpi2", entangler}
    assert (prepared.native_gates_1q, prepared.native_gates_2q) == (len(names) - 1, 1)
    timing = DEVICES[backend].timing
    shot_s = timing.reset + (len(names) - 1) * timing.one_qubit + timing.two_qubit + timing.readout
    assert prepared.predicted_execution_ms == pytest.approx(100 * shot_s * 1000, abs=1)


def test_native_circuits_bypass_the_compiler() -> None:
    """Native gates are run as written, nop and identities included."""
    circuit = native(ir.Gate("gpi", (0,), params=(0.0,)), ir.Gate("nop", (0,)), ir.Gate("gpi", (0,), params=(0.0,)), MS)
    prepared = outcome(circuit)
    assert isinstance(prepared, Prepared)
    assert prepared.compiled == ir.dumps(circuit)
    assert (prepared.native_gates_1q, prepared.native_gates_2q) == (2, 1)


def test_too_many_wires_for_this_machine() -> None:
    """Touching more wires than the machine is set to fails before the start, naming both sizes; idle wires are free."""
    wide = native(*[ir.Gate("gpi", (wire,), params=(0.0,)) for wire in range(25)])
    failure = outcome(wide)
    assert isinstance(failure, Failure)
    assert failure.code == "SimulationError"
    assert "512 MiB" in failure.message
    assert "256 MiB" in failure.message
    assert isinstance(outcome(native(*wide.gates[1:])), Prepared)


def test_too_long_for_this_machine() -> None:
    """A run whose simulation would take too long fails at once; fewer shots of the same circuit are let through."""
    ring = [ir.Gate("ms", (wire, (wire + 1) % 20), params=(0.0, 0.0, 0.25)) for wire in range(20)]
    deep = native(*ring * 10)
    failure = outcome(deep, shots=100_000)
    assert isinstance(failure, Failure)
    assert (failure.code, "200 native gates on 20 wires" in failure.message) == ("SimulationError", True)
    assert isinstance(outcome(deep, shots=100), Prepared)


def test_repeated_shots_cost_nothing() -> None:
    """Narrow circuits are cheap at a million shots, whose errors repeat."""
    assert isinstance(outcome(BELL, shots=1_000_000), Prepared)


def test_empty_circuit() -> None:
    """A circuit without gates is prepared: reset and readout take their time."""
    prepared = outcome(ir.Circuit(qubits=25))
    assert isinstance(prepared, Prepared)
    assert (prepared.predicted_execution_ms, prepared.native_gates_1q, prepared.native_gates_2q) == (27, 0, 0)


@pytest.mark.parametrize("asked", [{"debiasing": True}, {"debias": True}, {"debiasing": {"phi_chi_twirling": {}}}])
def test_debiasing_asked_for(asked: dict[str, Any]) -> None:
    """A warning says that debiasing changes nothing here."""
    prepared = outcome(native(MS), shots=500, settings={"error_mitigation": asked})
    assert isinstance(prepared, Prepared)
    assert [warning.split()[0] for warning in prepared.warnings] == ["Debiasing"]


@pytest.mark.parametrize("mitigation", ["{}", "null", '{"debiasing": false}', '{"debiasing": null}', '"on"'])
def test_debiasing_not_asked_for(mitigation: str) -> None:
    """Nothing is refused or warned about where nothing was asked for, whatever the shots."""
    for shots in (1, 500):
        prepared = outcome(native(MS), shots=shots, settings={"error_mitigation": json.loads(mitigation)})
        assert isinstance(prepared, Prepared)
        assert prepared.warnings == ()

"""Calibrations: the built-in devices, overrides, and what a wrong file says."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.backends.abc import Prices
from orchestrator.errors import SettingsError
from orchestrator_noise_model.models import MODELS
from orchestrator_trapped_ion.calibration import load, parse

EXAMPLES = Path(__file__).parents[3] / "configs" / "calibrations"

MINIMAL = """
backend = "qpu.two"
qubits = 2
native_gates = ["gpi", "gpi2", "ms"]
fidelity = { 1q = 0.999, 2q = 0.99, spam = 0.995 }
timing = { 1q = 1e-5, 2q = 2e-4, readout = 3e-4, reset = 5e-5, t1 = 10.0, t2 = 0.5 }
"""


def test_builtin_devices() -> None:
    """Four devices come with the package, of the vendor's sizes and entangling gates."""
    devices = load()
    assert {name: (device.qubits, device.entangler) for name, device in devices.items()} == {
        "qpu.aria-1": (25, "ms"),
        "qpu.aria-2": (25, "ms"),
        "qpu.forte-1": (36, "zz"),
        "qpu.forte-enterprise-1": (36, "zz"),
    }


@pytest.mark.parametrize("model", ["aria-1", "aria-2", "forte-1", "forte-enterprise-1"])
def test_gates_are_as_noisy_as_the_simulators_model_of_the_name(model: str) -> None:
    """A QPU's fidelities are those of the depolarizing rates of its noise model: F = 1 - r/2 and 1 - 3r/4."""
    rates, fidelity = MODELS[model], load()[f"qpu.{model}"].fidelity
    assert fidelity.one_qubit == pytest.approx(1 - rates.one_qubit / 2, abs=1e-10)
    assert fidelity.two_qubit == pytest.approx(1 - 3 * rates.two_qubit / 4, abs=1e-10)


def test_characterization_has_what_the_wire_needs() -> None:
    """A characterization carries medians, times in seconds under the vendor's names, and all pairs."""
    record = load()["qpu.forte-1"].characterization("id", 5)
    assert (record.id, record.backend, record.recorded_at, record.qubits) == ("id", "qpu.forte-1", 5, 36)
    assert len(set(record.connectivity)) == 36 * 35 // 2
    assert record.fidelity["spam"] == {"median": 0.995}
    assert record.fidelity.keys() == {"1q", "2q", "spam"}
    assert record.timing == {"1q": 130e-6, "2q": 950e-6, "readout": 250e-6, "reset": 20e-6, "t1": 100.0, "t2": 1.0}


def test_examples_override_and_add() -> None:
    """The example folder replaces one built-in device, adds one, and leaves the others."""
    builtin, devices = load(), load(EXAMPLES)
    assert devices.keys() == builtin.keys() | {"qpu.lab-12"}
    assert devices["qpu.aria-1"].fidelity.two_qubit < builtin["qpu.aria-1"].fidelity.two_qubit
    assert devices["qpu.aria-2"] == builtin["qpu.aria-2"]
    assert devices["qpu.lab-12"].drift is None
    assert devices["qpu.lab-12"].prices == Prices(gate_1q=0.00003, gate_2q=0.0002, job_minimum=0.5)
    assert {device.prices for device in builtin.values()} == {None}


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ("qubits = 2", "qubits = 0", "qubits"),
        ("qubits = 2", "qubits = 2\ncolour = 'red'", "colour"),
        ("qubits = 2", "qubits = 2\ncost_model = 'by ear'", "cost_model"),
        ("qubits = 2", "qubits = 2\nprices = { gate_2q = -1.0 }", "prices.gate_2q"),
        ("2q = 0.99,", "2q = 1.5,", "fidelity"),
        ("t2 = 0.5", "t2 = 0.0", "timing.t2"),
        (', "ms"', "", "ms and zz"),
        ("backend =", "backend", "line 2"),
    ],
)
def test_wrong_calibration_is_refused_by_name(old: str, new: str, names: str) -> None:
    """A wrong file is a settings error that names the file and what is wrong in it."""
    assert parse(MINIMAL, "two.toml").backend == "qpu.two"
    with pytest.raises(SettingsError, match=r"two\.toml") as caught:
        parse(MINIMAL.replace(old, new), "two.toml")
    assert names in str(caught.value)


def test_empty_override_folder_is_refused(tmp_path: Path) -> None:
    """A folder without calibrations, or a missing one, is a mistake and not an empty override."""
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(SettingsError, match="no calibrations"):
            load(folder)

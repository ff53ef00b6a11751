"""A worker's job: results on the original wires, exact numbers, clear refusals; noise models and their file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from orchestrator.circuits import ir
from orchestrator.circuits.ir import Circuit, Gate
from orchestrator.errors import ExecutionError, SettingsError
from orchestrator.model import Result
from orchestrator_noise_model import estimate, models
from orchestrator_noise_model.job import execute
from orchestrator_noise_model.lowering import build_noisy
from orchestrator_noise_model.program import PauliChannel
from orchestrator_noise_model.task import Task

EXAMPLE = Path(__file__).parents[3] / "configs" / "noise.example.toml"
BELL = Circuit(qubits=2, gates=(Gate("h", (0,)), Gate("x", (1,), (0,))))


def run(circuit: Circuit, **members: Any) -> Result:
    members = {"shots": 100, "seed": 1, "max_outcomes": 2**20} | members
    task = Task(circuit=msgspec.Raw(ir.dumps(circuit)), **members)
    return msgspec.json.decode(execute(msgspec.json.encode(task)), type=Result)


def test_ideal_probabilities_are_exact_and_without_counts() -> None:
    """Halves and quarters are exactly that, zeros are left out, shots are ignored."""
    result = run(BELL, shots=7)
    assert (result.probabilities, result.counts, result.shots) == ({0: 0.5, 3: 0.5}, None, None)
    quarters = Circuit(qubits=2, gates=(Gate("h", (0,)), Gate("h", (1,)), Gate("z", (0,), (1,))))
    assert set(run(quarters).probabilities.values()) == {0.25}


@pytest.mark.parametrize("rates", [None, models.MODELS["aria-1"]])
def test_idle_wires_cost_nothing_and_read_zero(rates: models.Rates | None) -> None:
    """Two touched wires of 1,000 are a two-qubit simulation; keys are those of the original wires."""
    circuit = Circuit(qubits=1_000, gates=(Gate("h", (5,)), Gate("x", (998,), (5,))))
    result = run(circuit, rates=rates, shots=1_000)
    assert result.qubits == 1_000
    assert {0, 1 << 5 | 1 << 998} <= result.probabilities.keys() <= {0, 1 << 5, 1 << 998, 1 << 5 | 1 << 998}


@pytest.mark.parametrize("rates", [None, models.MODELS["aria-1"]])
def test_circuit_without_gates_reads_zero(rates: models.Rates | None) -> None:
    """No gates, no errors, outcome 0."""
    assert run(Circuit(qubits=3), rates=rates).probabilities == {0: 1.0}


def test_noisy_results_are_counts_over_shots() -> None:
    """Counts are those of the shots, probabilities multiples of 1/shots, repeated by the same seed."""
    first, again, other = (run(BELL, rates=models.MODELS["harmony"], shots=500, seed=seed) for seed in (1, 1, 2))
    assert first.counts is not None
    assert first.shots is not None
    assert {key: first.shots.count(key) for key in first.counts} == first.counts
    assert first.probabilities == {key: count / 500 for key, count in first.counts.items()}
    assert (first.counts, first.shots) == (again.counts, again.shots)
    assert first.shots != other.shots


def test_wide_gates_carry_noise_after_decomposition() -> None:
    """Channels act on one or two wires; ``nop`` carries none."""
    toffoli = Circuit(qubits=3, gates=(Gate("x", (2,), (0, 1)),))
    channels = [step for step in build_noisy(toffoli, models.MODELS["aria-1"]).steps if isinstance(step, PauliChannel)]
    assert len(channels) > 5
    assert {len(channel.wires) for channel in channels} == {1, 2}
    assert not build_noisy(
        Circuit(qubits=1, gates=(Gate("nop", (0,)),), gateset="native"), models.MODELS["aria-1"]
    ).steps


def test_too_large_for_the_machine_names_both_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit into memory is refused before it is allocated."""
    monkeypatch.setattr(estimate, "available_bytes", lambda: 100 * 2**20)
    circuit = Circuit(qubits=29, gates=tuple(Gate("h", (wire,)) for wire in range(29)))
    for rates, needed in ((None, "4,096 MiB"), (models.MODELS["forte-1"], "16,384 MiB")):
        with pytest.raises(ExecutionError, match=f"29 qubits needs {needed} .* 100 MiB available") as caught:
            run(circuit, rates=rates)
        assert caught.value.failure_code == "SimulationError"


def test_available_memory_is_told() -> None:
    """This machine says how much memory it has left."""
    available = estimate.available_bytes()
    assert available is None or available > 2**20


def test_too_many_outcomes_are_refused() -> None:
    """An answer that would be too large names the limit."""
    circuit = Circuit(qubits=7, gates=tuple(Gate("h", (wire,)) for wire in range(7)))
    assert len(run(circuit, max_outcomes=128).probabilities) == 128
    with pytest.raises(ExecutionError, match=r"more than 127 outcomes .*7 qubits have 128"):
        run(circuit, max_outcomes=127)


def test_published_rates_are_used_as_published() -> None:
    """Rates and width limits of the vendor's models; all names of the reference are there."""
    rates = {name: (model.one_qubit, model.two_qubit, model.qubits) for name, model in models.MODELS.items()}
    assert rates["aria-1"] == (0.0005, 0.0133, 25)
    assert rates["aria-2"] == (0.0006573333, 0.01856, 25)
    assert rates["forte-1"] == (0.00026666667, 0.00494933333, 29)
    assert rates["harmony"] == rates["harmony-1"] == rates["harmony-2"]
    assert list(rates["harmony"]) == pytest.approx([0.01, 1 / 30, 11])
    assert rates["forte-enterprise-1"][2] == 29


def test_example_file_holds_models() -> None:
    """The example in ``configs/`` loads."""
    custom = models.load(EXAMPLE)
    assert custom["lab-2026"] == models.Rates(one_qubit=0.0004, two_qubit=0.008, qubits=16)
    assert custom["clean-single-qubit"].qubits == models.QUBITS


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[models.a]\none_qubit = 0.1\n", "two_qubit"),
        ("[models.a]\none_qubit = 0.1\ntwo_qubit = 1.5\n", "<= 1.0"),
        ("[models.a]\none_qubit = 0.1\ntwo_qubit = 0.1\ncolour = 1\n", "colour"),
        ("[models.aria-1]\none_qubit = 0.1\ntwo_qubit = 0.1\n", "built in"),
        ("models = [", "Invalid value"),
    ],
)
def test_wrong_model_files_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    """The error names the file and what is wrong with it."""
    path = tmp_path / "noise.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=f"noise.toml.*{reason}"):
        models.load(path)


def test_missing_model_file_is_refused(tmp_path: Path) -> None:
    """A file that is not there is a settings error."""
    with pytest.raises(SettingsError, match=r"nowhere\.toml"):
        models.load(tmp_path / "nowhere.toml")


def test_estimates_grow_with_the_job() -> None:
    """A Bell pair is tiny; width, gates and shots make a job dearer; limits are finite."""
    bell = estimate.estimate(2, 1, 1, 100, None)
    assert bell.ms < 1
    wide, noisy, noisier = (
        estimate.estimate(20, 300, 300, 1_000, None),
        estimate.estimate(14, 150, 150, 1_000, models.MODELS["aria-1"]),
        estimate.estimate(14, 150, 150, 10_000, models.MODELS["aria-1"]),
    )
    assert bell.ms < wide.ms
    assert bell.ms < noisy.ms < noisier.ms
    assert wide.memory_bytes > 16 * 2**20
    assert json.dumps([wide.ms, noisier.ms], allow_nan=False)

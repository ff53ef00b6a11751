"""Noisy sampling: every way has the distribution of the exact density matrix, and a seed decides all."""

from __future__ import annotations

import os
import subprocess
import sys

import msgspec
import numpy as np
import pytest
from scipy.stats import chi2  # type: ignore[import-untyped]

from orchestrator.circuits import ir
from orchestrator_noise_model import engine, kernel, trajectories
from orchestrator_noise_model.job import execute
from orchestrator_noise_model.lowering import build_noisy
from orchestrator_noise_model.models import Rates
from orchestrator_noise_model.program import Apply, Floats, Integers, Program, dephasing
from orchestrator_noise_model.task import Task
from tests.unit.noise_model.test_noise_model_exact import random_circuit

RATES = Rates(one_qubit=0.02, two_qubit=0.06)
SHOTS = 40_000
#: A right sampler fails one test of this level in a million; seeds are fixed, so it passes for good.
LEVEL = 1e-6


def assert_distributed(outcomes: Integers, expected: Floats) -> None:
    """Pearson's chi-square test; outcomes expected less than five times count as one."""
    counts = np.bincount(outcomes, minlength=len(expected))
    mean = len(outcomes) * expected
    rare = mean < 5
    observed, mean = np.append(counts[~rare], counts[rare].sum()), np.append(mean[~rare], mean[rare].sum())
    if mean[-1] < 5:
        observed, mean = observed[:-1], mean[:-1]
    assert np.sum((observed - mean) ** 2 / mean) < chi2.isf(LEVEL, len(mean) - 1)


def noisy(qubits: int, gates: int = 30, seed: int = 1) -> Program:
    return build_noisy(random_circuit(qubits, gates, seed), RATES)


@pytest.mark.parametrize("qubits", [2, 3, 4, 5])
def test_trajectories_have_the_exact_distribution(qubits: int) -> None:
    """Shots grouped by their errors and run side by side follow the density matrix."""
    program = noisy(qubits, seed=qubits)
    outcomes = trajectories.sample(program, SHOTS, np.random.default_rng(qubits))
    assert_distributed(outcomes, engine.density_probabilities(program))


def test_many_errors_in_one_block_have_the_exact_distribution() -> None:
    """Corrections of several errors inside one fused block are applied in the order of time."""
    program = build_noisy(random_circuit(3, 60, seed=8), Rates(one_qubit=0.3, two_qubit=0.3))
    ends = Program(3, program.steps[-40:])
    outcomes = trajectories.sample(ends, 8_000, np.random.default_rng(8))
    assert_distributed(outcomes, engine.density_probabilities(ends))


def test_wide_trajectories_have_the_exact_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trajectories too wide to run side by side follow the density matrix too."""
    program = noisy(6, gates=16)
    expected = engine.density_probabilities(program)
    monkeypatch.setattr(kernel, "DIRECT", 2)
    monkeypatch.setattr(kernel, "LOCAL", 5)
    assert_distributed(trajectories.sample(program, 4_000, np.random.default_rng(2)), expected)


@pytest.mark.parametrize("exact", [True, False])
def test_front_door_has_the_exact_distribution(exact: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever way `sample` takes, misread qubits and dephasing included."""
    monkeypatch.setattr(engine, "density_is_cheaper", lambda program, shots: exact)
    plain = noisy(4)
    hadamard = np.array([[1, 1], [1, -1]]) / np.sqrt(2)
    steps = (*plain.steps, dephasing(0.2, 1), Apply(hadamard.astype(np.complex128), (1,)))
    program = Program(4, steps, np.array([0.0, 0.05, 0.1, 0.2]))
    assert_distributed(engine.sample(program, SHOTS, np.random.default_rng(3)), engine.density_probabilities(program))


def test_sampling_without_errors_misreads_qubits() -> None:
    """A program without channels is sampled from its ideal state; readout still errs."""
    program = Program(3, (), np.array([0.5, 0.0, 0.1]))
    outcomes = engine.sample(program, SHOTS, np.random.default_rng(4))
    assert_distributed(outcomes[outcomes & 2 == 0], np.array([0.45, 0.45, 0, 0, 0.05, 0.05, 0, 0]))
    assert not np.any(outcomes & 2)


def test_narrow_circuits_with_many_shots_take_the_density_matrix() -> None:
    """The cheaper way is chosen by the program and the number of shots."""
    assert engine.density_is_cheaper(noisy(4), 10_000)
    assert not engine.density_is_cheaper(noisy(12), 1_000)
    assert not engine.density_is_cheaper(noisy(13), 1_000_000)


def test_same_seed_same_outcomes_on_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outcomes of trajectories do not depend on how they are spread over threads; another seed gives others."""
    program = noisy(11, gates=60)
    first = trajectories.sample(program, 300, np.random.default_rng(7))
    monkeypatch.setattr(kernel, "processors", lambda: 5)
    np.testing.assert_array_equal(trajectories.sample(program, 300, np.random.default_rng(7)), first)
    assert np.any(trajectories.sample(program, 300, np.random.default_rng(8)) != first)


@pytest.mark.parametrize("qubits", [3, 12])
def test_counts_are_the_same_in_every_process(qubits: int) -> None:
    """A fresh process with another number of library threads counts the same."""
    task = Task(
        circuit=msgspec.Raw(ir.dumps(random_circuit(qubits, 40, seed=3))),
        shots=200,
        seed=11,
        max_outcomes=100,
        rates=RATES,
    )
    payload = msgspec.json.encode(task)
    program = "import sys; from orchestrator_noise_model.job import execute; "
    program += "sys.stdout.buffer.write(execute(sys.stdin.buffer.read()))"
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", program], input=payload, env=environment, check=True, stdout=-1)
    assert msgspec.json.decode(done.stdout)["shots"] == msgspec.json.decode(execute(payload))["shots"]

"""Drift: reproducible, mean reverting, and recognised as the device's own."""

from __future__ import annotations

import math
import statistics

import msgspec
import pytest

from orchestrator.model import Characterization
from orchestrator_trapped_ion.calibration import Calibration, Drift, load
from orchestrator_trapped_ion.drift import belongs, drifted

HOUR_MS = 3_600_000
ARIA = load()["qpu.aria-1"]


def with_drift(**changes: float) -> Calibration:
    """Aria with other figures of drift."""
    return msgspec.structs.replace(ARIA, drift=Drift(**changes))


def log_error(record: Characterization, name: str = "2q") -> float:
    """Logarithm of an error against the calibrated one."""
    reference = ARIA.characterization("", 0).fidelity[name]["median"]
    median = record.fidelity[name]["median"]
    assert median is not None
    assert reference is not None
    return math.log((1 - median) / (1 - reference))


def worse(factor: float) -> Characterization:
    """Aria with its two-qubit error multiplied."""
    fresh = ARIA.characterization("worse", 0)
    return msgspec.structs.replace(
        fresh, fidelity=fresh.fidelity | {"2q": {"median": 1 - factor * (1 - ARIA.fidelity.two_qubit)}}
    )


def test_same_seed_same_walk() -> None:
    """A walk is a function of seed, device and clock; another seed walks elsewhere."""

    def walk(seed: int) -> list[Characterization]:
        record, walked = ARIA.characterization("0", 0), []
        for step in range(1, 6):
            record = drifted(ARIA, record, str(step), step * HOUR_MS, seed)
            walked.append(record)
        return walked

    assert walk(1) == walk(1)
    assert [log_error(record) for record in walk(1)] != [log_error(record) for record in walk(2)]
    assert all(belongs(ARIA, record) for record in walk(1))
    assert all(record.timing["2q"] == ARIA.timing.two_qubit for record in walk(1))


def test_deviation_decays_exponentially() -> None:
    """Without kicks a deviation x becomes x e^(-t/tau), for one long step as for many short ones."""
    still = with_drift(spread=0.0, relaxation_s=86_400.0)
    once = drifted(still, worse(2.0), "one", 24 * HOUR_MS, 0)
    record = worse(2.0)
    for hour in range(1, 25):
        record = drifted(still, record, str(hour), hour * HOUR_MS, 0)
    assert log_error(once) == pytest.approx(math.log(2) / math.e, rel=1e-9)
    assert log_error(record) == pytest.approx(log_error(once), rel=1e-9)


def test_spread_in_the_long_run() -> None:
    """Samples far apart are independent normal deviates of mean 0 and the given standard deviation."""
    drift = with_drift(spread=0.2, relaxation_s=60.0)
    record, samples = worse(5.0), []
    for hour in range(1, 2_001):
        record = drifted(drift, record, "", hour * HOUR_MS, 7)
        samples.append(log_error(record))
    # Standard errors of mean and deviation of n normal samples: s / sqrt(n) and s / sqrt(2 n).
    assert abs(statistics.fmean(samples)) < 4.5 * 0.2 / math.sqrt(2_000)
    assert abs(statistics.stdev(samples) - 0.2) < 4.5 * 0.2 / math.sqrt(4_000)


def test_short_steps_move_little() -> None:
    """Over dt much shorter than tau the walk spreads as sigma sqrt(2 dt / tau)."""
    drift = with_drift(spread=0.2, relaxation_s=1e6)
    steps = [log_error(drifted(drift, worse(1.0), "", 10_000, seed)) for seed in range(2_000)]
    expected = 0.2 * math.sqrt(2 * 10 / 1e6)
    assert abs(statistics.stdev(steps) - expected) < 4.5 * expected / math.sqrt(4_000)


def test_edited_calibration_is_noticed() -> None:
    """A recording that the calibration can hardly have drifted to is not gone on from."""
    assert belongs(ARIA, worse(1.3))
    assert not belongs(ARIA, worse(3.0))
    assert not belongs(ARIA, None)
    assert not belongs(ARIA, msgspec.structs.replace(worse(1.0), qubits=24))
    assert not belongs(ARIA, msgspec.structs.replace(worse(1.0), timing=worse(1.0).timing | {"2q": 5e-4}))
    assert not belongs(msgspec.structs.replace(ARIA, drift=None), worse(1.01))
    stored = msgspec.json.decode(msgspec.json.encode(worse(1.0)), type=Characterization)
    assert belongs(msgspec.structs.replace(ARIA, drift=None), stored)

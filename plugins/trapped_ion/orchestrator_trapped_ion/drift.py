"""Drift: a device's errors and coherence times wander around their calibration and revert to it.

The logarithm x of (value / calibrated value) of each figure follows an Ornstein-Uhlenbeck process,
``dx = -x dt / tau + sigma sqrt(2 / tau) dW``. It is sampled without discretisation error at any
spacing (D. T. Gillespie, Phys. Rev. E 54, 2084 (1996)):

    x(t + dt) = x(t) e^{-dt/tau} + sigma sqrt(1 - e^{-2 dt/tau}) N(0, 1)

so its mean reverts to 0 and its standard deviation tends to sigma. Logarithms keep errors positive.
x is read back from the last recording: the walk has no other memory and goes on after a restart.
"""

from __future__ import annotations

import math
import random
from typing import Final

import msgspec

from orchestrator.model import Characterization
from orchestrator_trapped_ion.calibration import Calibration, Drift

COHERENCE_TIMES: Final = ("t1", "t2")
#: Standard deviations beyond which a recording cannot come from this calibration (odds of 2e-9 by chance).
_FOREIGN: Final = 6.0


def drifted(
    calibration: Calibration, last: Characterization, record_id: str, now_ms: int, seed: int
) -> Characterization:
    """The next characterization after `last`, at `now_ms` (Unix milliseconds).

    A function of its arguments alone (of `last`: when it was recorded and its figures). Gate, readout
    and reset times are those of the calibration: they are set, not found. The device must drift.
    """
    fresh = calibration.characterization(record_id, now_ms)
    drift = calibration.drift or Drift(spread=0)
    rng = random.Random(f"{seed}:{calibration.backend}:{last.recorded_at}:{now_ms}")
    decay = math.exp(-max(0, now_ms - last.recorded_at) / 1000 / drift.relaxation_s)
    spread = drift.spread * math.sqrt(1 - decay * decay)
    figures = _figures(fresh)
    for name, x in _deviations(fresh, last).items():
        figures[name] *= math.exp(x * decay + rng.gauss(0.0, spread))
    return msgspec.structs.replace(
        fresh,
        fidelity={name: {"median": 1 - min(figures[name], 1.0)} for name in fresh.fidelity},
        timing=fresh.timing | {name: figures[name] for name in COHERENCE_TIMES},
    )


def belongs(calibration: Calibration, recorded: Characterization | None) -> bool:
    """Whether `recorded` can be a drifted state of this calibration, rather than of one since edited."""
    if recorded is None:
        return False
    fresh = calibration.characterization(recorded.id, recorded.recorded_at)
    same_device = (
        recorded.qubits == fresh.qubits
        and recorded.fidelity.keys() == fresh.fidelity.keys()
        and recorded.timing | _found(fresh) == fresh.timing
    )
    if not same_device:
        return False
    limit = _FOREIGN * calibration.drift.spread if calibration.drift else 0.0
    return all(abs(x) <= limit + 1e-9 for x in _deviations(fresh, recorded).values())


def _figures(characterization: Characterization) -> dict[str, float]:
    """What drifts: errors (1 - fidelity) and coherence times, by name."""
    errors = {name: 1 - (figures["median"] or 0.0) for name, figures in characterization.fidelity.items()}
    return errors | _found(characterization)


def _found(characterization: Characterization) -> dict[str, float]:
    return {name: characterization.timing[name] for name in COHERENCE_TIMES}


def _deviations(fresh: Characterization, other: Characterization) -> dict[str, float]:
    """x of each figure; a perfect fidelity stays perfect."""
    references, figures = _figures(fresh), _figures(other)
    return {
        name: math.log(figures[name] / reference) if reference and figures[name] else 0.0
        for name, reference in references.items()
    }

"""What the adapter sends to a worker process; the answer is an `orchestrator.model.Result`."""

from __future__ import annotations

import msgspec

from orchestrator_noise_model.models import Rates

#: The worker's function, for `orchestrator.workers.pool.WorkerPool.run`.
CALL = "orchestrator_noise_model.job:execute"


class Task(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One execution.

    Attributes:
        circuit: As `orchestrator.circuits.ir.dumps` wrote it.
        rates: The noise model, or None for an exact, ideal simulation, which ignores shots and seed.
        max_outcomes: Most outcomes of an ideal result.
    """

    circuit: msgspec.Raw
    shots: int
    seed: int
    max_outcomes: int
    rates: Rates | None = None

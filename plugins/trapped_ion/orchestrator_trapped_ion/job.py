"""What runs in worker processes: the compile step of large circuits, and every noisy run.

Both functions take and give JSON (`msgspec`). Only this module and `noise` import numpy; the server
process never imports either.
"""

from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np

from orchestrator.circuits import ir
from orchestrator.model import Characterization, Result
from orchestrator_noise_model.engine import sample
from orchestrator_trapped_ion import compiling
from orchestrator_trapped_ion.measuring import Run
from orchestrator_trapped_ion.noise import noisy_program
from orchestrator_trapped_ion.timing import execution_ms

_submission = msgspec.json.Decoder(compiling.Submission)
_run = msgspec.json.Decoder(Run)


def prepare(payload: bytes) -> bytes:
    """`compiling.Submission` -> `compiling.Verdict`."""
    submission = _submission.decode(payload)
    return msgspec.json.encode(compiling.prepare(ir.loads(bytes(submission.circuit)), submission.terms))


def execute(payload: bytes) -> bytes:
    """`measuring.Run` -> `orchestrator.model.Result`."""
    run = _run.decode(payload)
    return msgspec.json.encode(measure(ir.loads(bytes(run.native)), run.characterization, run.shots, run.seed))


def measure(native: ir.Circuit, characterization: Characterization, shots: int, seed: int) -> Result:
    """Run a compiled circuit `shots` times; a function of its arguments alone.

    Wires that no gate touches cost nothing and read 0.
    """
    compact, wires = ir.compact(native)
    rng = np.random.default_rng(seed)
    outcomes = sample(noisy_program(compact, characterization), shots, rng).tolist()
    spread = {outcome: sum((outcome >> bit & 1) << wire for bit, wire in enumerate(wires)) for outcome in set(outcomes)}
    measured = [spread[outcome] for outcome in outcomes]
    counts = dict(sorted(Counter(measured).items()))
    return Result(
        qubits=native.qubits,
        probabilities={outcome: count / shots for outcome, count in counts.items()},
        counts=counts,
        shots=measured,
        execution_ms=execution_ms(native, characterization.timing, shots),
        characterization_id=characterization.id,
    )

"""What a noisy run is told, and what it may cost; shared by the server and the workers, without numerics."""

from __future__ import annotations

from typing import Final

import msgspec

from orchestrator.model import Characterization, JobSpec

#: Statevectors held at one time: the shared prefix, a branch of it, and the engine's second buffer.
_STATES: Final = 4
#: One shot as outcome, as Python integer and as JSON, bytes.
_SHOT_BYTES: Final = 256
#: Longest a noisy run may take on this machine, seconds.
TIME_LIMIT_S: Final = 600.0


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a noisy run depends on. `native` is the compiled circuit as `ir.dumps` wrote it."""

    native: msgspec.Raw
    characterization: Characterization
    shots: int
    seed: int


def memory_bytes(spec: JobSpec) -> int:
    """What a run of this job may allocate."""
    return _STATES * (16 << spec.stats.qubits) + _SHOT_BYTES * spec.shots + 64 * 2**20

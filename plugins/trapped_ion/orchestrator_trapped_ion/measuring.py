"""What a noisy run is told, and what it may cost; shared by the server and the workers, without numerics."""

from __future__ import annotations

from typing import Final

import msgspec

from orchestrator.model import Characterization

#: Statevectors held at one time: the shared prefix, a branch of it, and the engine's second buffer.
_STATES: Final = 4
#: One shot as outcome, as Python integer and as JSON, bytes.
_SHOT_BYTES: Final = 256
#: Longest a noisy run, and the compilation of a large circuit, may take on this machine, seconds.
RUN_LIMIT_S: Final = 600.0
COMPILE_LIMIT_S: Final = 120.0
COMPILE_MEMORY_BYTES: Final = 2 * 2**30


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a noisy run depends on. `native` is the compiled circuit as `ir.dumps` wrote it."""

    native: msgspec.Raw
    characterization: Characterization
    shots: int
    seed: int


def memory_bytes(wires: int, shots: int) -> int:
    """What a run that touches so many wires may allocate."""
    return _STATES * (16 << wires) + _SHOT_BYTES * shots + 64 * 2**20

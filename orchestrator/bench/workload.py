"""What the bench runs: a Bell circuit on a backend that costs nothing, through the normal dispatch path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import anyio

from orchestrator.backends.abc import Adapter, Attempt, Capabilities, Emit, Ready
from orchestrator.circuits.ir import Circuit, Gate
from orchestrator.errors import ExecutionError
from orchestrator.model import JobRequest, Result

BACKEND: Final = "bench.noop"
BELL: Final = Circuit(qubits=2, gates=(Gate("h", (0,)), Gate("x", (1,), (0,))))
REQUEST: Final = JobRequest(backend=BACKEND, circuits=(BELL,))
RESULT: Final = Result(qubits=2, probabilities={0: 0.5, 3: 0.5})

_LANES: Final = 2
_BATCH: Final = 256


class NoopAdapter(Adapter):
    """Answers every job at once.

    Args:
        held: Take no job at all, so that submits are measured alone.
    """

    name = "bench"

    def __init__(self, *, held: bool = False) -> None:
        super().__init__()
        self._held = held

    def capabilities(self) -> Sequence[Capabilities]:
        return [Capabilities(backend=BACKEND, qubits=2, concurrency=_LANES, batch=_BATCH)]

    async def run_batch(self, attempts: Sequence[Attempt]) -> list[Result | ExecutionError]:
        return [RESULT for _ in attempts]

    async def serve(self, backend: Capabilities, ready: Ready, emit: Emit) -> None:
        if self._held:
            await anyio.sleep_forever()
        await super().serve(backend, ready, emit)

"""What runs in a worker process: one circuit in, one result out, both as JSON."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
import numpy as np

from orchestrator.circuits import ir
from orchestrator.errors import ExecutionError
from orchestrator.model import Result
from orchestrator_noise_model import engine, estimate
from orchestrator_noise_model.kernel import Numbers
from orchestrator_noise_model.lowering import build, build_noisy
from orchestrator_noise_model.program import Floats, Integers
from orchestrator_noise_model.task import Task

#: Digits of exact probabilities; clients compare them with 0.25 (reference, section 8).
_DIGITS: Final = 12
#: A wide state is read in pieces of so many amplitudes.
_PIECE: Final = 2**20

_decoder = msgspec.json.Decoder(Task)


def execute(payload: bytes) -> bytes:
    """`task.Task` -> `orchestrator.model.Result`.

    Raises:
        ExecutionError: ``SimulationError``: too large for this machine or for an answer.
    """
    task = _decoder.decode(payload)
    return msgspec.json.encode(simulate(ir.loads(bytes(task.circuit)), task))


def simulate(circuit: ir.Circuit, task: Task) -> Result:
    """The result of a circuit; keys are outcomes of the circuit's own wires, idle ones read 0."""
    begun = time.perf_counter()
    if task.rates is None:
        result = _ideal(circuit, task.max_outcomes)
    else:
        program = build_noisy(circuit, task.rates)
        estimate.require(estimate.noisy_bytes(program.qubits), program.qubits)
        sampled = engine.sample(program, task.shots, np.random.default_rng(task.seed))
        seen, places, numbers = np.unique(sampled, return_inverse=True, return_counts=True)
        keys = spread(seen, circuit.active)
        counts = dict(zip(keys, numbers.tolist(), strict=True))
        result = Result(
            qubits=circuit.qubits,
            probabilities={key: count / task.shots for key, count in counts.items()},
            counts=counts,
            shots=[keys[place] for place in places.tolist()],
        )
    return msgspec.structs.replace(result, execution_ms=round(1e3 * (time.perf_counter() - begun)))


def spread(outcomes: Integers, wires: Sequence[int]) -> list[int]:
    """Outcomes of compact qubits as outcomes of the wires they were, which may be beyond 64 bits."""
    compact: list[int] = outcomes.tolist()
    if all(bit == wire for bit, wire in enumerate(wires)):
        return compact
    return [sum(1 << wire for bit, wire in enumerate(wires) if outcome >> bit & 1) for outcome in compact]


def _ideal(circuit: ir.Circuit, max_outcomes: int) -> Result:
    program = build(circuit)
    estimate.require(estimate.state_bytes(program.qubits, len(program.steps)), program.qubits)
    state = engine.statevector(program)
    total = sum(float(weights.sum()) for _, weights in _pieces(state))
    found: list[Integers] = []
    values: list[Floats] = []
    number = 0
    for first, weights in _pieces(state):
        rounded = np.round(weights / total, _DIGITS)
        (places,) = np.nonzero(rounded)
        number += len(places)
        found.append(places + first)
        values.append(rounded[places])
        if number > max_outcomes:
            raise ExecutionError(
                "SimulationError",
                f"the result has more than {max_outcomes:,} outcomes of nonzero probability "
                f"({program.qubits} qubits have {state.size:,}); no answer can hold them",
            )
    keys = spread(np.concatenate(found), circuit.active)
    return Result(qubits=circuit.qubits, probabilities=dict(zip(keys, np.concatenate(values).tolist(), strict=True)))


def _pieces(state: Numbers) -> Iterator[tuple[int, Floats]]:
    """Squared amplitudes in double precision, piece by piece, each with the index of its first."""
    for first in range(0, state.size, _PIECE):
        piece = state[first : first + _PIECE]
        yield first, piece.real.astype(np.float64) ** 2 + piece.imag.astype(np.float64) ** 2

"""The kernel: matrices applied to a vector of ``2**n`` numbers, as fast as matrix products allow.

Theory of operation
-------------------
A matrix on k qubits is one call of BLAS if those qubits are the leading axes of the array. Bringing
them there is a permutation, cheap while the array fits in the cache. So:

* A **small** array, ``(2**n, columns)``, lives in two buffers. Each step gathers into the other
  buffer with its qubits in front and multiplies back. The order of the qubits is tracked, and restored at the end.
* A **large** vector is worked on in pieces of `LOCAL` qubits: all steps within some set of `LOCAL` qubits
  (`fusion.group`) run on one piece after the other, each copied to a buffer and back. The lowest qubits belong to
  every set, so that pieces are copied in whole cache lines. Pieces are independent and spread over
  threads, each product runs on one thread: the bits of the result do not depend on their number.

The numbers are complex64 or complex128 amplitudes, or float64 Pauli coefficients (`density`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from orchestrator_noise_model.fusion import apply_small, fuse, group, mask_of
from orchestrator_noise_model.program import Apply, Integers

#: complex64, complex128 or float64.
Numbers: TypeAlias = NDArray[Any]

#: Up to this width steps run one by one: fusing them would cost more than it saves.
DIRECT: Final = 10
#: Qubits of a piece of a large vector: 512 KiB of complex64; smaller ones lose more to calls than they gain in cache.
LOCAL: Final = 16
#: The lowest qubits, in every piece: 16 numbers, at least one cache line.
LOW: Final = 4
#: Qubits of a fused matrix; measured best of 3 to 6 in both precisions.
FUSED: Final = 4


@dataclass(frozen=True, eq=False, slots=True)
class Move:
    """One step of a plan: take the rows in this order, then multiply the leading axes.

    Attributes:
        order: int64 ``(2**n,)``, or None where the rows stand right.
        matrix: Acts on the leading axes of `rows`; None in the last move, which only restores the order.
        rows: Those whose control qubits are all 1; everything where there are none.
    """

    order: Integers | None
    matrix: Numbers | None = None
    rows: slice | None = None


def processors() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


def single_threaded() -> AbstractContextManager[Any]:
    """Within it, a matrix product runs on the thread that calls it."""
    limits: AbstractContextManager[Any] = _libraries().limit(limits=1, user_api="blas")
    return limits


def plan(steps: Sequence[Apply], wires: Sequence[int], dtype: np.dtype[Any]) -> list[Move]:
    """How to run `steps` on an array whose first axis runs over `wires`, the most significant first.

    One move per step, and a last one that restores the order of the wires.
    """
    size, current = len(wires), list(wires)
    table = np.arange(1 << size).reshape((2,) * size)
    moves = []

    def order(front: Sequence[int]) -> Integers | None:
        nonlocal current
        wanted = [*front, *(wire for wire in current if wire not in front)]
        if wanted == current:
            return None
        axes = [current.index(wire) for wire in wanted]
        current = wanted
        return table.transpose(axes).reshape(-1)

    for step in steps:
        rows = slice((1 << size) - (1 << (size - len(step.controls))), None) if step.controls else None
        moves.append(Move(order(step.controls + step.wires), step.matrix.astype(dtype), rows))
    moves.append(Move(order(wires)))
    return moves


def execute(moves: Sequence[Move], front: Numbers, back: Numbers) -> tuple[Numbers, Numbers]:
    """Run moves on `front`, ``(2**n,)`` or ``(2**n, columns)``, with `back` as the second buffer.

    Returns the buffers again, the one that holds the result first.
    """
    for move in moves:
        if move.order is not None:
            np.take(front, move.order, axis=0, out=back, mode="clip")  # "raise" would copy through a third buffer
            front, back = back, front
        if move.matrix is None:
            continue
        size = len(move.matrix)
        if move.rows is None:
            np.matmul(move.matrix, front.reshape(size, -1), out=back.reshape(size, -1))
            front, back = back, front
        else:
            acted = front[move.rows].reshape(size, -1)
            acted[...] = move.matrix @ acted
    return front, back


def run(steps: Sequence[Apply], vector: Numbers, *, fused: int = FUSED) -> None:
    """Apply `steps` in place to `vector`, ``(2**n,)``, qubit 0 the least significant.

    Needs little memory beside the vector.
    """
    qubits = vector.size.bit_length() - 1
    if qubits <= DIRECT:
        wires = range(qubits - 1, -1, -1)
        values = vector
        for step in steps:
            values = apply_small(step, values, wires)
        vector[...] = values
        return
    if qubits <= LOCAL:
        moves = plan(fuse(steps, fused), range(qubits - 1, -1, -1), vector.dtype)
        with single_threaded():
            vector[...] = execute(moves, vector.copy(), np.empty_like(vector))[0]
        return
    with single_threaded(), ThreadPoolExecutor(processors()) as pool:
        for found in group([mask_of(step) for step in steps], LOCAL, base=(1 << LOW) - 1):
            members = [steps[index] for index in found.members]
            if len(found.wires) > LOCAL:
                _run_controlled(members[0], vector)
            else:
                _run_pieces(found.wires, fuse(members, fused), vector, pool)


def _run_controlled(step: Apply, vector: Numbers) -> None:
    """Run a step wider than a piece: nearly all its qubits are controls, so few amplitudes move."""
    qubits = vector.size.bit_length() - 1
    axes = [qubits - 1 - wire for wire in step.controls + step.wires]
    rest = [axis for axis in range(qubits) if axis not in axes]
    acted = vector.reshape((2,) * qubits).transpose(axes + rest)[(1,) * len(step.controls)]
    moved = step.matrix.astype(vector.dtype) @ acted.reshape(len(step.matrix), -1)
    acted[...] = moved.reshape(acted.shape)


def _run_pieces(inner: Sequence[int], steps: Sequence[Apply], vector: Numbers, pool: ThreadPoolExecutor) -> None:
    """Run steps that touch only the `inner` qubits on one piece of the vector after the other."""
    qubits = vector.size.bit_length() - 1
    outer = [wire for wire in range(qubits - 1, -1, -1) if wire not in inner]
    axes = [qubits - 1 - wire for wire in (*outer, *inner)]
    pieces = vector.reshape((2,) * qubits).transpose(axes)
    moves = plan(steps, inner, vector.dtype)

    def work(numbers: range) -> None:
        front, back = np.empty((2, 1 << len(inner)), vector.dtype)
        for number in numbers:
            piece = pieces[tuple(number >> bit & 1 for bit in range(len(outer) - 1, -1, -1))]
            np.copyto(front.reshape(piece.shape), piece)
            front, back = execute(moves, front, back)
            np.copyto(piece, front.reshape(piece.shape))

    count = 1 << len(outer)
    share = -(-count // processors())
    for done in [pool.submit(work, range(first, min(first + share, count))) for first in range(0, count, share)]:
        done.result()

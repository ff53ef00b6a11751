"""Fusion: many small matrices become few larger ones.

A step costs one pass over the state whatever its size, and a matrix product runs the faster the larger the
matrix is, until its 2**k multiplications per amplitude dominate. So steps that share wires are
multiplied together first. The same grouping, with a wider limit, finds the steps that can run on one
cache-sized piece of a large state (`kernel`), and the places where errors join a block (`trajectories`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator_noise_model.program import Apply, Integers, Step

#: How many of the steps that could begin a group are tried.
_SEEDS = 6
#: One-qubit steps are absorbed wherever their qubit goes; they weigh little in the choice of a group.
_LONE_WEIGHT = 0.3


@dataclass(frozen=True, eq=False, slots=True)
class Group:
    """Steps that can run together.

    Attributes:
        wires: Their qubits, descending.
        members: Their indices, ascending.
    """

    wires: tuple[int, ...]
    members: tuple[int, ...]


def mask_of(step: Step) -> int:
    """The step's qubits as a bit set."""
    wires = step.wires + step.controls if isinstance(step, Apply) else step.wires
    return sum(1 << wire for wire in wires)


def group(masks: Sequence[int], limit: int, base: int = 0) -> list[Group]:
    """Split steps, given by their bit sets, into groups of at most `limit` qubits.

    Running the groups in order, each with its members in order, equals running the steps in
    order: a step joins only if no earlier step left outside shares a qubit with it. A step wider than
    `limit` (with `base`) stands alone. `base` is a set of qubits that every group contains.

    Greedy: among groups grown from the first few steps that are free to run, with and without
    insisting that a step shares a qubit with its group, the one of most weight for its cost wins.
    """
    everything = 0
    for mask in masks:
        everything |= mask
    waiting = list(range(len(masks)))
    groups = []
    while waiting:
        _, chosen, members = max(
            (
                _grow(masks, waiting, seed, base, limit=limit, connected=connected)
                for seed in _free(masks, waiting, everything)
                for connected in (False, True)
            ),
            key=lambda grown: grown[0],
        )
        taken = set(members)
        waiting = [index for index in waiting if index not in taken]
        groups.append(Group(_wires_of(chosen), tuple(members)))
    return groups


def _wires_of(mask: int) -> tuple[int, ...]:
    return tuple(wire for wire in range(mask.bit_length() - 1, -1, -1) if mask >> wire & 1)


def _free(masks: Sequence[int], waiting: Sequence[int], everything: int) -> list[int]:
    """The first few steps that share no qubit with an earlier waiting step."""
    seen, free = 0, []
    for index in waiting:
        if not masks[index] & seen:
            free.append(index)
            if len(free) == _SEEDS:
                break
        seen |= masks[index]
        if seen == everything:
            break
    return free


def _grow(
    masks: Sequence[int], waiting: Sequence[int], seed: int, base: int, *, limit: int, connected: bool
) -> tuple[float, int, list[int]]:
    """A group of waiting steps around one: its weight for its cost, its qubits, its members."""
    chosen = masks[seed] | base
    if chosen.bit_count() > limit:
        return 1.0, chosen, [seed]
    blocked, weight, members = 0, 0.0, []
    for index in waiting:
        mask = masks[index]
        if not mask & blocked and (chosen | mask).bit_count() <= limit and (mask & chosen or not connected):
            chosen |= mask
            members.append(index)
            weight += 1.0 if mask & (mask - 1) else _LONE_WEIGHT
        else:
            blocked |= mask
            if not chosen & ~blocked:  # nothing more can join: its own qubits are all in use by steps outside
                break
    return weight / (1.0 + 2.0 ** (chosen.bit_count() - limit)), chosen, members


@lru_cache(maxsize=4096)
def _orders(size: int, axes: tuple[int, ...]) -> tuple[Integers, Integers]:
    """Orders of rows that bring `axes` (0 = most significant) of a ``2**size`` long index to the front, and back."""
    table = np.arange(1 << size)
    rest = tuple(axis for axis in range(size) if axis not in axes)
    forth = table.reshape((2,) * size).transpose(axes + rest).reshape(-1)
    back = np.empty_like(forth)
    back[forth] = table
    return forth, back


def apply_small(step: Apply, rows: NDArray[Any], wires: Sequence[int]) -> NDArray[Any]:
    """`step` on the first axis of `rows`, ``(2**k, columns)``, whose most significant letter is ``wires[0]``.

    For at most about ten wires: the orders of rows are kept. Returns a new array.
    """
    axes = tuple([wires.index(wire) for wire in step.controls + step.wires])
    forth, back = _orders(len(wires), axes)
    rows = rows[forth]
    if step.controls:
        acted = rows.reshape(1 << len(axes), -1)[-len(step.matrix) :]
        acted[...] = step.matrix @ acted
    else:
        rows = (step.matrix @ rows.reshape(len(step.matrix), -1)).reshape(rows.shape)
    return rows[back]


def fuse(steps: Sequence[Apply], limit: int) -> list[Apply]:
    """Fewer, larger steps with the same product; a step wider than `limit` stays as it is."""
    fused = []
    for found in group([mask_of(step) for step in steps], limit):
        if len(found.wires) > limit:
            fused.append(steps[found.members[0]])
            continue
        matrix = np.eye(1 << len(found.wires), dtype=steps[found.members[0]].matrix.dtype)
        for index in found.members:
            matrix = apply_small(steps[index], matrix, found.wires)
        fused.append(Apply(matrix, found.wires))
    return fused

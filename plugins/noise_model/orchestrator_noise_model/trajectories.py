"""Noisy sampling by trajectories, without running every shot.

Theory of operation
-------------------
Depolarizing, dephasing and bit flips are random Pauli errors whose probabilities do not depend on the
state. So *which* errors happen in which shot is drawn first, for all shots at once. Then:

* Shots with the same errors share one trajectory; the many without errors share the ideal run.
* A trajectory leaves the ideal run at its first error: trajectories are sorted by it, and each begins from
  the ideal state there.
* Steps are fused into blocks, channels included. A block with product M = S G, where the error P happens
  after G, acts as S P G = (S P S^dagger) M: the block runs as if nothing had happened, and then one small matrix
  acts on the trajectory. So trajectories that begin near each other run together as columns of
  one array, and only the columns with an error in a block are touched one by one.

Every shot's outcome is drawn with a uniform number of its own, so that neither the order of the
trajectories nor the number of threads changes an outcome.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import numpy as np

from orchestrator_noise_model import kernel
from orchestrator_noise_model.density import pauli
from orchestrator_noise_model.fusion import Group, apply_small, group, mask_of
from orchestrator_noise_model.kernel import Move, Numbers
from orchestrator_noise_model.program import Apply, Complexes, Floats, Integers, PauliChannel, Program

_DTYPE: Final = np.dtype(np.complex64)
#: Qubits of a fused block.
_FUSED: Final = 5
#: Codes of the Pauli strings of one channel.
_CODES: Final = 16


@dataclass(frozen=True, eq=False, slots=True)
class Error:
    """A Pauli string (`kind`, see `PauliChannel`) drawn from the channel at index `step`."""

    step: int
    kind: int


@dataclass(frozen=True, eq=False, slots=True)
class Trajectory:
    """Errors in the order of time, and the shots in which exactly these happened."""

    errors: tuple[Error, ...]
    shots: Integers


@dataclass(frozen=True, eq=False, slots=True)
class Block:
    """Fused steps.

    Attributes:
        whole: Their product M, on `wires`.
        before: For each channel among them where an error was drawn: the product G of the steps before it.
    """

    whole: Apply
    before: dict[int, Complexes] = field(default_factory=dict)

    def correction(self, error: Error, wires: tuple[int, ...]) -> Numbers:
        """What acts after the whole block to make up for the error: S P S^dagger with S = M G^dagger."""
        before = self.before[error.step]
        suffix = self.whole.matrix @ before.conj().T
        string = Apply(pauli(error.kind, len(wires)), wires)
        hit = apply_small(string, suffix.conj().T, self.whole.wires)
        correction: Numbers = (suffix @ hit).astype(_DTYPE)
        return correction


def sample(program: Program, shots: int, rng: np.random.Generator) -> Integers:
    """Outcomes of `shots` runs with perfect readout, int64 ``(shots,)``."""
    trajectories = draw(program, shots, rng)
    uniforms = rng.random(shots)
    outcomes = np.empty(shots, dtype=np.int64)
    run = _Run(program, trajectories, uniforms, outcomes)
    if program.qubits <= kernel.LOCAL:
        run.columns()
    else:
        run.singles()
    return outcomes


def draw(program: Program, shots: int, rng: np.random.Generator) -> list[Trajectory]:
    """Which errors happen in which shots; shots with the same errors together, in the order of their first shot."""
    channels = [(index, step) for index, step in enumerate(program.steps) if isinstance(step, PauliChannel)]
    hits = rng.binomial(shots, [1.0 - channel.probabilities[0] for _, channel in channels])
    who, what = [], []
    for (index, channel), hit in zip(channels, hits.tolist(), strict=True):
        if hit:
            edges = np.cumsum(channel.probabilities[1:])
            kinds = np.searchsorted(edges, rng.random(hit) * edges[-1], side="right") + 1
            who.append(rng.choice(shots, hit, replace=False))
            what.append(_CODES * index + np.minimum(kinds, len(edges)))
    shot_of = np.concatenate(who) if who else np.empty(0, dtype=np.int64)
    order = np.argsort(shot_of, kind="stable")  # the codes of a shot stay in the order of time
    codes = np.concatenate(what)[order] if what else np.empty(0, dtype=np.int64)
    bounds = np.searchsorted(shot_of[order], np.arange(shots + 1))
    shots_of: dict[bytes, list[int]] = {}
    for shot, (first, end) in enumerate(pairwise(bounds.tolist())):
        shots_of.setdefault(codes[first:end].tobytes(), []).append(shot)
    return [
        Trajectory(
            tuple(Error(*divmod(code, _CODES)) for code in np.frombuffer(key, dtype=np.int64).tolist()),
            np.array(members),
        )
        for key, members in shots_of.items()
    ]


def pick(weights: Floats, uniforms: Floats) -> Integers:
    """Outcomes at uniform numbers (0 to 1) under weights that need not be normalised, int64."""
    edges = np.cumsum(weights, dtype=np.float64)
    found: Integers = np.searchsorted(edges, uniforms * edges[-1], side="right")
    return np.minimum(found, len(edges) - 1)


class _Run:
    """One program's trajectories on their way to `outcomes`."""

    def __init__(
        self, program: Program, trajectories: Sequence[Trajectory], uniforms: Floats, outcomes: Integers
    ) -> None:
        self._program = program
        self._uniforms = uniforms
        self._outcomes = outcomes
        groups = group([mask_of(step) for step in program.steps], _FUSED)
        self._block_of = {index: number for number, found in enumerate(groups) for index in found.members}
        drawn = {error.step for trajectory in trajectories for error in trajectory.errors}
        self._blocks = [self._fuse(found, drawn) for found in groups]
        self._trajectories = sorted(trajectories, key=self._first)  # stable, and ideal shots last

    def _first(self, trajectory: Trajectory) -> int:
        """The first block with an error."""
        return min((self._block_of[error.step] for error in trajectory.errors), default=len(self._blocks))

    def _fuse(self, found: Group, drawn: set[int]) -> Block:
        steps = self._program.steps
        if isinstance(step := steps[found.members[0]], Apply) and len(found.wires) > _FUSED:
            return Block(step)
        product = np.eye(1 << len(found.wires), dtype=np.complex128)
        before: dict[int, Complexes] = {}
        for index in found.members:
            if isinstance(step := steps[index], Apply):
                product = apply_small(step, product, found.wires)
            elif index in drawn:
                before[index] = product
        return Block(Apply(product, found.wires), before)

    def _corrections(self, trajectory: Trajectory) -> list[tuple[int, Apply]]:
        """What acts on a trajectory after which block, in order.

        Blocks need not stand in the order of the errors' steps: errors of different blocks then act on
        different wires, or `group` would have kept their order.
        """
        placed = sorted(((self._block_of[error.step], error) for error in trajectory.errors), key=lambda pair: pair[0])
        corrections = []
        for number, error in placed:
            block = self._blocks[number]
            wires = self._program.steps[error.step].wires
            corrections.append((number, Apply(block.correction(error, wires), block.whole.wires)))
        return corrections

    def _finish(self, trajectory: Trajectory, amplitudes: Numbers) -> None:
        weights = amplitudes.real**2 + amplitudes.imag**2
        self._outcomes[trajectory.shots] = pick(weights, self._uniforms[trajectory.shots])

    def columns(self) -> None:
        """Run trajectories side by side in arrays of the kernel's small kind, which spread over threads."""
        qubits = self._program.qubits
        moves = kernel.plan([block.whole for block in self._blocks], range(qubits - 1, -1, -1), _DTYPE)
        width = 1 << (kernel.LOCAL - qubits)
        ideal = np.zeros(1 << qubits, dtype=_DTYPE)
        ideal[0] = 1.0
        spare = np.empty_like(ideal)
        reached = 0
        threads = kernel.processors()
        running: deque[Future[None]] = deque()
        with kernel.single_threaded(), ThreadPoolExecutor(threads) as pool:
            for first in range(0, len(self._trajectories), width):
                chunk = self._trajectories[first : first + width]
                start = self._first(chunk[0])
                ideal, spare = kernel.execute(moves[reached:start], ideal, spare)
                reached = start
                running.append(pool.submit(self._run_chunk, moves, start, chunk, ideal.copy()))
                if len(running) > threads:
                    running.popleft().result()
            for future in running:
                future.result()

    def _run_chunk(self, moves: Sequence[Move], start: int, chunk: Sequence[Trajectory], ideal: Numbers) -> None:
        due: dict[int, list[tuple[int, Apply]]] = {}
        for column, trajectory in enumerate(chunk):
            for number, correction in self._corrections(trajectory):
                due.setdefault(number, []).append((column, correction))
        front = np.repeat(ideal[:, np.newaxis], len(chunk), axis=1)
        back = np.empty_like(front)
        for number, move in enumerate(moves[start:], start):
            front, back = kernel.execute([move], front, back)
            for column, correction in due.get(number, ()):
                # The block's wires still lead.
                acted = front.reshape(len(correction.matrix), -1, len(chunk))[:, :, column]
                acted[...] = correction.matrix @ acted
        for column, trajectory in enumerate(chunk):
            self._finish(trajectory, front[:, column])

    def singles(self) -> None:
        """Run wide trajectories one after the other; the kernel spreads each over threads."""
        ideal = np.zeros(1 << self._program.qubits, dtype=_DTYPE)
        ideal[0] = 1.0
        reached = 0
        vector = np.empty_like(ideal)
        for trajectory in self._trajectories:
            start = self._first(trajectory)
            kernel.run([block.whole for block in self._blocks[reached:start]], ideal)
            reached = start
            due: dict[int, list[Apply]] = {}
            for number, correction in self._corrections(trajectory):
                due.setdefault(number, []).append(correction)
            steps = [
                step
                for number, block in enumerate(self._blocks[start:], start)
                for step in (block.whole, *due.get(number, ()))
            ]
            vector[...] = ideal
            kernel.run(steps, vector)
            self._finish(trajectory, vector)

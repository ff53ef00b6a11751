"""The engines' input: matrices and Pauli channels on compact qubits, whatever model they came from.

Conventions
-----------
* Qubit k is bit k of an outcome and of a basis index; qubit 0 is the least significant.
* A matrix on ``wires`` is written in the basis where ``wires[0]`` is the *most* significant letter.
* A Pauli channel on one wire lists I, X, Y, Z; on two wires II, IX, IY, IZ, XI, ... ZZ, ``wires[0]`` first.

Dephasing, depolarizing and bit flips are all Pauli channels, so the trapped-ion QPUs and the noise
models of the simulator share one engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Complexes: TypeAlias = NDArray[np.complex128]
Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class Apply:
    """A unitary.

    Attributes:
        matrix: complex128, ``(2**k, 2**k)`` for k wires. (Engines also use steps with real matrices.)
        wires: Qubits it acts on, most significant letter first.
        controls: Qubits that must all be 1 for it to act.
    """

    matrix: NDArray[Any]
    wires: tuple[int, ...]
    controls: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False, slots=True)
class PauliChannel:
    """A random Pauli error on one or two wires.

    Attributes:
        wires: One or two qubits, most significant letter first.
        probabilities: float64, ``(4**k,)`` for k wires, I first; sums to 1.
    """

    wires: tuple[int, ...]
    probabilities: Floats


Step: TypeAlias = Apply | PauliChannel


@dataclass(frozen=True, eq=False, slots=True)
class Program:
    """Steps on `qubits` qubits that all begin in 0 and are all measured at the end.

    Attributes:
        steps: In the order of time.
        flips: Probability of each qubit to be read wrong, float64 ``(qubits,)``, or None for perfect readout.
    """

    qubits: int
    steps: tuple[Step, ...]
    flips: Floats | None = None

    @property
    def unitaries(self) -> Iterator[Apply]:
        """The steps without their errors."""
        return (step for step in self.steps if isinstance(step, Apply))

    @property
    def noisy(self) -> bool:
        """Whether any step is random; misread qubits do not count."""
        return any(isinstance(step, PauliChannel) for step in self.steps)


def depolarizing(rate: float, *wires: int) -> PauliChannel:
    """With probability `rate` the wires (one or two) are replaced by the maximally mixed state.

    Reference, section 10.3: K0 = sqrt(1 - (D-1) r/D) I and the D-1 = 4**k - 1 others sqrt(r/D) P.
    """
    letters = 4 ** len(wires)
    probabilities = np.full(letters, rate / letters)
    probabilities[0] = 1.0 - rate * (letters - 1) / letters
    return PauliChannel(wires, probabilities)


def dephasing(probability: float, wire: int) -> PauliChannel:
    """A Z error with this probability: coherences shrink by ``1 - 2 * probability``."""
    return PauliChannel((wire,), np.array([1.0 - probability, 0.0, 0.0, probability]))

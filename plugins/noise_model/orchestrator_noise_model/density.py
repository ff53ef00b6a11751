"""The exact density matrix, as a real vector of Pauli coefficients.

A density matrix of n qubits is the sum of ``r[P] P / 2**n`` over all 4**n Pauli strings, with real
``r[P] = Tr(P rho)``. A unitary is then a real orthogonal matrix on the letters of its wires (the Pauli
transfer matrix), and a Pauli channel is diagonal. So this needs half the memory and a quarter of the
multiplications of the complex matrix, and the same kernel: each qubit is two bits, its letter
I, X, Y, Z = 0, 1, 2, 3.

Pauli transfer matrices: D. Greenbaum, "Introduction to Quantum Gate Set Tomography", arXiv:1509.02921, section 2.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np

from orchestrator_noise_model import kernel
from orchestrator_noise_model.fusion import apply_small
from orchestrator_noise_model.program import Apply, Complexes, Floats, PauliChannel, Program, Step

#: Bits of a fused matrix: three qubits.
_FUSED: Final = 6

_PAULIS: Final = np.array(
    [[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]], dtype=np.complex128
)
#: The letters I and Z, those of diagonal matrices.
_SEEN: Final = (slice(None, None, 3),)
#: +1 where two letters commute, else -1.
_SIGNS: Final = np.array([[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]], dtype=np.float64)


def probabilities(program: Program) -> Floats:
    """Exact outcome probabilities with all channels and misread qubits, float64 ``(2**n,)``.

    Cost and memory grow as 4**n and, for the widest step, as 16**k; see `engine` for the limits.
    """
    letters = np.zeros(4**program.qubits)
    letters.reshape((4,) * program.qubits)[_SEEN * program.qubits] = 1.0
    kernel.run([_transfer(step) for step in program.steps], letters, fused=_FUSED)
    # Only I and Z are seen by the measurement: p(x) = 2**-n * sum of (-1)**(x.z) r[z].
    spectrum = letters.reshape((4,) * program.qubits)[_SEEN * program.qubits]
    # Reading a qubit wrong with probability f shrinks its Z by 1 - 2 f.
    flips = np.zeros(program.qubits) if program.flips is None else program.flips
    for axis, flip in enumerate(flips[::-1]):
        rest, seen = np.moveaxis(spectrum, axis, 0)
        seen = (1.0 - 2.0 * flip) * seen
        spectrum = np.stack(((rest + seen) / 2, (rest - seen) / 2), axis)
    return np.clip(spectrum.reshape(-1), 0.0, None)


def _transfer(step: Step) -> Apply:
    """The step as a real matrix on the bits of its wires' letters."""
    if isinstance(step, PauliChannel):
        signs = _SIGNS if len(step.wires) == 1 else np.kron(_SIGNS, _SIGNS)
        matrix = np.diag(signs @ step.probabilities)
        wires = step.wires
    else:
        wires = step.controls + step.wires
        basis = _basis(len(wires))
        unitary = apply_small(step, np.eye(1 << len(wires), dtype=np.complex128), wires)
        moved = unitary @ basis @ unitary.conj().T
        count = len(basis)
        matrix = (basis.reshape(count, -1).conj() @ moved.reshape(count, -1).T).real / (1 << len(wires))
    bits = tuple(bit for wire in wires for bit in (2 * wire + 1, 2 * wire))
    return Apply(matrix, bits)


@cache
def _basis(wires: int) -> Complexes:
    """All Pauli strings on some wires, complex128 ``(4**k, 2**k, 2**k)``, the first letter the most significant."""
    strings = np.ones((1, 1, 1), dtype=np.complex128)
    for _ in range(wires):
        size = 2 * strings.shape[1]
        strings = np.einsum("iab,jcd->ijacbd", strings, _PAULIS).reshape(-1, size, size)
    return strings


def pauli(kind: int, wires: int) -> Complexes:
    """Pauli string number `kind` on some wires, complex128 ``(2**k, 2**k)``."""
    matrix: Complexes = _basis(wires)[kind]
    return matrix

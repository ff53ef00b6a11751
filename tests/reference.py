"""An independent statevector simulator for tests: small, slow, and written from the reference, not from the code.

Qubit 0 is the least significant bit of every index.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from orchestrator.circuits.ir import Circuit, Gate

ComplexArray = npt.NDArray[np.complex128]

_PAULI = {
    "I": np.eye(2, dtype=np.complex128),
    "X": np.array([[0, 1], [1, 0]], dtype=np.complex128),
    "Y": np.array([[0, -1j], [1j, 0]]),
    "Z": np.diag([1, -1]).astype(np.complex128),
}
_PHASES = {"z": np.pi, "s": np.pi / 2, "si": -np.pi / 2, "t": np.pi / 4, "ti": -np.pi / 4}


def _array(values: npt.ArrayLike) -> ComplexArray:
    return np.asarray(values, dtype=np.complex128)


def _string(letters: str) -> ComplexArray:
    product = _array([[1]])
    for letter in letters:
        product = _array(np.kron(product, _PAULI[letter]))
    return product


def _exponential(angle: float, involution: ComplexArray) -> ComplexArray:
    """exp(-i angle A) for A squared = 1."""
    return _array(np.cos(angle) * np.eye(len(involution)) - 1j * np.sin(angle) * involution)


def _gpi(phase: float) -> ComplexArray:
    return _array(np.cos(2 * np.pi * phase) * _PAULI["X"] + np.sin(2 * np.pi * phase) * _PAULI["Y"])


def matrix(gate: Gate, gateset: str) -> ComplexArray:
    """The unitary on the targets, ``targets[0]`` most significant, without controls."""
    name, params = gate.name, gate.params
    if gateset == "native":
        match name:
            case "gpi":
                return _gpi(params[0])
            case "gpi2":
                return _exponential(np.pi / 4, _gpi(params[0]))
            case "ms":
                return _exponential(np.pi * params[2], _array(np.kron(_gpi(params[0]), _gpi(params[1]))))
            case "zz":
                return _exponential(np.pi * params[0], _string("ZZ"))
            case "nop":
                return _PAULI["I"]
    match name:
        case "x" | "y":
            return _PAULI[name.upper()]
        case "h":
            return _array(np.array([[1, 1], [1, -1]]) / np.sqrt(2))
        case "z" | "s" | "si" | "t" | "ti":
            return _array(np.diag([1, np.exp(1j * _PHASES[name])]))
        case "p":
            return _array(np.diag([1, np.exp(1j * params[0])]))
        case "v":
            return _array([[1 + 1j, 1 - 1j], [1 - 1j, 1 + 1j]]) / 2
        case "vi":
            return _array([[1 - 1j, 1 + 1j], [1 + 1j, 1 - 1j]]) / 2
        case "rx" | "ry" | "rz":
            return _exponential(params[0] / 2, _PAULI[name[1].upper()])
        case "xx" | "yy" | "zz":
            return _exponential(params[0] / 2, _string(name.upper()))
        case "swap":
            return _array(np.eye(4)[[0, 2, 1, 3]])
        case "pauliexp":
            product = _array(np.eye(2 ** len(gate.targets)))
            for coefficient, term in zip(params[1:], gate.terms, strict=True):
                product = _exponential(params[0] * coefficient, _string(term[::-1])) @ product
            return product
    raise ValueError(name)


def apply(circuit: Circuit, states: ComplexArray) -> ComplexArray:
    """`states` (columns; shape (2**qubits, any)) after the circuit."""
    n = circuit.qubits
    tensor = states.reshape((2,) * n + (-1,))
    for gate in circuit.gates:
        inner = matrix(gate, circuit.gateset)
        wires = gate.controls + gate.targets
        full = np.eye(2 ** len(wires), dtype=np.complex128)
        full[-len(inner) :, -len(inner) :] = inner
        axes = [n - 1 - wire for wire in wires]
        operator = full.reshape((2,) * (2 * len(wires)))
        moved = np.tensordot(operator, tensor, axes=(range(len(wires), 2 * len(wires)), axes))
        tensor = np.moveaxis(moved, range(len(wires)), axes)
    return np.ascontiguousarray(tensor).reshape(states.shape)


def unitary(circuit: Circuit) -> ComplexArray:
    """The circuit's unitary, complex128 of shape (2**qubits, 2**qubits)."""
    return apply(circuit, np.eye(2**circuit.qubits, dtype=np.complex128))


def statevector(circuit: Circuit) -> ComplexArray:
    """The state the circuit makes of all zeros, complex128 of shape (2**qubits,)."""
    return apply(circuit, np.eye(2**circuit.qubits, 1, dtype=np.complex128))[:, 0]


def distance(one: ComplexArray, other: ComplexArray) -> float:
    """Largest difference of entries after the best global phase."""
    overlap = np.vdot(other, one)
    phase = overlap / abs(overlap) if overlap else 1.0
    return float(np.max(np.abs(one - phase * other)))

"""The gate table: every gate of the vendor contract (reference, section 7) with its matrix.

Angles are in radians for ``qis`` gates and in turns (1 turn = 2 pi) for ``native`` ones. Two-qubit
matrices are in the basis 00, 01, 10, 11 whose more significant letter is ``targets[0]``. Matrices
are of the gate without its controls; a controlled gate is the controlled form of exactly that matrix.
"""

from __future__ import annotations

import cmath
import math
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias

import msgspec

from orchestrator.circuits.ir import Gate, GateSet

Matrix: TypeAlias = tuple[tuple[complex, ...], ...]
PauliFactor: TypeAlias = tuple[float, tuple[tuple[str, int], ...]]

_TURN: Final = 2 * math.pi


class Param(NamedTuple):
    """One parameter: the member of the wire form it comes from, its least and its greatest legal value."""

    member: str
    low: float = -sys.float_info.max
    high: float = sys.float_info.max


class GateType(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table.

    Attributes:
        targets: How many wires it acts on; 0 for any number (``pauliexp``).
        params: What stands in `Gate.params`; the last one of ``pauliexp`` repeats.
        controls: Whether it may be controlled.
        matrix: Its matrix from its parameters; None where the size varies (``pauliexp``).
    """

    name: str
    gateset: GateSet
    targets: int = 1
    params: tuple[Param, ...] = ()
    controls: bool = True
    matrix: Callable[..., Matrix] | None = None


def _constant(*rows: tuple[complex, ...]) -> Callable[..., Matrix]:
    matrix = tuple(tuple(complex(entry) for entry in row) for row in rows)
    return lambda: matrix


def _phase(angle: float) -> Matrix:
    return (1 + 0j, 0j), (0j, cmath.rect(1, angle))


def _rx(theta: float) -> Matrix:
    c, s = math.cos(theta / 2), math.sin(theta / 2)
    return (complex(c), -1j * s), (-1j * s, complex(c))


def _ry(theta: float) -> Matrix:
    c, s = complex(math.cos(theta / 2)), complex(math.sin(theta / 2))
    return (c, -s), (s, c)


def _rz(theta: float) -> Matrix:
    return (cmath.rect(1, -theta / 2), 0j), (0j, cmath.rect(1, theta / 2))


def _anti_diagonal_pair(theta: float, outer: complex, inner: complex) -> Matrix:
    """cos(theta/2) on the diagonal; -i sin(theta/2) times the phases on the other (conjugates above)."""
    c, s = complex(math.cos(theta / 2)), -1j * math.sin(theta / 2)
    return (
        (c, 0j, 0j, s * outer.conjugate()),
        (0j, c, s * inner.conjugate(), 0j),
        (0j, s * inner, c, 0j),
        (s * outer, 0j, 0j, c),
    )


def _xx(theta: float) -> Matrix:
    return _anti_diagonal_pair(theta, 1 + 0j, 1 + 0j)


def _yy(theta: float) -> Matrix:
    return _anti_diagonal_pair(theta, -1 + 0j, 1 + 0j)


def _zz(theta: float) -> Matrix:
    even, odd = cmath.rect(1, -theta / 2), cmath.rect(1, theta / 2)
    return (even, 0j, 0j, 0j), (0j, odd, 0j, 0j), (0j, 0j, odd, 0j), (0j, 0j, 0j, even)


def _gpi(phase: float) -> Matrix:
    up = cmath.rect(1, _TURN * phase)
    return (0j, up.conjugate()), (up, 0j)


def _gpi2(phase: float) -> Matrix:
    r, up = math.sqrt(0.5), cmath.rect(1, _TURN * phase)
    return (complex(r), -1j * r * up.conjugate()), (-1j * r * up, complex(r))


def _ms(phase0: float, phase1: float, angle: float) -> Matrix:
    outer, inner = cmath.rect(1, _TURN * (phase0 + phase1)), cmath.rect(1, _TURN * (phase0 - phase1))
    return _anti_diagonal_pair(_TURN * angle, outer, inner)


def _native_zz(angle: float) -> Matrix:
    return _zz(_TURN * math.remainder(angle, 2))


_R: Final = math.sqrt(0.5)
_ROTATION: Final = (Param("rotation"),)
#: The contract says one turn either way; qiskit-ionq compiles ``u`` to pulses of up to one and a half.
_PHASE: Final = (Param("phase", -1.5, 1.5),)


def _qis(name: str, matrix: Callable[..., Matrix], targets: int = 1, params: tuple[Param, ...] = ()) -> GateType:
    return GateType(name=name, gateset="qis", targets=targets, params=params, matrix=matrix)


def _native(name: str, matrix: Callable[..., Matrix], targets: int = 1, params: tuple[Param, ...] = ()) -> GateType:
    return GateType(name=name, gateset="native", targets=targets, params=params, controls=False, matrix=matrix)


_ROWS: Final = (
    _qis("x", _constant((0, 1), (1, 0))),
    _qis("y", _constant((0, -1j), (1j, 0))),
    _qis("z", _constant((1, 0), (0, -1))),
    _qis("h", _constant((_R, _R), (_R, -_R))),
    _qis("s", _constant((1, 0), (0, 1j))),
    _qis("si", _constant((1, 0), (0, -1j))),
    _qis("t", _constant((1, 0), (0, _R + _R * 1j))),
    _qis("ti", _constant((1, 0), (0, _R - _R * 1j))),
    _qis("v", _constant((0.5 + 0.5j, 0.5 - 0.5j), (0.5 - 0.5j, 0.5 + 0.5j))),
    _qis("vi", _constant((0.5 - 0.5j, 0.5 + 0.5j), (0.5 + 0.5j, 0.5 - 0.5j))),
    _qis("rx", _rx, params=_ROTATION),
    _qis("ry", _ry, params=_ROTATION),
    _qis("rz", _rz, params=_ROTATION),
    _qis("p", _phase, params=_ROTATION),
    _qis("swap", _constant((1, 0, 0, 0), (0, 0, 1, 0), (0, 1, 0, 0), (0, 0, 0, 1)), targets=2),
    _qis("xx", _xx, targets=2, params=_ROTATION),
    _qis("yy", _yy, targets=2, params=_ROTATION),
    _qis("zz", _zz, targets=2, params=_ROTATION),
    GateType(name="pauliexp", gateset="qis", targets=0, params=(Param("time", low=0.0), Param("coefficients"))),
    _native("gpi", _gpi, params=_PHASE),
    _native("gpi2", _gpi2, params=_PHASE),
    _native(
        "ms",
        _ms,
        targets=2,
        params=(Param("phases[0]", -1.0, 1.0), Param("phases[1]", -1.0, 1.0), Param("angle", 0.0, 0.25)),
    ),
    _native("zz", _native_zz, targets=2, params=(Param("angle"),)),
    _native("nop", _constant((1, 0), (0, 1))),
)

#: gate set -> canonical name -> row.
GATES: Final[Mapping[GateSet, Mapping[str, GateType]]] = MappingProxyType(
    {
        "qis": MappingProxyType({row.name: row for row in _ROWS if row.gateset == "qis"}),
        "native": MappingProxyType({row.name: row for row in _ROWS if row.gateset == "native"}),
    }
)

#: Other spellings of qis gates -> canonical name. ``id`` is no gate at all, ``z`` with a rotation is ``p``.
ALIASES: Final[Mapping[str, str]] = MappingProxyType(
    {"not": "x", "cnot": "x", "cx": "x", "sx": "v", "sdg": "si", "tdg": "ti"}
)
#: Spellings that name a controlled gate, so that a control must be given.
CONTROLLED_ALIASES: Final = frozenset({"cnot", "cx"})
IDENTITY: Final = "id"


def matrix(gate: Gate, gateset: GateSet) -> Matrix:
    """The unitary of `gate` without its controls; of two targets with ``targets[0]`` as the more significant letter.

    Raises:
        ValueError: It is a ``pauliexp``, see `pauli_factors`.
    """
    build = GATES[gateset][gate.name].matrix
    if build is None:
        raise ValueError(f"{gate.name} has no matrix of fixed size")
    return build(*gate.params)


def pauli_factors(gate: Gate) -> list[PauliFactor]:
    """A ``pauliexp`` as the sequence of factors exp(-i angle P) it is applied as, the first one first.

    Each factor is (angle in radians, ((letter, wire), ...)) with the identity letters left out; one
    without letters is the phase exp(-i angle), which matters under a control. One first-order Trotter
    step over the terms as listed; the rightmost letter acts on ``targets[0]`` (reference, 7.3).
    """
    time, *coefficients = gate.params
    return [
        (
            time * coefficient,
            tuple((letter, wire) for letter, wire in zip(reversed(term), gate.targets, strict=True) if letter != "I"),
        )
        for coefficient, term in zip(coefficients, gate.terms, strict=True)
    ]

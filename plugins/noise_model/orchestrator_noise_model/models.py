"""Noise models by name: depolarizing rates and width limits. Pure data, no numerics.

Rates are those of the vendor's simulator where published (reference, section 10.3). A rate r of the
depolarizing channel and the average gate fidelity F belong together as F = 1 - r (d - 1) / d with
d = 2 or 4 (M. A. Nielsen, Phys. Lett. A 303, 249 (2002)); the vendor's rates follow it too: aria-1's
0.0133 is its published 99 % (r = 4/3 of 0.01).

Models without published rates are **ours**, derived from published average fidelities by that formula:

* ``harmony``, ``harmony-1``, ``harmony-2``: 99.5 % and 97.5 %, K. Wright et al., "Benchmarking an
  11-qubit quantum computer", Nature Communications 10, 5464 (2019).
* ``forte-enterprise-1``: 99.98 % and 99.44 %, the medians of the vendor's published sample characterization
  of the Forte class (reference, section 13).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final

import msgspec

from orchestrator.errors import SettingsError

IDEAL: Final = "ideal"
#: Widest circuit of the simulator.
QUBITS: Final = 29

_Rate = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
_Qubits = Annotated[int, msgspec.Meta(ge=1, le=QUBITS)]


class Rates(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A noise model: a depolarizing channel after every gate.

    Attributes:
        one_qubit: Probability that a one-qubit gate leaves its qubit maximally mixed.
        two_qubit: The same for a two-qubit gate and its pair.
        qubits: Widest circuit.
    """

    one_qubit: _Rate
    two_qubit: _Rate
    qubits: _Qubits = QUBITS


def from_fidelities(one_qubit: float, two_qubit: float, qubits: int) -> Rates:
    """Rates of gates with these average gate fidelities."""
    return Rates(one_qubit=2 * (1 - one_qubit), two_qubit=(1 - two_qubit) * 4 / 3, qubits=qubits)


_HARMONY: Final = from_fidelities(0.995, 0.975, 11)

#: The built-in models, `IDEAL` aside.
MODELS: Final[Mapping[str, Rates]] = MappingProxyType(
    {
        "harmony": _HARMONY,
        "harmony-1": _HARMONY,
        "harmony-2": _HARMONY,
        "aria-1": Rates(one_qubit=0.0005, two_qubit=0.0133, qubits=25),
        "aria-2": Rates(one_qubit=0.0006573333, two_qubit=0.01856, qubits=25),
        "forte-1": Rates(one_qubit=0.00026666667, two_qubit=0.00494933333, qubits=29),
        "forte-enterprise-1": from_fidelities(0.9998, 0.9944, 29),
    }
)


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    models: dict[str, Rates]


def load(path: Path) -> dict[str, Rates]:
    """Custom models from a TOML file: a table ``[models.NAME]`` each, see ``configs/noise.example.toml``.

    Raises:
        SettingsError: The file cannot be read or is no such document; names the file and the key.
    """
    try:
        models = msgspec.convert(tomllib.loads(path.read_text("utf-8")), _Document).models
    except (OSError, ValueError) as error:  # msgspec's and tomllib's errors are ValueErrors
        raise SettingsError(f"{path}: {error}") from error
    if taken := models.keys() & {IDEAL, *MODELS}:
        raise SettingsError(f"{path}: models.{min(taken)}: this name is built in")
    return models

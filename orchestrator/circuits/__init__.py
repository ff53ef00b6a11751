"""Circuits: the IR, gates and their matrices, validation and limits, native compilation, formats in and out.

The names below are loaded at first use: the records import the IR, and should not pay for the rest of the room.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from orchestrator.circuits.decompose import to_two_qubit
    from orchestrator.circuits.formats.ionq import read_input, write_circuit, write_native
    from orchestrator.circuits.ir import Circuit, Gate
    from orchestrator.circuits.native import Native, to_native
    from orchestrator.circuits.validation import statevector_bytes, stats, validate

__all__ = [
    "Circuit",
    "Gate",
    "Native",
    "read_input",
    "statevector_bytes",
    "stats",
    "to_native",
    "to_two_qubit",
    "validate",
    "write_circuit",
    "write_native",
]

_HOMES: Final = {
    "decompose": ("to_two_qubit",),
    "formats.ionq": ("read_input", "write_circuit", "write_native"),
    "ir": ("Circuit", "Gate"),
    "native": ("Native", "to_native"),
    "validation": ("statevector_bytes", "stats", "validate"),
}
_HOME_OF: Final = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    try:
        home = _HOME_OF[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return getattr(import_module(f"{__name__}.{home}"), name)

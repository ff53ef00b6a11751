"""What the checks work on: how to make the adapter, and how far to go with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from orchestrator.backends.abc import Adapter, Capabilities
from orchestrator.circuits.gates import GATES
from orchestrator.circuits.ir import Circuit, Gate
from orchestrator.errors import OrchestratorError


class Skipped(OrchestratorError):
    """A promise that does not concern this adapter, by what it declares; says why."""

    code = "skipped"


#: Values of parameters that are legal for every gate.
_ANY: Final = 0.1


def plain(capabilities: Capabilities, qubits: int = 1) -> Circuit:
    """A circuit of one gate that every backend of these capabilities should run: X or GPi on qubit 0, the rest idle."""
    if "qis" in capabilities.gatesets or not capabilities.gatesets:
        return Circuit(qubits=qubits, gates=(Gate("x", (0,)),))
    row = GATES["native"].get("gpi" if "gpi" in capabilities.native_gates else capabilities.native_gates[0])
    if row is None:
        return Circuit(qubits=qubits, gateset="native")
    gate = Gate(row.name, tuple(range(row.targets)), params=(_ANY,) * len(row.params))
    return Circuit(qubits=max(qubits, row.targets), gates=(gate,), gateset="native")


@dataclass(frozen=True)
class Bench:
    """What the checks work on. Only `make` is needed.

    Attributes:
        make: Makes a new adapter, not yet opened; the class itself will do where it takes no arguments. Called many
            times, on threads of the kit's own.
        settings: The adapter's table of the configuration.
        backends: Names of backends to look at; empty for all that are declared.
        circuit: A circuit that a backend can run, of so many declared qubits; for backends that do not run a plain X.
        options: Members of `JobRequest` that every job needs, such as ``settings``.
        limit_s: Longest wait for jobs to end, seconds. A check as a whole may take `CHECK_LIMITS` times as long.
        cancel_s: Where `cancel` is declared, how soon a canceled attempt has stopped, seconds.
        shots: The most shots to ask for, where the backend takes so many.
        workers: Worker processes at the adapter's service.
    """

    make: Callable[[], Adapter]
    settings: Mapping[str, Any] = field(default_factory=dict)
    backends: Sequence[str] = ()
    circuit: Callable[[Capabilities, int], Circuit] = plain
    options: Mapping[str, Any] = field(default_factory=dict)
    limit_s: float = 20.0
    cancel_s: float = 1.0
    shots: int = 10_000
    workers: int = 1

    def chosen(self, declared: Sequence[Capabilities]) -> tuple[Capabilities, ...]:
        """Those of the declared backends to look at."""
        assert declared, "it declares no backend"
        unknown = set(self.backends) - {each.backend for each in declared}
        assert not unknown, f"it serves no backend {', '.join(sorted(unknown))}"
        return tuple(each for each in declared if not self.backends or each.backend in self.backends)

    def most_shots(self, backend: Capabilities) -> int:
        """The most shots to ask of a backend."""
        return min(self.shots, backend.max_shots)


#: A check may take so many times the limit of a wait before it is ended from outside.
CHECK_LIMITS: Final = 6

"""What is presumed of a backend whose remote has not been seen yet: jobs wait for it rather than be refused.

It can do whatever a backend of the contract can, so that nothing is refused here for want of knowledge; what it cannot
do, the remote says when it gets the job.
"""

from __future__ import annotations

from typing import Final

from orchestrator.backends.check import DEBIASING, SYMMETRY_VERIFICATION
from orchestrator.circuits.gates import GATES
from orchestrator.circuits.validation import MAX_QUBITS
from orchestrator_remote_cloud.shapes import RemoteBackend

#: The noise models of the contract (reference, section 10).
NOISE_MODELS: Final = (
    *("ideal", "harmony", "harmony-1", "harmony-2"),
    *("aria-1", "aria-2", "forte-1", "forte-enterprise-1"),
)


def presumed(target: str) -> RemoteBackend:
    """A backend of that name at a remote."""
    simulator = target.startswith("simulator")
    return RemoteBackend(
        backend=target,
        status="unavailable",
        qubits=MAX_QUBITS,
        noise_models=list(NOISE_MODELS) if simulator else None,
        supported_native_gates=list(GATES["native"]),
        supported_error_mitigations=None if simulator else [DEBIASING, SYMMETRY_VERIFICATION],
    )

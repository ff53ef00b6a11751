"""Orchestrate quantum jobs: your own quantum cloud in one package.

::

    async with Orchestrator.open("data") as orchestrator:
        job = await orchestrator.submit(Circuit(qubits=1, gates=(Gate("h", (0,)),)), backend="simulator")
        result = await orchestrator.result(job.id)

Names are loaded when they are first used, so that ``import orchestrator`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.circuits.ir import Circuit, Gate
    from orchestrator.lifecycle import JobStatus
    from orchestrator.model import Job, JobRequest, Noise, Result
    from orchestrator.service import CancelAnswer, Orchestrator
    from orchestrator.settings import Settings

_HOMES = {
    "CancelAnswer": "service",
    "Circuit": "circuits.ir",
    "Gate": "circuits.ir",
    "Job": "model",
    "JobRequest": "model",
    "JobStatus": "lifecycle",
    "Noise": "model",
    "Orchestrator": "service",
    "Result": "model",
    "Settings": "settings",
}

__all__ = [
    "CancelAnswer",
    "Circuit",
    "Gate",
    "Job",
    "JobRequest",
    "JobStatus",
    "Noise",
    "Orchestrator",
    "Result",
    "Settings",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)

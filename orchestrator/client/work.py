"""What can be submitted, and the body of a request it becomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.circuits.formats.ionq import write_circuit
from orchestrator.circuits.ir import Circuit
from orchestrator.model import CIRCUIT, MULTI_CIRCUIT, JobRequest

Work = Circuit | Sequence[Circuit] | JobRequest | Mapping[str, Any]


def job_body(work: Work, **options: Any) -> dict[str, Any]:
    """The body of ``POST /v0.4/jobs`` for a piece of work; options replace its members."""
    if isinstance(work, Mapping):
        return {**work, **options}
    if isinstance(work, JobRequest):
        members = ("backend", "shots", "name", "metadata", "noise", "settings", "session_id", "dry_run")
        given = {name: value for name in members if (value := getattr(work, name)) not in (None, {}, False)}
        return job_body(work.circuits if work.multi else work.circuits[0], **given | options)
    if isinstance(work, Circuit):
        return {"type": CIRCUIT, "backend": "simulator", "input": write_circuit(work), **options}
    circuits = [write_circuit(circuit) for circuit in work]
    return {"type": MULTI_CIRCUIT, "backend": "simulator", "input": {"circuits": circuits}, **options}

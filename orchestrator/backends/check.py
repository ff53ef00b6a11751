"""What every backend checks before anything runs: the job against the backend's capabilities.

These are not errors of the request (the vendor contract accepts them): the job is created and becomes failed.
"""

from __future__ import annotations

from orchestrator.backends.abc import Capabilities
from orchestrator.model import Failure, JobSpec


def check(spec: JobSpec, capabilities: Capabilities) -> Failure | None:
    """Why that backend cannot run such a job, or None."""
    width = spec.stats.qubits
    if spec.gateset not in capabilities.gatesets:
        return Failure(code="UnsupportedGate", message=f"{capabilities.backend} does not run {spec.gateset} circuits")
    if spec.shots > capabilities.max_shots:
        message = f"{capabilities.backend} runs at most {capabilities.max_shots} shots, not {spec.shots}"
        return Failure(code="TooManyShots", message=message)
    if width > capabilities.qubits:
        message = f"the circuit uses {width} qubits, {capabilities.backend} has {capabilities.qubits}"
        return Failure(code="NotEnoughQubits", message=message)
    if spec.noise is not None and capabilities.noise_models:
        model = capabilities.noise_models.get(spec.noise.model)
        if model is not None and width > model.qubits:
            message = f"the circuit uses {width} qubits, the noise model {spec.noise.model} has {model.qubits}"
            return Failure(code="NotEnoughQubits", message=message)
    return None

"""What every backend checks before anything runs: the job against the backend's capabilities.

These are not errors of the request (the vendor contract accepts them): the job is created and becomes failed, with
the contract's code for it. What a job asks for is never left out in silence.
"""

from __future__ import annotations

from typing import Any, Final

from orchestrator.backends.abc import Capabilities
from orchestrator.model import Failure, JobSpec

DEBIASING: Final = "debiasing"
SYMMETRY_VERIFICATION: Final = "symmetry_verification"
#: Fewest shots that can be split over variants (reference, section 10.2).
DEBIASING_SHOTS: Final = 500


def check(spec: JobSpec, capabilities: Capabilities) -> Failure | None:
    """Why that backend cannot run such a circuit, or None."""
    backend, width = capabilities.backend, spec.stats.qubits
    if spec.gateset not in capabilities.gatesets:
        return Failure(code="UnsupportedGate", message=f"{backend} does not run {spec.gateset} circuits")
    if spec.stats.native and (foreign := sorted(set(spec.stats.native) - set(capabilities.native_gates))):
        message = f"{backend} has no {', '.join(foreign)}; its native gates are {', '.join(capabilities.native_gates)}"
        return Failure(code="UnsupportedGate", message=message)
    if spec.shots > capabilities.max_shots:
        message = f"{backend} runs at most {capabilities.max_shots} shots, not {spec.shots}"
        return Failure(code="TooManyShots", message=message)
    if width > capabilities.qubits:
        message = f"the circuit uses {width} qubits, {backend} has {capabilities.qubits}"
        return Failure(code="NotEnoughQubits", message=message)
    if spec.noise is not None:
        model = capabilities.noise_models.get(spec.noise.model)
        if model is None:
            return Failure(code="InvalidInput", message=f"{backend} has no noise model {spec.noise.model}")
        if width > model.qubits:
            message = f"the circuit uses {width} qubits, the noise model {spec.noise.model} has {model.qubits}"
            return Failure(code="NotEnoughQubits", message=message)
    return _check_mitigations(spec, capabilities) if spec.settings else None


def check_family(circuits: int, capabilities: Capabilities) -> Failure | None:
    """Why that backend cannot run a job of so many circuits, or None."""
    most = capabilities.max_circuits
    if circuits <= most:
        return None
    message = f"the job has {circuits} circuits, {capabilities.backend} takes at most {most} in one job"
    return Failure(code="PreflightError", message=message)


def _check_mitigations(spec: JobSpec, capabilities: Capabilities) -> Failure | None:
    for name in mitigations(spec.settings):
        words = name.replace("_", " ")
        if name not in capabilities.error_mitigations:
            return Failure(code="DebiasingError", message=f"{capabilities.backend} does not offer {words}")
        if name == DEBIASING and spec.shots < DEBIASING_SHOTS:
            message = f"{words} needs at least {DEBIASING_SHOTS} shots, this job has {spec.shots}"
            return Failure(code="DebiasingError", message=message)
    return None


def mitigations(settings: dict[str, Any]) -> list[str]:
    """Error mitigations that a job's settings ask for; `debias` is the older spelling (reference, section 10.1)."""
    asked = settings.get("error_mitigation")
    if not isinstance(asked, dict):
        return []
    wanted = {
        DEBIASING: asked.get(DEBIASING) or asked.get("debias"),
        SYMMETRY_VERIFICATION: asked.get(SYMMETRY_VERIFICATION),
    }
    return [name for name, on in wanted.items() if on]

"""Adapters are trusted code, never trusted data: a result is checked like any other input."""

from __future__ import annotations

from typing import Final

from orchestrator.model import Job, Result

#: Probabilities are rounded at 12 decimals each, so their sum may be off by half a unit for each outcome.
_TOLERANCE: Final = 1e-6


def problem(job: Job, result: Result) -> str | None:
    """What is wrong with a result of that job, in plain words; None when nothing is."""
    if not isinstance(result, Result):
        return f"the backend answered a {type(result).__name__}, not a Result"
    limit = 1 << max(result.qubits, 0)
    total = 0.0
    for outcome, probability in result.probabilities.items():
        if not 0 <= outcome < limit:
            return f"outcome {outcome} does not fit {result.qubits} qubits"
        if not 0.0 <= probability <= 1.0 + _TOLERANCE:  # NaN fails this too
            return f"probability {probability} of outcome {outcome} is not between 0 and 1"
        total += probability
    if abs(total - 1.0) > _TOLERANCE + len(result.probabilities) * 1e-12:
        return f"probabilities sum to {total}, not 1"
    if result.counts is not None:
        if any(number < 0 for number in result.counts.values()):
            return "a count is negative"
        if any(not 0 <= outcome < limit for outcome in result.counts):
            return f"a counted outcome does not fit {result.qubits} qubits"
        if (counted := sum(result.counts.values())) != job.spec.shots:
            return f"counts sum to {counted}, not to the {job.spec.shots} shots asked for"
    if result.shots is not None and len(result.shots) != job.spec.shots:
        return f"{len(result.shots)} shots are listed, not the {job.spec.shots} asked for"
    if result.execution_ms < 0:
        return "the execution time is negative"
    return None

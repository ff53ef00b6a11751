"""JSON Schemas (draft 07) of the result formats and of the native circuit (reference, section 8)."""

from __future__ import annotations

from typing import Any, Final

from orchestrator.api.payloads import AGGREGATE, NATIVE

_PROBABILITY: Final = {"type": "number", "minimum": 0, "maximum": 1}
_COUNT: Final = {"type": "integer", "minimum": 0}
_DECIMAL: Final = "^(0|[1-9][0-9]*)$"
_INDEX: Final = {"type": "integer", "minimum": 0}


def _map(pattern: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "patternProperties": {pattern: value}, "additionalProperties": False}


def _object(**members: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": members, "required": list(members), "additionalProperties": False}


def _registers(value: dict[str, Any]) -> dict[str, Any]:
    return _object(registers={"type": "object", "additionalProperties": value})


_NATIVE_GATE: Final = {
    "type": "object",
    "properties": {
        "gate": {"enum": ["gpi", "gpi2", "ms", "zz", "nop"]},
        "target": _INDEX,
        "targets": {"type": "array", "items": _INDEX},
        "phase": {"type": "number"},
        "phases": {"type": "array", "items": {"type": "number"}},
        "angle": {"type": "number"},
    },
    "required": ["gate"],
}

_BODIES: Final[dict[str, dict[str, Any]]] = {
    "ionq.result.probabilities.json.v1": _map(_DECIMAL, _PROBABILITY),
    "ionq.result.probabilities.json.v2": _object(probabilities=_registers(_map("^[01]*$", _PROBABILITY))),
    "ionq.result.histogram.json.v1": _map(_DECIMAL, _COUNT),
    "ionq.result.histogram.json.v2": _object(histogram=_registers(_map("^[01]*$", _COUNT))),
    "ionq.result.shots.json.v1": {"type": "array", "items": {"type": "string", "pattern": _DECIMAL}},
    "ionq.result.shots.json.v2": _object(
        shots={"type": "array", "items": _registers({"type": "array", "items": {"enum": [0, 1]}})}
    ),
    AGGREGATE: {"type": "object", "additionalProperties": _map(_DECIMAL, _PROBABILITY)},
    NATIVE: _object(qubits={"type": "integer", "minimum": 1}, circuit={"type": "array", "items": _NATIVE_GATE}),
}

#: Format id -> its schema.
SCHEMAS: Final = {
    form: {"$schema": "http://json-schema.org/draft-07/schema#", "$id": form, **body} for form, body in _BODIES.items()
}

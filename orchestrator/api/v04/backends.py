"""Backends and characterizations in v0.4."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from orchestrator.api.backends import MAX_CHARACTERIZATIONS, named_backend
from orchestrator.api.endpoint import Access, Call, Route, reply
from orchestrator.api.errors import NotFound
from orchestrator.api.query import Query
from orchestrator.api.times import iso
from orchestrator.backends.abc import Capabilities
from orchestrator.model import BackendState, Characterization


def backend_body(can: Capabilities, state: BackendState, *, known_caller: bool) -> dict[str, Any]:
    """A backend: what it can and how it is."""
    body: dict[str, Any] = {
        "backend": can.backend,
        "status": state.status,
        "degraded": False,
        "qubits": can.qubits,
        "average_queue_time": state.average_queue_ms,
        "last_updated": iso(state.updated_at),
        "supported_gates": can.shown_gates,
        "supported_native_gates": can.shown_native_gates,
        "supported_error_mitigations": can.error_mitigations,
    }
    optional = {
        "characterization_id": state.characterization_id,
        "cost_model": can.cost_model,
        "kw": can.power_kw,
        "location": can.location,
        "noise_models": list(can.noise_models) or None,
        "has_access": known_caller or None,
    }
    return body | {name: value for name, value in optional.items() if value is not None}


def characterization_body(recorded: Characterization) -> dict[str, Any]:
    """A recorded calibration; times in seconds."""
    return {
        "id": recorded.id,
        "backend": recorded.backend,
        "date": iso(recorded.recorded_at),
        "qubits": recorded.qubits,
        "connectivity": recorded.connectivity,
        "fidelity": recorded.fidelity,
        "timing": recorded.timing,
    }


async def backends(call: Call) -> web.Response:
    """All backends; no key is needed."""
    return reply([_backend(call, name) for name in call.orchestrator.backends.names()])


async def backend(call: Call) -> web.Response:
    """One backend; no key is needed."""
    return reply(_backend(call, named_backend(call)))


def _backend(call: Call, name: str) -> dict[str, Any]:
    known = call.orchestrator.backends
    return backend_body(known.capabilities(name), known.state(name), known_caller=call.principal is not None)


async def characterizations(call: Call) -> web.Response:
    """Recorded calibrations of a backend, newest first; no key is needed."""
    query = Query(call)
    found, pages = await call.orchestrator.backends.characterizations(
        named_backend(call),
        start_ms=query.date_ms("start"),
        end_ms=query.date_ms("end", end=True),
        limit=query.clamped("limit", MAX_CHARACTERIZATIONS, MAX_CHARACTERIZATIONS),
        page=query.within("page", 1, 1, 10**9),
    )
    return reply({"characterizations": [characterization_body(recorded) for recorded in found], "pages": pages})


async def characterization(call: Call) -> web.Response:
    """One recorded calibration."""
    found = await call.orchestrator.backends.characterization(named_backend(call), call.part("id"))
    if found is None:
        raise NotFound("characterization not found")
    return reply(characterization_body(found))


ROUTES = (
    Route("GET", "/backends", Access.OPEN, backends),
    Route("GET", "/backends/{backend}", Access.OPEN, backend),
    Route("GET", "/backends/{backend}/characterizations", Access.OPEN, characterizations),
    Route("GET", "/backends/{backend}/characterizations/{id}", Access.KEY, characterization),
)

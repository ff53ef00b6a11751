"""``/calibrations``: the oldest spelling of characterizations, which cirq-ionq still asks for in every version.

It names no backend; the answer is about the QPUs among the backends.
"""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web

from orchestrator.api.endpoint import Access, Call, Route, reply
from orchestrator.api.errors import NotFound
from orchestrator.api.jobs import from_cirq
from orchestrator.api.query import with_fallback
from orchestrator.api.times import iso
from orchestrator.model import Characterization

_PER_BACKEND: Final = 10


def means(fidelity: dict[str, dict[str, float | None]]) -> dict[str, dict[str, float | None]]:
    """Fidelities in the older spelling: a ``mean`` where there is a ``median``."""
    return {
        name: {"mean" if key == "median" else key: value for key, value in figures.items()}
        for name, figures in fidelity.items()
    }


def calibration_body(recorded: Characterization) -> dict[str, Any]:
    """A recorded calibration in its oldest form."""
    return {
        "date": iso(recorded.recorded_at),
        "target": recorded.backend,
        "qubits": recorded.qubits,
        "connectivity": recorded.connectivity,
        "fidelity": means(recorded.fidelity),
        "timing": recorded.timing,
    }


async def _newest(call: Call, limit: int, start_ms: int | None, end_ms: int | None) -> list[Characterization]:
    known = call.orchestrator.backends
    found: list[Characterization] = []
    for name in known.names():
        recorded, _ = await known.characterizations(name, start_ms=start_ms, end_ms=end_ms, limit=limit)
        found += recorded
    return sorted(found, key=lambda recorded: recorded.recorded_at, reverse=True)


async def current(call: Call) -> web.Response:
    """The newest calibration of any backend."""
    found = await _newest(call, 1, None, None)
    if not found:
        raise NotFound("no backend has a calibration")
    return reply(calibration_body(found[0]))


async def listing(call: Call) -> web.Response:
    """The newest calibrations of each backend between two Unix times in milliseconds."""
    query = await with_fallback(call)
    start, end = (query.number(name, 0) if query.text(name) else None for name in ("start", "end"))
    found = await _newest(call, _PER_BACKEND, start, end)
    body: dict[str, Any] = {"calibrations": [calibration_body(recorded) for recorded in found]}
    if not from_cirq(call.request):
        body["next"] = None
    return reply(body)


ROUTES: Final = (
    Route("GET", "/calibrations/current", Access.KEY, current),
    Route("GET", "/calibrations", Access.KEY, listing),
)

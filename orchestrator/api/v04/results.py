"""Results and artifacts in v0.4, in both generations of the contract, and the formats' schemas."""

from __future__ import annotations

import msgspec
from aiohttp import web

from orchestrator.api.endpoint import Access, Call, Handler, Route, reply, reply_bytes
from orchestrator.api.errors import NotFound
from orchestrator.api.jobs import probabilities
from orchestrator.api.payloads import (
    AGGREGATE_ARTIFACT,
    FORMATS,
    HISTOGRAM,
    NATIVE_ARTIFACT,
    SHOTS,
    Format,
    render,
    render_aggregate,
)
from orchestrator.api.v04.schemas import SCHEMAS
from orchestrator.api.v04.wire import PREFIX
from orchestrator.circuits.formats.ionq import write_native
from orchestrator.lifecycle import JobStatus

_ARTIFACTS = {form.artifact: form for form in FORMATS}


def result(form: Format) -> Handler:
    """A route that answers a job's result in one format."""

    async def answer(call: Call) -> web.Response:
        return await _rendered(call, form)

    return answer


async def artifact(call: Call) -> web.Response:
    """What a descriptor in ``results`` or ``output`` points to."""
    name = call.part("artifact")
    if name == NATIVE_ARTIFACT:
        return reply_bytes(await _native(call))
    if name == AGGREGATE_ARTIFACT:
        children = await call.orchestrator.child_results(call.part("id"), project=call.project)
        if not children:
            raise NotFound("artifact not found")
        return reply_bytes(await render_aggregate(children))
    form = _ARTIFACTS.get(name)
    if form is None:
        await call.orchestrator.get(call.part("id"), project=call.project)
        raise NotFound("artifact not found")
    return await _rendered(call, form)


async def native_circuit(call: Call) -> web.Response:
    """The compiled circuit as text, as the contract once had it."""
    return web.Response(body=await _native(call), headers={"Content-Type": "text/plain; charset=utf-8"})


async def _rendered(call: Call, form: Format) -> web.Response:
    job_id, project = call.part("id"), call.project
    job = await call.orchestrator.get(job_id, project=project)
    if job.children and job.status is JobStatus.COMPLETED and not job.spec.dry_run:
        where = f"{PREFIX}/jobs/{job.id}/results/probabilities/aggregated"
        raise NotFound(f"{form.artifact} are of single circuits: ask for those of the child jobs, or for {where}")
    return reply_bytes(await render(form, job, await call.orchestrator.fetch_result(job_id, project=project)))


async def _native(call: Call) -> bytes:
    circuit = await call.orchestrator.compiled(call.part("id"), project=call.project)
    if circuit is None:
        raise NotFound("the job has no compiled circuit")
    return msgspec.json.encode(write_native(circuit))


async def format_schema(call: Call) -> web.Response:
    """The JSON Schema of a format."""
    schema = SCHEMAS.get(call.part("format"))
    if schema is None:
        raise NotFound("format not found")
    return reply(schema)


ROUTES = (
    Route("GET", "/jobs/{id}/results/probabilities", Access.KEY, probabilities),
    Route("GET", "/jobs/{id}/results/probabilities/aggregated", Access.KEY, probabilities),
    Route("GET", "/jobs/{id}/results/histogram", Access.KEY, result(HISTOGRAM)),
    Route("GET", "/jobs/{id}/results/shots", Access.KEY, result(SHOTS)),
    Route("GET", "/jobs/{id}/artifacts/{artifact}", Access.KEY, artifact),
    Route("GET", "/jobs/{id}/circuits/native", Access.KEY, native_circuit),
    Route("GET", "/schemas/formats/{format}", Access.KEY, format_schema),
)

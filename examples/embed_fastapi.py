"""A FastAPI application with a quantum cloud inside, open for as long as the application lives.

pip install fastapi uvicorn
uvicorn --factory embed_fastapi:create
curl -X POST http://127.0.0.1:8000/jobs?qubits=3
curl -N http://127.0.0.1:8000/jobs/ID/events
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import StreamingResponse

from orchestrator import Circuit, Gate, Job, Orchestrator
from orchestrator.errors import JobNotFound
from orchestrator.lifecycle import TERMINAL, JobStatus
from orchestrator.subscription import Delivered

routes = APIRouter()


def create(folder: str | None = None) -> FastAPI:
    """Make the application; with a folder its jobs outlive it."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        async with Orchestrator.open(folder) as orchestrator:
            yield {"orchestrator": orchestrator}

    app = FastAPI(title="GHZ states", lifespan=lifespan)
    app.include_router(routes)
    return app


def the_orchestrator(request: Request) -> Orchestrator:
    """The one that the lifespan opened."""
    orchestrator: Orchestrator = request.state.orchestrator
    return orchestrator


async def the_job(job_id: str, orchestrator: Annotated[Orchestrator, Depends(the_orchestrator)]) -> Job:
    """The job a path names, or 404."""
    try:
        return await orchestrator.get(job_id)
    except JobNotFound as error:
        raise HTTPException(404, "there is no such job") from error


Cloud = Annotated[Orchestrator, Depends(the_orchestrator)]
Known = Annotated[Job, Depends(the_job)]


@routes.post("/jobs", status_code=201)
async def submit(cloud: Cloud, qubits: Annotated[int, Query(ge=1, le=12)] = 2) -> dict[str, str]:
    """Submit a GHZ state; it is durable once answered."""
    gates = (Gate("h", (0,)), *(Gate("x", (qubit,), (0,)) for qubit in range(1, qubits)))
    job = await cloud.submit(Circuit(qubits=qubits, gates=gates), backend="simulator", name="ghz")
    return {"id": job.id, "status": job.status}


@routes.get("/jobs/{job_id}")
async def look(cloud: Cloud, job: Known) -> dict[str, Any]:
    """Show a job as it stands, with its probabilities once it has completed."""
    done = job.status is JobStatus.COMPLETED
    probabilities = (await cloud.fetch_result(job.id)).probabilities if done else None
    return {"id": job.id, "status": job.status, "probabilities": probabilities}


@routes.get("/jobs/{job_id}/events")
async def follow(cloud: Cloud, job: Known) -> StreamingResponse:
    """Stream a job's events as they happen, up to its end."""

    async def told() -> AsyncIterator[bytes]:
        async with aclosing(cloud.events("earliest", jobs=[job.id])) as items:
            async for item in items:
                if isinstance(item, Delivered):
                    yield b"id: %b\ndata: %b\n\n" % (item.cursor.encode(), msgspec.json.encode(item.event))
                    if item.event.after in TERMINAL:
                        return

    return StreamingResponse(told(), media_type="text/event-stream")

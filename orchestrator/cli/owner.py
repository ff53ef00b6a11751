"""The owner's door of a data folder: the admin socket, of its server or of a stand-in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import UnixConnector

from orchestrator.api.admin_socket import reachable, served
from orchestrator.backends.abc import Capabilities
from orchestrator.client import BackendInfo, Client, JobCost, JobInfo, JobList, Work, job_body
from orchestrator.datafolder import ADMIN_SOCKET, DATABASE
from orchestrator.errors import StorageRefused
from orchestrator.model import BackendState, Job, Result


class _Backend(msgspec.Struct, frozen=True):
    capabilities: Capabilities
    state: BackendState


class OwnerClient(Client):
    """A client of the admin socket: it needs no key, and may speak for any project."""

    def __init__(self, socket: str, project: str | None) -> None:
        super().__init__("http://admin", connector=UnixConnector(socket))
        self._project = {} if project is None else {"project": project}
        self._feed_params = list(self._project.items())

    async def owner_ask(self, shape: type[Any], method: str, path: str, body: object = None, **params: Any) -> Any:
        """One request of an admin route, for the project."""
        given = {name: str(value) for name, value in params.items() if value is not None}
        data = None if body is None else msgspec.json.encode(body)
        return await self.ask(shape, method, path, data=data, params=self._project | given)

    async def submit(self, work: Work, *, idempotency_key: str | None = None, **options: Any) -> str:
        if idempotency_key is not None:
            raise ValueError("the admin socket takes no idempotency key")
        job: Job = await self.owner_ask(Job, "POST", "/jobs", job_body(work, **options))
        return job.id

    async def get(self, job_id: str) -> JobInfo:
        job: JobInfo = await self.owner_ask(JobInfo, "GET", f"/jobs/{job_id}")
        return job

    async def jobs(
        self, *, status: str | None = None, backend: str | None = None, limit: int = 25, after: str | None = None
    ) -> JobList:
        wishes = {"status": status, "backend": backend, "limit": limit, "next": after}
        page: JobList = await self.owner_ask(JobList, "GET", "/jobs", **wishes)
        return page

    async def cost(self, job_id: str) -> JobCost:
        told: JobCost = await self.owner_ask(JobCost, "GET", f"/jobs/{job_id}/cost")
        return told

    async def cancel(self, job_ids: Sequence[str]) -> None:
        await self.owner_ask(dict[str, Any], "POST", "/jobs/cancel", {"ids": job_ids})

    async def backends(self) -> list[BackendInfo]:
        known: list[_Backend] = await self.owner_ask(list[_Backend], "GET", "/backends")
        return [
            BackendInfo(
                backend=each.capabilities.backend,
                status=each.state.status,
                reason=each.state.reason,
                qubits=each.capabilities.qubits,
                average_queue_time=each.state.average_queue_ms,
                noise_models=list(each.capabilities.noise_models),
                supported_native_gates=list(each.capabilities.shown_native_gates),
            )
            for each in known
        ]

    async def measured(self, job: JobInfo) -> Result:
        result: Result = await self.owner_ask(Result, "GET", f"/jobs/{job.id}/result")
        return result


@asynccontextmanager
async def owner(
    data: Path, *, project: str | None = None, run: bool = False, make: bool = False
) -> AsyncIterator[OwnerClient]:
    """A client for the owner of a data folder.

    Where no server holds the folder, its store is opened, and served to this client, while the block runs; jobs
    are executed only with `run`. A folder is made only with `make`.

    Raises:
        StorageRefused: There is no store in the folder.
        StoreLocked: Somebody holds the folder who does not serve it.
    """
    async with AsyncExitStack() as stack:
        if not served(data):
            if not make and not (data / DATABASE).is_file():
                raise StorageRefused(f"there is no store in {data}")
            from orchestrator.cli.standin import standing_in  # noqa: PLC0415 - brings the whole server

            await stack.enter_async_context(standing_in(data, run=run))
        address = stack.enter_context(reachable(data / ADMIN_SOCKET))
        yield await stack.enter_async_context(OwnerClient(address, project))

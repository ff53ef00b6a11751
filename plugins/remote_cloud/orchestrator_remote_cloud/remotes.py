"""The configured remotes: their links, what is imported from them, and the intents they share."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import anyio
import structlog

from orchestrator.backends.abc import AdapterContext, Attempt, Capabilities, Emit, Ready
from orchestrator.errors import SettingsError
from orchestrator.model import BackendState
from orchestrator_remote_cloud.branch import Branch
from orchestrator_remote_cloud.catalog import Catalog, capabilities
from orchestrator_remote_cloud.intents import Intents
from orchestrator_remote_cloud.link import Link
from orchestrator_remote_cloud.serving import serve
from orchestrator_remote_cloud.settings import RemoteSettings, Settings
from orchestrator_remote_cloud.shapes import time_ms
from orchestrator_remote_cloud.transport import HttpTransport, Transport

log = structlog.get_logger()

Reach = Callable[[RemoteSettings, AdapterContext], Transport]


def reach(settings: RemoteSettings, context: AdapterContext) -> Transport:
    """A remote, over sockets."""
    return HttpTransport(settings.root, context.clock, connect_s=settings.connect_s, timeout_s=settings.timeout_s)


class Remotes:
    """See the module; its methods are those of the adapter contract.

    Args:
        reach: How a remote is reached.
    """

    def __init__(self, reach: Reach = reach) -> None:
        self._reach = reach
        self._branches: dict[str, Branch] = {}
        self._links: list[Link] = []
        self._intents: Intents | None = None

    async def open(self, settings: Settings, context: AdapterContext) -> None:
        """Open the intents, and read the remotes' backends.

        A remote that is down is served from what was seen last; one that was never seen is left out until the next
        start, and the log says so.

        Raises:
            SettingsError: A key is not where the settings say, or a name is imported twice.
        """
        self._intents = intents = Intents(context.clock)
        await intents.open(context.data)
        catalogs: list[Catalog] = []
        for name, remote in settings.remotes.items():
            link = Link(name, remote, self._reach(remote, context), context.clock, random.Random())
            self._links.append(link)
            catalogs.append(Catalog(link, context.data))
        async with anyio.create_task_group() as opening:
            for catalog in catalogs:
                opening.start_soon(catalog.open)
        for catalog in catalogs:
            for local, target in catalog.imports().items():
                self._import(local, target, catalog, context)

    def _import(self, local: str, target: str, catalog: Catalog, context: AdapterContext) -> None:
        link, intents = catalog.link, self._intents
        if intents is None or catalog.find(target) is None:
            log.error("remote backend unknown", remote=link.name, backend=target, reason=link.down or "it has none")
            return
        if local in self._branches:
            raise SettingsError(f"remote_cloud: {local} is imported from two remotes")
        branch = self._branches[local] = Branch(local, target, catalog, intents)
        if (recorded := context.characterizations.get(local)) is not None:
            branch.characterization_id = recorded.id

    async def aclose(self) -> None:
        for link in self._links:
            await link.transport.aclose()
        if self._intents is not None:
            await self._intents.aclose()

    def capabilities(self) -> Sequence[Capabilities]:
        served = []
        for local, branch in self._branches.items():
            backend = branch.catalog.find(branch.target)
            if backend is not None:
                served.append(capabilities(local, backend, branch.link.settings))
        return served

    def state(self, backend: str) -> BackendState:
        branch = self._branches[backend]
        known = branch.catalog.find(branch.target)
        return BackendState(
            backend=backend,
            status="available" if branch.fault is None else "unavailable",
            reason=branch.fault,
            average_queue_ms=0 if known is None else round(known.average_queue_time or 0),
            updated_at=0 if known is None else time_ms(known.last_updated) or 0,
            characterization_id=branch.characterization_id,
        )

    async def serve(self, backend: Capabilities, ready: Ready, emit: Emit) -> None:
        await serve(self._branches[backend.backend], ready, emit)

    async def cancel(self, attempt: Attempt) -> None:
        """Cancel the remote job too, once nobody here waits for any of its circuits."""
        self._branches[attempt.job.backend].flights.leave(attempt.id)

    async def recover(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        """Those whose remote job is known; the intents of an earlier life say so."""
        adopted = []
        for name in {attempt.job.backend for attempt in attempts} & self._branches.keys():
            await self._branches[name].reload()
        for attempt in attempts:
            branch = self._branches.get(attempt.job.backend)
            if branch is not None and branch.flights.made(attempt.id):
                branch.adopted.append(attempt)
                adopted.append(attempt)
        return adopted

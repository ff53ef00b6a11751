"""The configured remotes: their links, what is imported from them, and the intents they share."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from functools import partial

import anyio
import structlog

from orchestrator.backends.abc import AdapterContext, Attempt, Capabilities, Emit, Estimated, Ready
from orchestrator.errors import SettingsError, Unavailable
from orchestrator.model import BackendState, Cost, Job, JobSpec
from orchestrator_remote_cloud.branch import Branch
from orchestrator_remote_cloud.catalog import Catalog, capabilities
from orchestrator_remote_cloud.intents import Intents
from orchestrator_remote_cloud.link import V04, Link
from orchestrator_remote_cloud.presuming import presumed
from orchestrator_remote_cloud.serving import serve
from orchestrator_remote_cloud.settings import RemoteSettings, Settings
from orchestrator_remote_cloud.shapes import Estimate, time_ms
from orchestrator_remote_cloud.submitting import question
from orchestrator_remote_cloud.transport import HttpTransport, Lost, NotSent, Refused, Transport

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
        self._looking: list[asyncio.Task[None]] = []

    async def open(self, settings: Settings, context: AdapterContext) -> None:
        """Open the intents, and read the remotes' backends.

        A remote that is down is served from what was seen last. Of one that was never seen, backends that the
        settings name are served as unavailable, with what is presumed of them; it is looked for until it is there,
        and then its backends are served as they are.

        Raises:
            SettingsError: A key is not where the settings say, or a name is imported twice.
        """
        self._intents = intents = Intents(context.clock)
        await intents.open(context.data)
        catalogs: list[Catalog] = []
        for name, remote in settings.remotes.items():
            if remote.key_in_clear:
                log.warning("key is sent unencrypted: give the remote an https address", remote=name, url=remote.root)
            link = Link(name, remote, self._reach(remote, context), context.clock, random.Random())
            self._links.append(link)
            catalogs.append(Catalog(link, context.data))
        async with anyio.create_task_group() as opening:
            for catalog in catalogs:
                opening.start_soon(catalog.open)
        for catalog in catalogs:
            self._import(catalog, context, intents)
            catalog.on_seen = partial(self._seen, catalog, context, intents)
            if not catalog.seen:
                self._looking.append(asyncio.create_task(catalog.until_seen(), name=f"remote {catalog.link.name}"))

    def _import(self, catalog: Catalog, context: AdapterContext, intents: Intents) -> bool:
        """Serve what the settings wish of a remote, as far as it is known; whether that is more than before.

        Raises:
            SettingsError: A name is imported from another remote already.
        """
        more = False
        for local, target in catalog.imports().items():
            branch, known = self._branches.get(local), catalog.find(target)
            if branch is not None and branch.catalog is not catalog:
                raise SettingsError(f"remote_cloud: {local} is imported from two remotes")
            if branch is None:
                branch = self._branches[local] = Branch(local, target, catalog, intents)
                more = True
                if (recorded := context.characterizations.get(local)) is not None:
                    branch.characterization_id = recorded.id
                if known is None:
                    reason = catalog.link.down or branch.fault
                    log.error("remote backend unknown", remote=catalog.link.name, backend=target, reason=reason)
            if branch.can is None and known is not None:
                branch.can = known
                more = True
        return more

    def _seen(self, catalog: Catalog, context: AdapterContext, intents: Intents) -> None:
        """A remote was looked at: what was presumed of its backends, or was not known of, can be served now."""
        try:
            more = self._import(catalog, context, intents)
        except SettingsError as error:
            log.error("remote backend not served", remote=catalog.link.name, reason=str(error))  # noqa: TRY400
            return
        if more:
            context.changed()

    async def aclose(self) -> None:
        for task in self._looking:
            task.cancel()
        await asyncio.gather(*self._looking, return_exceptions=True)
        for link in self._links:
            await link.transport.aclose()
        if self._intents is not None:
            await self._intents.aclose()

    def capabilities(self) -> Sequence[Capabilities]:
        return [
            capabilities(
                local,
                branch.can or presumed(branch.target),
                branch.catalog.rates(branch.target),
                branch.link.settings,
            )
            for local, branch in self._branches.items()
        ]

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

    def announced(self, job: Job) -> None:
        """See `Branch.foresee`."""
        self._branches[job.backend].foresee(job)

    async def estimate(self, spec: JobSpec) -> Estimated | None:
        """What the remote estimates of a job; None where it does not. Raises as the adapter's."""
        branch = self._branches[spec.backend]
        link = branch.link
        if link.down is not None:
            raise Unavailable(link.down)
        params = question(branch.target, [spec])
        try:
            told = await link.ask(Estimate, "GET", f"{V04}/jobs/estimate", params=params, of_job=True)
        except (NotSent, Lost) as error:
            raise Unavailable(f"{link.name} does not estimate: {error}") from error
        except Refused as error:
            log.info("remote does not estimate", remote=link.name, backend=branch.target, reason=str(error))
            return None
        cost, took_ms = told.cost, told.estimated_execution_time
        return Estimated(
            cost=None if cost is None else Cost(value=cost, unit=told.unit),
            execution_ms=None if took_ms is None else round(took_ms),
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

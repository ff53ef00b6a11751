"""Backends and adapters at run time: paused, drained, enabled, disabled and replaced, for the operator.

No job is lost on the way. What an adapter has in hand when it goes is ready again, uncounted; what waits stays in
the store until an adapter serves its backend again; and the attempt's number fences news of the adapter that went.

Changes of adapters are made one at a time. Each has a point of no return: a call canceled before it leaves
everything as it was, and after it the change is made to its end, within limits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

import anyio
import anyio.to_thread
import structlog

from orchestrator.backends.abc import Adapter, AdapterContext
from orchestrator.backends.discovery import made
from orchestrator.backends.placements import Placements
from orchestrator.backends.registry import Backends, Offer, asked
from orchestrator.backends.standing import Hold, Standings
from orchestrator.dispatch.dispatcher import Dispatcher
from orchestrator.errors import AdapterNotFound, AdapterUnavailable, StorageError, Unavailable
from orchestrator.model import BackendState
from orchestrator.settings import Settings

log = structlog.get_logger()

ENABLED: Final = "enabled"
DISABLED: Final = "disabled"
UNAVAILABLE: Final = "unavailable"

#: What adapters are given when they are opened, by the settings of the moment.
Contexts = Callable[[Settings], Awaitable[Callable[[Adapter], AdapterContext]]]


class Member(NamedTuple):
    """An adapter of the fleet: enabled, disabled at run time, or unavailable for a reason.

    Attributes:
        moved: Why its runs go to worker processes, where it was moved there.
    """

    name: str
    status: str
    backends: list[str]
    reason: str = ""
    moved: str = ""


class Fleet:
    """See the module. Adapters are known by their `name`, backends also by their short names.

    Args:
        contexts: What adapters are given.
        reread: Reads the settings anew; None where nothing can be read.
        told: Adapters that say that what they serve has changed, see `AdapterContext.changed`.
    """

    def __init__(
        self,
        backends: Backends,
        dispatcher: Dispatcher,
        standings: Standings,
        settings: Settings,
        *,
        placements: Placements,
        contexts: Contexts,
        reread: Callable[[], Settings] | None,
        told: asyncio.Queue[Adapter],
    ) -> None:
        self._backends = backends
        self._dispatcher = dispatcher
        self._standings = standings
        self._settings = settings
        self._placements = placements
        self._contexts = contexts
        self._reread = reread
        self._changing = anyio.Lock()
        self._closed = False
        self._told = told

    async def aclose(self) -> None:
        """Change nothing more; returns when a change under way is made, or given up."""
        self._closed = True
        async with self._changing:
            pass

    # -- backends -----------------------------------------------------------------------

    async def pause(self, backend: str, reason: str = "") -> BackendState:
        """Hand out nothing more of a backend's jobs, what runs goes on; holds until `resume`, over restarts too.

        Cancelling leaves it paused or not, and recorded as it is.

        Raises:
            BackendNotFound: There is no such backend.
            StorageError: It could not be stored; the backend is as it was.
        """
        name = self._backends.resolve(backend)
        holds = self._standings.of(name)
        before = holds.reason(Hold.PAUSED)
        holds.put(Hold.PAUSED, reason)
        try:
            await self._standings.record(name)
        except StorageError:
            if before is None:
                holds.lift(Hold.PAUSED)
            else:
                holds.put(Hold.PAUSED, before)
            raise
        log.info("backend paused", backend=name, reason=reason)
        return self._backends.state(name)

    async def resume(self, backend: str) -> BackendState:
        """End a pause; one that is not paused stays as it is. Raises as `pause`."""
        name = self._backends.resolve(backend)
        holds = self._standings.of(name)
        before = holds.reason(Hold.PAUSED)
        holds.lift(Hold.PAUSED)
        try:
            await self._standings.record(name)
        except StorageError:
            if before is not None:
                holds.put(Hold.PAUSED, before)
            raise
        if before is not None:
            log.info("backend resumed", backend=name)
        return self._backends.state(name)

    async def drain(self, backend: str, timeout_s: float | None = None, reason: str = "drained") -> bool:
        """Pause a backend and wait until nothing of it runs; it stays paused, however the wait ends.

        Args:
            timeout_s: Longest wait; None for none.
            reason: Of the pause, if it is not paused already.

        Returns:
            Whether it has emptied in time.

        Raises:
            BackendNotFound, StorageError: As `pause`.
        """
        name = self._backends.resolve(backend)
        if Hold.PAUSED not in self._standings.of(name):
            await self.pause(name, reason)
        emptied = await self._dispatcher.emptied([name], timeout_s, lambda: self._closed)
        if emptied:
            log.info("backend drained", backend=name)
        return emptied

    # -- adapters -----------------------------------------------------------------------

    def members(self) -> list[Member]:
        """All adapters, by name: enabled, disabled, and those that are configured but unavailable."""
        served_by = self._backends.served_by()
        enabled = {adapter.name for adapter in self._backends.adapters()}
        problems = {problem.name: problem.reason for problem in self._backends.problems}
        found = []
        for name in sorted(enabled | set(served_by.values()) | problems.keys()):
            status = ENABLED if name in enabled else UNAVAILABLE if name in problems else DISABLED
            backends = [backend for backend, adapter in served_by.items() if adapter == name]
            placement = self._placements.of(name)
            moved = placement.reason if placement is not None and placement.worker else ""
            found.append(Member(name, status, backends, problems.get(name, ""), moved))
        return found

    async def enable(self, adapter: Adapter | str) -> list[str]:
        """Open an adapter and serve its backends; jobs that wait for them are run.

        Args:
            adapter: One not yet opened, or the name of an installed one, made with settings read now.

        Returns:
            The backends it serves.

        Raises:
            AdapterUnavailable: It is missing, broken, or one of its name is enabled; nothing was changed.
        """
        async with self._change():
            new, settings = await self._made(adapter)
            if any(known.name == new.name for known in self._backends.adapters()):
                raise AdapterUnavailable(new.name, "one of that name is enabled already; replace or disable it")
            offer = await self._offered(new, settings)
            with anyio.CancelScope(shield=True):
                served = await self._serve(offer)
                log.info("adapter enabled", adapter=new.name, backends=served)
        return served

    async def disable(self, name: str, *, drain_s: float | None = None) -> list[str]:
        """Take an adapter out of service and close it; its backends are retired, their jobs wait.

        Args:
            name: Of the adapter.
            drain_s: Longest wait for what runs, before it is put back; None for the settings' drain limit.

        Returns:
            The backends it served.

        Raises:
            AdapterNotFound: No enabled adapter has that name, or several have.
        """
        async with self._change():
            old = self._find(name)
            backends = self._of(old)
            async with self._leaving(backends, f"its adapter {name} is being disabled", drain_s):
                await self._retire(old, backends, f"its adapter {name} is disabled")
                log.info("adapter disabled", adapter=name, backends=backends)
            await self._standings.tell(*backends)
        return backends

    async def replace(self, name: str, adapter: Adapter, *, drain_s: float | None = None) -> list[str]:
        """Put another adapter in an adapter's place. The new one is opened first: one that cannot be changes nothing.

        A backend that the new one does not serve is retired. Jobs that were prepared by the old one stay so.

        Args:
            name: Of the adapter that goes.
            adapter: The one that comes, not yet opened.
            drain_s: As of `disable`.

        Returns:
            The backends the new one serves.

        Raises:
            AdapterNotFound: As `disable`.
            AdapterUnavailable: The new one cannot be opened, or its name belongs to a third.
        """
        async with self._change():
            served = await self._replace(self._find(name), adapter, self._settings, drain_s)
            log.info("adapter replaced", adapter=name, by=adapter.name, backends=served)
        return served

    async def restart(self, name: str, *, drain_s: float | None = None) -> list[str]:
        """Replace an adapter by a new one of the same entry point, made with settings read now. Raises as `replace`.

        Raises:
            SettingsError: The settings cannot be read; nothing was changed.
        """
        async with self._change():
            old = self._find(name)
            new, settings = await self._made(name)
            served = await self._replace(old, new, settings, drain_s)
            log.info("adapter restarted", adapter=name, backends=served)
        return served

    async def follow(self) -> None:
        """Serve what adapters say has changed, until canceled."""
        while True:
            adapter = await self._told.get()
            try:
                async with self._change():
                    await self._renew(adapter)
            except Unavailable:
                return
            except Exception:
                log.exception("what an adapter serves cannot be renewed", adapter=adapter.name)

    async def _renew(self, adapter: Adapter) -> None:
        """Serve what an adapter offers now: what has not changed is left alone."""
        if adapter not in self._backends.adapters():
            return
        offer = asked(adapter)
        before = {can.backend: can for known, can in self._backends.served() if known is adapter}
        news = [can for can in offer.served if before.get(can.backend) != can]
        gone = before.keys() - {can.backend for can in offer.served}
        leaving = [*gone, *(can.backend for can in news if can.backend in before)]
        if not news and not gone:
            return
        async with self._leaving(leaving, f"its adapter {adapter.name} can do something else now", None):
            await self._dispatcher.remove(leaving, "what its adapter can do has changed")
            self._backends.dismiss(leaving)
            served = await self._serve(offer._replace(served=tuple(news)))
            self._standings.retire(gone, f"its adapter {adapter.name} does not serve it any more")
            await self._standings.tell(*gone)
        log.info("backends renewed", adapter=adapter.name, backends=served, retired=sorted(gone))

    # -- how ----------------------------------------------------------------------------

    @asynccontextmanager
    async def _change(self) -> AsyncGenerator[None]:
        """One change at a time, none once the orchestrator closes."""
        async with self._changing:
            if self._closed:
                raise Unavailable("the orchestrator is closing")
            yield

    def _find(self, name: str) -> Adapter:
        adapters = self._backends.adapters()
        found = [adapter for adapter in adapters if adapter.name == name]
        if len(found) != 1:
            raise AdapterNotFound(name, [adapter.name for adapter in adapters])
        return found[0]

    def _of(self, adapter: Adapter) -> list[str]:
        return [can.backend for known, can in self._backends.served() if known is adapter]

    async def _made(self, adapter: Adapter | str) -> tuple[Adapter, Settings]:
        """An adapter that is still to be opened, and the settings to open it with; both read off the event loop."""
        if isinstance(adapter, Adapter):
            return adapter, self._settings
        settings = self._settings if self._reread is None else await anyio.to_thread.run_sync(self._reread)
        return await made(adapter, settings.dispatch.import_limit_s), settings

    async def _offered(self, adapter: Adapter, settings: Settings) -> Offer:
        """An adapter's offer; it begins anew, whatever is remembered of one of its name, and if it can be opened."""
        context = await self._contexts(settings)
        before = self._placements.forget(adapter.name)
        try:
            return await self._backends.offered(adapter, context)
        except BaseException:
            if before is not None:
                self._placements.restore(adapter.name, before)
            raise

    @asynccontextmanager
    async def _leaving(self, backends: Sequence[str], reason: str, drain_s: float | None) -> AsyncGenerator[None]:
        """Hand out nothing and wait for what runs; then the block runs shielded. Given up before, all is as it was."""
        limit_s = self._settings.dispatch.drain_s if drain_s is None else drain_s
        try:
            for backend in backends:
                self._standings.of(backend).put(Hold.LEAVING, reason)
            await self._standings.tell(*backends)
            ending = [backend for backend in backends if not self._backends.capabilities(backend).recovers]
            await self._dispatcher.emptied(ending, limit_s, lambda: self._closed)
            if self._closed:
                raise Unavailable("the orchestrator is closing")  # noqa: TRY301 - to be undone like the rest
        except BaseException:
            for backend in backends:
                self._standings.of(backend).lift(Hold.LEAVING)
            with anyio.CancelScope(shield=True):
                await self._standings.tell(*backends)
            raise
        with anyio.CancelScope(shield=True):
            yield

    async def _retire(self, old: Adapter, backends: Sequence[str], reason: str) -> None:
        await self._dispatcher.remove(backends, reason)
        self._backends.dismiss(backends)
        self._standings.retire(backends, reason)
        await self._backends.close(old)

    async def _replace(self, old: Adapter, new: Adapter, settings: Settings, drain_s: float | None) -> list[str]:
        if any(known is not old and known.name == new.name for known in self._backends.adapters()) or new is old:
            raise AdapterUnavailable(new.name, "one of that name is enabled already")
        before = self._placements.of(new.name)
        offer = await self._offered(new, settings)
        backends = self._of(old)
        try:
            async with self._leaving(backends, f"its adapter {old.name} is being replaced", drain_s):
                await self._dispatcher.remove(backends, "the adapter was replaced")
                self._backends.dismiss(backends)
                served = await self._serve(offer)
                gone = set(backends) - set(served)
                self._standings.retire(gone, f"its adapter {old.name} was replaced by one that does not serve it")
                if old.name != new.name:
                    self._placements.forget(old.name)
                await self._standings.tell(*gone)
                await self._backends.close(old)
        except BaseException:
            if offer.adapter not in {adapter for adapter, _ in self._backends.served()}:
                await self._backends.close(new)
                if before is not None:
                    self._placements.restore(new.name, before)
            raise
        return served

    async def _serve(self, offer: Offer) -> list[str]:
        """Serve what an opened adapter offers. To be shielded."""
        served = self._backends.admit(offer)
        self._standings.renew(served)
        self._dispatcher.add(pair for pair in self._backends.served() if pair[1].backend in served)
        try:
            await self._dispatcher.recover(served)
            await self._backends.calibrate(offer, served)
        except StorageError as error:
            log.warning("the store fails while an adapter is enabled", adapter=offer.adapter.name, reason=str(error))
        self._dispatcher.serve(served)
        await self._standings.tell(*served)
        return served

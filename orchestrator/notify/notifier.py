"""Notifications of one orchestrator, put together: rules, channels, delivery."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence

import anyio.abc

from orchestrator.clock import Clock, NewId
from orchestrator.hooks import Delivery
from orchestrator.model import Job, Project, Result
from orchestrator.notify.abc import Channel
from orchestrator.notify.composing import Composer
from orchestrator.notify.delivery import Deliverer
from orchestrator.notify.registry import Channels
from orchestrator.notify.rules import Rules
from orchestrator.notify.service import Hooks
from orchestrator.settings import Settings
from orchestrator.storage.abc import Committed, Store


class Notifier:
    """Made before the store is opened, which asks `route` about every batch; opened once it is.

    Args:
        given: Channels beside those the settings name, not yet opened.
    """

    def __init__(
        self, store: Store, settings: Settings, clock: Clock, rng: random.Random, *, given: Sequence[Channel] = ()
    ) -> None:
        self._store = store
        self._clock = clock
        self._rng = rng
        self._public_url = settings.notify.public_url
        self._rules = Rules()
        self._channels = Channels(
            settings.notify.channels,
            settings.channels,
            clock,
            given=given,
            import_limit_s=settings.dispatch.import_limit_s,
        )

    def route(self, entries: Sequence[Committed]) -> Sequence[Delivery]:
        """What is to be delivered of these events; `storage.abc.Route`."""
        return self._rules.route(entries)

    async def open(
        self,
        new_id: NewId,
        *,
        project: str,
        project_of: Callable[[str], Project],
        result_of: Callable[[Job], Awaitable[Result]],
        resolve: Callable[[str], str],
    ) -> Hooks:
        """Load the rules; answers the front door. For the arguments see `Composer` and `Hooks`."""
        self._rules.load(await self._store.outbox.hooks(), self._store.epoch)
        composer = Composer(self._store, project_of=project_of, result_of=result_of, public_url=self._public_url)
        outbox = self._store.outbox
        self._deliverer = Deliverer(
            outbox, self._rules, self._channels, composer=composer, clock=self._clock, rng=self._rng
        )
        return Hooks(
            outbox,
            self._rules,
            self._channels,
            self._deliverer,
            clock=self._clock,
            new_id=new_id,
            project=project,
            resolve=resolve,
        )

    def notice(self, entries: Sequence[Committed]) -> None:
        """Listener of the bus."""
        self._deliverer.notice(entries)

    def start(self, tasks: anyio.abc.TaskGroup) -> None:
        """Deliver, in tasks of that group, until it is canceled."""
        tasks.start_soon(self._deliverer.run)

    async def drain(self) -> None:
        """Begin no further attempts, and wait for those being made."""
        await self._deliverer.drain()

    async def aclose(self) -> None:
        """Close the channels."""
        await self._channels.aclose()

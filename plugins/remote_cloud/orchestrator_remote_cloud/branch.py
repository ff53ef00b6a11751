"""One imported backend: what its tasks share."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import anyio
import anyio.abc

from orchestrator.backends.abc import Attempt, Clock, Emit
from orchestrator.errors import ExecutionError
from orchestrator.model import Result
from orchestrator_remote_cloud.catalog import Catalog
from orchestrator_remote_cloud.flights import Flight, Flights
from orchestrator_remote_cloud.intents import Intents
from orchestrator_remote_cloud.link import Link
from orchestrator_remote_cloud.shapes import RemoteBackend

Outcomes = Sequence[tuple[Attempt, Result | ExecutionError]]


class Branch:
    """See the module.

    Attributes:
        local, target: The backend's name here, and at the remote.
        can: What it can do, as the remote told when it was first seen; None until then.
        adopted: Attempts of an earlier life that run at the remote, for the next `serve`.
        denied: Why the remote takes no job for this backend, from this key.
        live_since: Since when the feed tells everything (monotonic seconds); None while it does not.
        results_since: The same of the live results.
        look: Set when the remote's backends should be looked at again.
        characterization_id: The calibration recorded last.
    """

    emit: Emit

    def __init__(self, local: str, target: str, catalog: Catalog, intents: Intents) -> None:
        self.local, self.target = local, target
        self.can: RemoteBackend | None = None
        self.link: Link = catalog.link
        self.catalog, self.intents = catalog, intents
        self.flights = Flights()
        self.adopted: list[Attempt] = []
        self.denied: str | None = None
        self.live_since: float | None = None
        self.results_since: float | None = None
        self.look = anyio.Event()
        self.characterization_id: str | None = None
        self._tasks: anyio.abc.TaskGroup | None = None

    @property
    def clock(self) -> Clock:
        return self.link.clock

    async def reload(self) -> None:
        """Learn the intents of earlier lives, unless the backend is served by this one."""
        if self._tasks is None:
            self.flights.know(await self.intents.of(self.local))

    def begin(self, emit: Emit, tasks: anyio.abc.TaskGroup) -> None:
        """A life of `serve` begins."""
        self.emit, self._tasks = emit, tasks

    def end(self) -> None:
        """It is over."""
        self._tasks = None
        self.flights.ground()

    def spawn(self, function: Callable[..., Coroutine[Any, Any, object]], *arguments: Any) -> None:
        """Run a task for as long as the backend is served."""
        if self._tasks is not None:
            self._tasks.start_soon(function, *arguments)

    def awaits_result(self, flight: Flight) -> bool:
        """Whether the end of a flight comes with its result, by itself."""
        return self.results_since is not None and self.results_since <= flight.asked_at

    def watches(self, flight: Flight) -> bool:
        """Whether all that became of a flight is told by itself."""
        return self.awaits_result(flight) and self.live_since is not None and self.live_since <= flight.asked_at

    def look_again(self) -> None:
        """Have the remote's backends looked at."""
        self.look.set()
        self.look = anyio.Event()

    def deny(self, reason: str | None) -> None:
        """The remote takes no job here, or does again."""
        if reason != self.denied:
            self.denied = reason
            self.look_again()

    @property
    def fault(self) -> str | None:
        """Why the backend runs nothing at present; None if it does."""
        return self.link.down or self.denied or self.catalog.fault(self.target)

    async def conclude(self, flight: Flight, outcomes: Outcomes) -> None:
        """Report how the attempts of a flight ended, and forget it once all its jobs are accounted for."""
        await self.emit.finished(outcomes)
        self.released(flight, outcomes)
        await self.tidy(flight)

    def released(self, flight: Flight, outcomes: Outcomes) -> None:
        """These attempts are over."""
        for attempt, _ in outcomes:
            if flight.attempts.get(attempt.id) is attempt:
                del flight.attempts[attempt.id]
                flight.over.add(attempt.id)

    async def tidy(self, flight: Flight) -> None:
        """Forget a flight of which every job has ended; one that may still come back for its result keeps it."""
        flight.collecting = False
        if flight.over | flight.left >= set(flight.intent.jobs):
            await self.intents.remove(flight.token)
            self.flights.forget(flight)

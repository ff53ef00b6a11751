"""One imported backend: what its tasks share."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

import anyio
import anyio.abc

from orchestrator.backends.abc import Attempt, Clock, Emit
from orchestrator.errors import ExecutionError
from orchestrator.model import Job, Result
from orchestrator_remote_cloud.catalog import Catalog
from orchestrator_remote_cloud.flights import Flight, Flights
from orchestrator_remote_cloud.intents import Intent, Intents
from orchestrator_remote_cloud.link import Link
from orchestrator_remote_cloud.shapes import RemoteBackend

#: Most intents that are written ahead of their jobs, and how long one is kept if its job does not come.
_FORESEEN: Final = 64
_FORESEEN_S: Final = 5.0

Outcomes = Sequence[tuple[Attempt, Result | ExecutionError]]


class _Foreseen:
    """An intent that is written ahead of its job."""

    def __init__(self, intent: Intent, until: float) -> None:
        self.intent, self.until = intent, until
        self.written = anyio.Event()


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
        self._foreseen: dict[str, _Foreseen] = {}

    @property
    def clock(self) -> Clock:
        return self.link.clock

    # -- intents ahead of their jobs --------------------------------------------------------

    def foresee(self, job: Job) -> None:
        """Write the intent of a job while the store writes the job, if its turn would come at once.

        An intent too many harms nothing: of a job that does not come it is removed again. Only with orchestrators: if
        we are killed meanwhile it has to be found out whether it was sent, which takes time where no keys are honoured.
        """
        self._let_lapse()
        if not (
            self._tasks is not None
            and self.link.orchestrator
            and self.fault is None
            and self.link.settings.limit_per_job is None
            and len(self._foreseen) < min(_FORESEEN, self.link.settings.in_flight - len(self.flights))
        ):
            return
        intent = Intent(token=job.id, backend=self.local, jobs=(job.id,), created_ms=self.clock.now_ms())
        self._foreseen[job.id] = foreseen = _Foreseen(intent, self.clock.monotonic() + _FORESEEN_S)
        self.spawn(self._write_ahead, foreseen)

    async def _write_ahead(self, foreseen: _Foreseen) -> None:
        await self.intents.add(foreseen.intent)
        foreseen.written.set()

    def _let_lapse(self) -> None:
        """Have the intents removed of jobs that did not come."""
        now = self.clock.monotonic()
        for token, foreseen in self._foreseen.items():
            if foreseen.until > now:
                break
            self.spawn(self._lapse, token)

    async def _lapse(self, token: str) -> None:
        if self._foreseen.pop(token, None) is not None:
            await self.intents.remove(token)

    async def intend(self, intent: Intent) -> None:
        """Have an intent durable: now the request may leave."""
        foreseen = self._foreseen.pop(intent.token, None)
        if foreseen is None:
            await self.intents.add(intent)
        elif not foreseen.written.is_set():
            await foreseen.written.wait()

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
        self._foreseen.clear()
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

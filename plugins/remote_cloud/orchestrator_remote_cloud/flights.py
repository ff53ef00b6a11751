"""Jobs on their way to a remote and back: one *flight* for each remote job, meant or made.

What becomes known of a remote job (from the feed, a listing, or the answer to a submission) is told to `Flights.news`
and moves its flight forward, never back. The tasks of a backend wait for what is theirs to do: tell starts, collect
ends, cancel.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import anyio
import msgspec

from orchestrator.backends.abc import Attempt
from orchestrator_remote_cloud.intents import Intent
from orchestrator_remote_cloud.shapes import Bulk, RemoteFailure, RemoteJob

STARTED: Final = "started"
COMPLETED: Final = "completed"
FAILED: Final = "failed"
CANCELED: Final = "canceled"
#: The remote knows the job no more.
GONE: Final = "gone"
ENDED: Final = frozenset({COMPLETED, FAILED, CANCELED, GONE})
_RANK: Final = {STARTED: 1} | dict.fromkeys(ENDED, 2)
#: News of remote jobs that are not known yet, kept because a feed may be faster than the answer to a submission. Most
#: are of jobs of others, so little is kept: so many, without results of more outcomes than that.
_EARLY: Final = 1024
_EARLY_OUTCOMES: Final = 64


@dataclass(frozen=True)
class News:
    """What became known of a remote job; `job` where a listing told it, `bulk` where its result came by itself."""

    status: str
    failure: RemoteFailure | None = None
    job: RemoteJob | None = None
    bulk: Bulk | None = None


@dataclass(eq=False)
class Flight:
    """One remote job.

    Attributes:
        attempts: The attempts that wait for it, by local job.
        left, over: Local jobs that no longer do: they ended without it (canceled, say), or with what came of it. None
            is in both.
        sent_ms: When a request was last sent that may have arrived (local wall time); None while there is none.
        news: The last word about it.
        asked_at: When the request that made it was sent (monotonic seconds).
        told: Attempts whose start was told.
        fraction: How far it is, where that is news for here.
        submitting, collecting: Its way there, its end is being looked after.
    """

    intent: Intent
    attempts: dict[str, Attempt] = field(default_factory=dict)
    left: set[str] = field(default_factory=set)
    over: set[str] = field(default_factory=set)
    remote_id: str | None = None
    sent_ms: int | None = None
    news: News | None = None
    asked_at: float = 0.0
    told: set[Attempt] = field(default_factory=set)
    fraction: float | None = None
    submitting: bool = False
    collecting: bool = False

    @property
    def token(self) -> str:
        return self.intent.token

    @property
    def family(self) -> bool:
        """It is of the circuits of one job, also where that has a single one."""
        return self.token != self.intent.jobs[0]

    @property
    def wanted(self) -> bool:
        """Somebody waits for it, or may come back for it after a restart."""
        return len(self.left) + len(self.over) < len(self.intent.jobs)

    @property
    def members(self) -> list[Attempt]:
        """Those who wait, in circuit order."""
        return [self.attempts[job_id] for job_id in self.intent.jobs if job_id in self.attempts]

    @property
    def complete(self) -> bool:
        """All of its jobs wait for it."""
        return len(self.attempts) == len(self.intent.jobs)

    @property
    def ended(self) -> bool:
        return self.news is not None and self.news.status in ENDED


class Flights:
    """The flights of one backend.

    Attributes:
        unsure: Flights whose status has to be asked for, whatever the feed says.
        starting, advancing, ending, unwanted: Flights with something to do for the tasks that tell, collect and cancel.
            An unwanted one that nobody is submitting and of which no remote job is known may be one all the same.
        arrived: Set when a remote made the next job.
        changed: Set when one of these, or the number of flights, has changed; wait for it before looking.
        doubted: Set when there are unsure flights.
    """

    def __init__(self) -> None:
        self.unsure: set[Flight] = set()
        self.starting: list[Flight] = []
        self.advancing: list[Flight] = []
        self.ending: list[Flight] = []
        self.unwanted: list[Flight] = []
        self.arrived = anyio.Event()
        self.changed = anyio.Event()
        self.doubted = anyio.Event()
        self._known: dict[str, Intent] = {}
        self._by_token: dict[str, Flight] = {}
        self._by_remote: dict[str, Flight] = {}
        self._by_job: dict[str, Flight] = {}
        self._unlanded: set[Flight] = set()
        self._early: OrderedDict[str, News] = OrderedDict()
        self._overlooked = False

    def __len__(self) -> int:
        return len(self._by_token)

    def __iter__(self) -> Iterator[Flight]:
        return iter(tuple(self._by_token.values()))

    @property
    def airborne(self) -> list[Flight]:
        """Flights whose end has to be learned, oldest first."""
        return [flight for flight in self._by_remote.values() if not flight.ended]

    def wake(self) -> None:
        """Tell the tasks that there may be something to do."""
        if self.unsure:
            self.doubted.set()
            self.doubted = anyio.Event()
        self.changed.set()
        self.changed = anyio.Event()

    @property
    def bytes(self) -> int:
        """Bytes of inputs that are held."""
        return sum(len(attempt.input) for flight in self for attempt in flight.attempts.values())

    def at(self, job_id: str) -> Flight | None:
        """The flight a local job is on."""
        return self._by_job.get(job_id)

    def made(self, job_id: str) -> bool:
        """Whether a remote job of that local one is known."""
        intent = self._known.get(job_id)
        return intent is not None and intent.remote_id is not None

    def know(self, intents: Iterable[Intent]) -> None:
        """What earlier lives meant and made, and nothing else."""
        self._known = {job_id: intent for intent in intents for job_id in intent.jobs}

    @property
    def jobs(self) -> list[str]:
        """The local jobs of all that was meant or made."""
        return list(self._known)

    def ground(self) -> None:
        """Nobody serves any more: what was meant and made is in the intents."""
        for flights in (self._known, self._by_token, self._by_remote, self._by_job, self._early):
            flights.clear()
        self.unsure.clear()
        self._unlanded.clear()
        self._overlooked = False
        self.starting, self.advancing, self.ending, self.unwanted = [], [], [], []
        self.wake()

    # -- boarding -------------------------------------------------------------------------

    def board(self, attempt: Attempt) -> Flight | None:
        """The flight that the attempt's job is on already, from an earlier attempt or an earlier life; None if none is.

        The attempt takes the place of an earlier one.
        """
        intent = self._known.get(attempt.id)
        if intent is None:
            return None
        flight = self._by_token.get(intent.token) or self.add(intent)
        flight.attempts[attempt.id] = attempt
        flight.left.discard(attempt.id)
        flight.over.discard(attempt.id)
        self._by_job[attempt.id] = flight
        if flight.news is not None:
            self._due(flight)
        return flight

    def add(self, intent: Intent, attempts: Iterable[Attempt] = ()) -> Flight:
        """A flight of an intent."""
        flight = Flight(intent, {attempt.id: attempt for attempt in attempts}, remote_id=intent.remote_id)
        self._by_token[intent.token] = flight
        for job_id in intent.jobs:
            self._known[job_id] = intent
            self._by_job[job_id] = flight
        if intent.remote_id is None:
            self._unlanded.add(flight)
        else:
            self._by_remote[intent.remote_id] = flight
            self.unsure.add(flight)
        self.wake()
        return flight

    def landed(self, flight: Flight, remote_id: str) -> None:
        """The remote made the job."""
        flight.remote_id = remote_id
        flight.intent = msgspec.structs.replace(flight.intent, remote_id=remote_id)
        self._by_remote[remote_id] = flight
        if (early := self._early.pop(remote_id, None)) is not None:
            self.news(remote_id, early)
        elif self._overlooked:
            self.unsure.add(flight)
        self._settled(flight)
        if not flight.wanted:
            self.unwanted.append(flight)
        self.arrived.set()
        self.arrived = anyio.Event()
        self.wake()

    def leave(self, job_id: str) -> None:
        """A local job has ended, whatever becomes of its remote job: a flight that all have left is wanted no more."""
        intent = self._known.get(job_id)
        if intent is None:
            return
        flight = self._by_token.get(intent.token) or self.add(intent)
        if job_id in flight.left or job_id in flight.over:
            return
        flight.attempts.pop(job_id, None)
        flight.left.add(job_id)
        if not flight.wanted and (flight.remote_id is not None or not flight.submitting):
            self.unwanted.append(flight)
        self.wake()

    def _settled(self, flight: Flight) -> None:
        """What the remote makes of it is known: once that holds for all, news of unknown jobs are of jobs of others."""
        self._unlanded.discard(flight)
        if not self._unlanded:
            self._early.clear()
            self._overlooked = False

    def forget(self, flight: Flight) -> None:
        """It is over."""
        self._settled(flight)
        self._by_token.pop(flight.token, None)
        if flight.remote_id is not None:
            self._by_remote.pop(flight.remote_id, None)
        self.unsure.discard(flight)
        for job_id in flight.intent.jobs:
            if self._by_job.get(job_id) is flight:
                del self._by_job[job_id]
                del self._known[job_id]
        self.wake()

    # -- news -----------------------------------------------------------------------------

    def news(self, remote_id: str, news: News) -> bool:
        """Something became known of a remote job; whether it was news."""
        rank = _RANK.get(news.status, 0)
        if not rank:
            return False
        flight = self._by_remote.get(remote_id)
        if flight is None:
            self._keep_early(remote_id, news)
            return False
        if flight.news is not None and rank <= _RANK[flight.news.status]:
            return False
        flight.news = news
        self.unsure.discard(flight)
        self._due(flight)
        return True

    def _keep_early(self, remote_id: str, news: News) -> None:
        """It may be of a job of ours whose submission is still to be answered."""
        if not self._unlanded:
            return
        known = self._early.get(remote_id)
        if known is not None and _RANK[news.status] <= _RANK[known.status]:
            return
        small = news.bulk is None or news.bulk.outcomes <= _EARLY_OUTCOMES
        self._early[remote_id] = News(news.status, news.failure, bulk=news.bulk if small else None)
        if len(self._early) > _EARLY:
            self._early.popitem(last=False)
            self._overlooked = True

    def advanced(self, remote_id: str, fraction: float) -> None:
        """A remote job has come so far; what was not told yet of the same job is out of date."""
        flight = self._by_remote.get(remote_id)
        if flight is None or flight.ended:
            return
        if flight.fraction is None:
            self.advancing.append(flight)
            self.wake()
        flight.fraction = fraction

    def _due(self, flight: Flight) -> None:
        if flight.ended:
            if not flight.collecting:
                flight.collecting = True
                self.ending.append(flight)
        else:
            self.starting.append(flight)
        self.wake()

    def tracked(self, remote_id: str) -> Flight | None:
        """The flight of a remote job."""
        return self._by_remote.get(remote_id)

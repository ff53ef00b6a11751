"""Learning what becomes of remote jobs: by the feed where the remote has one, else by looking at them all at once.

The feed tells everything from the moment it is live. Jobs submitted before that moment, or found again, are looked at
once. Without a feed, a listing of many jobs by their ids is asked for now and then: soon after something changed or was
submitted, and ever more rarely while nothing does. A feed is backed by a rare look too: news that is lost costs time.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from typing import Any, Final

from orchestrator.client import FeedEvent, FeedGap, FeedLive, FeedUnavailable, RemoteError, Unreachable
from orchestrator.errors import CursorExpired
from orchestrator_remote_cloud.branch import Branch
from orchestrator_remote_cloud.flights import ENDED, GONE, Flight, News
from orchestrator_remote_cloud.link import V04, first
from orchestrator_remote_cloud.shapes import RemoteFailure, RemoteJobs, remote_job
from orchestrator_remote_cloud.transport import Lost, NotSent, Refused

#: Jobs looked at in one request: a page of the vendor's, and of ours.
_CLOUD_PAGE: Final = 25
_OUR_PAGE: Final = 100
#: Time between two looks while the feed is live, and before a remote that had no feed is asked for one again.
_BACKED_S: Final = 60.0
#: Least time between two looks at what the feed may not have told.
_LOOK_S: Final = 0.25
_NO_FEED_S: Final = 300.0
_SLOWER: Final = 1.6
#: What is answered of a job that is not there any more.
_NO_MORE: Final = frozenset({404, 410})


class Follower:
    """Follows the flights of one branch."""

    def __init__(self, branch: Branch) -> None:
        self._branch = branch
        self._link = branch.link
        self._turn = 0
        self._asking: set[str] = set()

    # -- the feed ---------------------------------------------------------------------------

    async def listen(self) -> None:
        """Read the feed, without end; a cloud that has none is asked again after a while."""
        branch, failures = self._branch, 0
        while True:
            while not self._link.orchestrator:
                await branch.clock.sleep(_BACKED_S)
            await self._link.until_up()
            try:
                await self._read()
            except FeedUnavailable as error:
                if error.status < 500 and error.status != 429:
                    await branch.clock.sleep(_NO_FEED_S)
                    continue
                failures += 1
                await self._link.pause(failures)
            except (Unreachable, CursorExpired, RemoteError):
                failures += 1
                await self._link.pause(failures)
            finally:
                branch.live_since = None
                self._doubt()

    async def _read(self) -> None:
        branch = self._branch
        async with aclosing(self._link.transport.events(key=self._link.key, backend=branch.target)) as frames:
            async for frame in frames:
                match frame:
                    case FeedEvent():
                        self._heard(frame)
                    case FeedLive() | FeedGap():
                        if branch.live_since is None:
                            branch.live_since = branch.clock.monotonic()
                        self._doubt()

    def _doubt(self) -> None:
        """What became of those in the air may have gone untold."""
        flights = self._branch.flights
        flights.unsure.update(flights.airborne)
        flights.wake()

    async def listen_results(self) -> None:
        """Read live results, without end."""
        branch, failures = self._branch, 0
        while True:
            while not self._link.orchestrator:
                await branch.clock.sleep(_BACKED_S)
            await self._link.until_up()
            try:
                async with aclosing(self._link.transport.results(key=self._link.key, backend=branch.target)) as told:
                    async for bulk in told:
                        if branch.results_since is None:
                            branch.results_since, failures = branch.clock.monotonic(), 0
                        if bulk is not None:
                            said = None if bulk.left else bulk
                            branch.flights.news(bulk.id, News(bulk.status, bulk.failure, bulk=said))
            except Refused:
                await branch.clock.sleep(_NO_FEED_S)
            except (NotSent, Lost):
                failures += 1
                await self._link.pause(failures)
            finally:
                if branch.results_since is not None:
                    branch.results_since = None
                    self._doubt()

    def _heard(self, event: FeedEvent) -> None:
        if event.job_id is None:
            if event.kind.startswith("backend."):
                self._branch.look_again()
            return
        if event.kind == "job.progress":
            fraction = (event.data or {}).get("fraction")
            if isinstance(fraction, int | float):
                self._branch.flights.advanced(event.job_id, float(fraction))
        elif event.kind == "job.deleted":
            self._branch.flights.news(event.job_id, News(GONE))
        elif event.after is not None and event.parent_id is None:
            flight = self._branch.flights.tracked(event.job_id)
            if (
                event.after in ENDED
                and self._branch.results_since is not None
                and (flight is None or self._branch.awaits_result(flight))
            ):
                return
            failure = (event.data or {}).get("failure")
            told = None
            if isinstance(failure, dict):
                told = RemoteFailure(code=str(failure.get("code")), message=str(failure.get("message")))
            self._branch.flights.news(event.job_id, News(str(event.after), told))

    # -- looking ----------------------------------------------------------------------------

    async def poll(self) -> None:
        """Look at what is in the air, without end."""
        branch, flights = self._branch, self._branch.flights
        pause_s = least_s = self._link.settings.poll_least_s
        looked_at = -_LOOK_S
        while True:
            changed, doubted, arrived = flights.changed, flights.doubted, flights.arrived
            if branch.live_since is not None and not flights.unsure:
                await first(branch.clock, _BACKED_S, doubted)
                if not doubted.is_set():
                    flights.unsure.update(flights.airborne)
                continue
            if not flights.airborne:
                pause_s = least_s
                await changed.wait()
                continue
            if branch.live_since is not None:
                await branch.clock.sleep(max(0.0, looked_at + _LOOK_S - branch.clock.monotonic()))
            else:
                await first(branch.clock, pause_s, arrived)
                if arrived.is_set():
                    await branch.clock.sleep(least_s)
            moved = await self._look(self._chosen())
            looked_at = branch.clock.monotonic()
            pause_s = least_s if moved else min(self._link.settings.poll_most_s, pause_s * _SLOWER)

    def _chosen(self) -> list[Flight]:
        """Those that have to be looked at now: what is unsure, or the oldest and, in turn, some of the others."""
        flights = self._branch.flights
        page = _OUR_PAGE if self._link.orchestrator else _CLOUD_PAGE
        if self._branch.live_since is not None:
            return sorted(flights.unsure, key=lambda flight: flight.intent.created_ms)[:page]
        airborne = flights.airborne
        unsure = [flight for flight in airborne if flight in flights.unsure]
        rest = airborne[page:]
        self._turn = self._turn + page if self._turn + page < len(rest) else 0
        chosen = [*airborne[:page], *rest[self._turn : self._turn + page], *unsure[:page]]
        return list(dict.fromkeys(chosen))

    async def _look(self, chosen: Sequence[Flight]) -> bool:
        """Look at these; whether anything was news."""
        page = _OUR_PAGE if self._link.orchestrator else _CLOUD_PAGE
        moved = False
        for begin in range(0, len(chosen), page):
            part = {flight.remote_id: flight for flight in chosen[begin : begin + page] if flight.remote_id is not None}
            params = [("ids", remote_id) for remote_id in part if remote_id is not None]
            try:
                answer = await self._link.persist(
                    RemoteJobs, "GET", f"{V04}/jobs", params=[*params, ("limit", str(len(part)))]
                )
                jobs = {job.id: job for job in answer.known}
            except Refused as error:  # some clouds refuse a listing with an id they do not know
                if error.status == 403:
                    continue  # whatever that is about, it is about none of these alone
                jobs = {}
            for remote_id, flight in part.items():
                self._branch.flights.unsure.discard(flight)
                if (job := jobs.get(remote_id)) is not None:
                    moved |= self._branch.flights.news(remote_id, News(job.status, job.failure, job))
                elif remote_id not in self._asking:
                    self._asking.add(remote_id)
                    self._branch.spawn(self._ask, remote_id)
        return moved

    async def _ask(self, remote_id: str) -> None:
        """Look at a job that a listing did not show."""
        try:
            self._branch.flights.news(remote_id, await self._news(remote_id))
        finally:
            self._asking.discard(remote_id)

    async def _news(self, remote_id: str) -> News:
        try:
            body = await self._link.persist_for_job(dict[str, Any], f"{V04}/jobs/{remote_id}")
        except Refused as error:
            return News(GONE if error.status in _NO_MORE else "unknown")
        except Lost as error:
            return News(GONE, RemoteFailure(message=f"{self._link.name} does not tell what became of it: {error}"))
        if (job := remote_job(body)) is None:
            return News(GONE, RemoteFailure(message=f"{self._link.name} does not tell what became of it"))
        return News(job.status, job.failure, job)

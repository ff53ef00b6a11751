"""Looking for lost submissions: the remote's newest jobs, searched for tokens.

Those who look at the same time share one search. Searches keep a growing distance while what is sought does not show.
"""

from __future__ import annotations

import math
from typing import Final

import anyio

from orchestrator_remote_cloud.branch import Branch
from orchestrator_remote_cloud.flights import Flight
from orchestrator_remote_cloud.link import V04, first
from orchestrator_remote_cloud.shapes import RemoteJob, RemoteJobs, time_ms

#: How far beyond the time of an intent is searched, the difference of the clocks aside: with keys it matters little.
MARGIN_MS: Final = 120_000
KEYED_MARGIN_MS: Final = 10_000
_PAUSE_S: Final = 0.25
_PAUSE_CAP_S: Final = 10.0
_PAGE: Final = 200


class Search:
    """Searches the jobs of one branch.

    Args:
        key: Name of the metadata entry that holds the token.
    """

    def __init__(self, branch: Branch, key: str) -> None:
        self._branch = branch
        self._link = branch.link
        self._key = key
        self._searching = anyio.Lock()
        self._sought: dict[str, int] = {}
        self._newcomer = anyio.Event()
        self._found: dict[str, RemoteJob] = {}
        self._asked = self._searched = self._looks = 0
        self._searched_at = -math.inf

    async def find(self, flight: Flight) -> RemoteJob | None:
        """The remote job with the flight's token, by a search that begins from now on; `leave` in the end."""
        self._asked += 1
        asked = self._asked
        if flight.token not in self._sought:
            self._sought[flight.token] = flight.intent.created_ms
            self._looks = 0
            self._newcomer.set()
        async with self._searching:
            if self._searched < asked:
                await self._keep_distance()
                begun = self._asked
                await self._search()
                self._searched = begun
                self._looks += 1
                self._searched_at = self._branch.clock.monotonic()
            return self._found.get(flight.token)

    async def _keep_distance(self) -> None:
        """A short one where there is a newcomer, else one that grows with every look in vain."""
        clock = self._branch.clock
        self._newcomer = anyio.Event()
        if self._looks:
            pause_s = min(_PAUSE_CAP_S, _PAUSE_S * 2 ** min(self._looks, 16))
            await first(clock, self._searched_at + pause_s - clock.monotonic(), self._newcomer)
        if (wait_s := self._searched_at + _PAUSE_S - clock.monotonic()) > 0:
            await clock.sleep(wait_s)

    def leave(self, flight: Flight) -> None:
        """It is not sought any more."""
        self._sought.pop(flight.token, None)

    async def _search(self) -> None:
        """Page the newest-first listing back to before the oldest intent that is sought."""
        margin = KEYED_MARGIN_MS if self._link.orchestrator else MARGIN_MS
        horizon = min(self._sought.values(), default=0) + self._link.ahead_ms - margin
        found: dict[str, RemoteJob] = {}
        after: str | None = None
        while True:
            params = [("target", self._branch.target), ("limit", str(_PAGE))]
            if after is not None:
                params.append(("next", after))
            page = await self._link.persist(RemoteJobs, "GET", f"{V04}/jobs", params=params)
            jobs = page.known
            for job in jobs:
                if (token := (job.metadata or {}).get(self._key)) is not None:
                    found.setdefault(str(token), job)
            times = [at for job in jobs if (at := time_ms(job.submitted_at)) is not None]
            if page.next is None or not page.jobs or (times and min(times) < horizon):
                break
            after = page.next
        self._found = found

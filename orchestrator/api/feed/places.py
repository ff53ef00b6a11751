"""Places in line, for those who wait: where a job stands and when it probably starts.

They change with every job that starts, for all behind it, so they are no events: nothing is committed for them.
While somebody wants to know, and at most once a second, what is wanted is looked up after commits; what moved is told
to those whom it concerns. Nobody asks: nothing is computed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Final

from orchestrator.api.feed.frames import QueueFrame, encode
from orchestrator.dispatch.forecast import Place
from orchestrator.subscription import Selection

if TYPE_CHECKING:
    from orchestrator.api.feed.hub import Feed
    from orchestrator.service import Orchestrator

INTERVAL_S: Final = 1.0
#: A feed that chose no jobs is told of so many at the head of each line.
HEAD: Final = 100
#: A feed that chose a parent or a session is told of so many of its waiting jobs.
MOST: Final = 1_000
#: An estimate counts as changed when it moves by more than this and by more than a tenth of the wait.
_JITTER_MS: Final = 1_000


@dataclass(frozen=True, slots=True, eq=False)
class _Told:
    """A place as it is told: its frame, encoded once for all, and the job's session."""

    frame: QueueFrame
    session_id: str | None
    payload: bytes

    def concerns(self, wanted: Selection) -> bool:
        """Whether a feed wants to know of it."""
        frame = self.frame
        if frame.project_id != wanted.project_id or (wanted.backends and frame.backend not in wanted.backends):
            return False
        if wanted.jobs and frame.job_id not in wanted.jobs and frame.parent_id not in wanted.jobs:
            return False
        if wanted.sessions and self.session_id not in wanted.sessions:
            return False
        return bool(wanted.jobs or wanted.sessions) or frame.position <= HEAD


class Places:
    """The places as last told.

    Args:
        write: Writes payloads to a feed.
    """

    def __init__(self, orchestrator: Orchestrator, write: Callable[[Feed, Sequence[bytes]], object]) -> None:
        self._orchestrator = orchestrator
        self._write = write
        self._feeds: set[Feed] = set()
        self._told: dict[str, _Told] = {}
        self._timer: asyncio.TimerHandle | None = None

    def welcome(self, feed: Feed) -> None:
        """Tell a feed that is live all that concerns it, and what changes from now on."""
        if feed in self._feeds:
            return
        self._feeds.add(feed)
        found = self._look((feed,))
        self._told |= found
        self._tell((feed,), found)

    def farewell(self, feed: Feed) -> None:
        """A feed has ended."""
        self._feeds.discard(feed)

    def stir(self) -> None:
        """Something was committed."""
        if self._feeds and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(INTERVAL_S, self._tick)

    def close(self) -> None:
        """Tell nobody any more."""
        self._feeds.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        self._timer = None
        before, self._told = self._told, self._look(self._feeds)
        self._tell(self._feeds, {id_: told for id_, told in self._told.items() if before.get(id_) is not told})

    def _look(self, feeds: Collection[Feed]) -> dict[str, _Told]:
        """The places these feeds want to know; where nothing has changed it is what was told."""
        now, orchestrator = self._orchestrator.clock.now_ms(), self._orchestrator
        wishes = [feed.selection for feed in feeds]
        # Where both are chosen, both have to hold: looking among the jobs suffices.
        names = frozenset(chain.from_iterable(wish.jobs or wish.sessions for wish in wishes))
        heads = HEAD if any(not (wish.jobs or wish.sessions) for wish in wishes) else 0
        found = chain(orchestrator.forecast(heads), orchestrator.places_of(names, MOST) if names else ())
        return {place.job.id: self._as_told(place, now) for place in found}

    def _as_told(self, place: Place, now: int) -> _Told:
        job, wait_ms = place.job, place.wait_ms
        start = None if wait_ms is None else now + wait_ms
        told = self._told.get(job.id)
        if (
            told is not None
            and told.frame.position == place.position
            and _alike(told.frame.estimated_start, start, wait_ms or 0)
        ):
            return told
        frame = QueueFrame(
            job_id=job.id,
            parent_id=job.parent_id,
            project_id=job.project_id,
            backend=job.backend,
            position=place.position,
            estimated_start=start,
        )
        return _Told(frame, job.session_id, encode(frame))

    def _tell(self, feeds: Iterable[Feed], news: Mapping[str, _Told]) -> None:
        heads = [told for told in news.values() if told.frame.position <= HEAD]
        named: dict[str, list[_Told]] = {}
        for told in news.values():
            for name in (told.frame.job_id, told.frame.parent_id, told.session_id):
                if name is not None:
                    named.setdefault(name, []).append(told)
        for feed in tuple(feeds):
            names = feed.selection.jobs or feed.selection.sessions
            # Of a parent and its child both may be chosen: told once.
            near = dict.fromkeys(chain.from_iterable(named[name] for name in names & named.keys())) if names else heads
            if payloads := [told.payload for told in near if told.concerns(feed.selection)]:
                self._write(feed, payloads)


def _alike(told: int | None, start: int | None, wait_ms: int) -> bool:
    if told is None or start is None:
        return told is start
    return abs(start - told) <= max(_JITTER_MS, wait_ms // 10)

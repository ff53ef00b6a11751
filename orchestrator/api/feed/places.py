"""Places in line, for those who wait: where a job stands and when it probably starts.

They change with every job that starts, for all behind it, so they are no events: nothing is committed for them.
While somebody wants to know, and at most once a second, the lines are looked through after commits; what moved is
told to those whom it concerns. Nobody asks: nothing is computed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from orchestrator.api.feed.frames import QueueFrame, encode
from orchestrator.dispatch.forecast import Place

if TYPE_CHECKING:
    from orchestrator.api.feed.hub import Feed
    from orchestrator.service import Orchestrator

INTERVAL_S: Final = 1.0
#: A feed that chose no jobs is told of so many at the head of each line.
HEAD: Final = 100
#: An estimate counts as changed when it moves by more than this and by more than a tenth of the wait.
_JITTER_MS: Final = 1_000


class Places:
    """The places as last told.

    Args:
        write: Writes a payload to a feed.
    """

    def __init__(self, orchestrator: Orchestrator, write: Callable[[Feed, bytes], object]) -> None:
        self._orchestrator = orchestrator
        self._write = write
        self._feeds: set[Feed] = set()
        self._told: dict[str, QueueFrame] = {}
        self._sessions: dict[str, str] = {}
        self._timer: asyncio.TimerHandle | None = None

    def welcome(self, feed: Feed) -> None:
        """Tell a feed that is live all that concerns it, and what changes from now on."""
        if feed in self._feeds:
            return
        if not self._feeds:
            self._told = self._look()
        self._feeds.add(feed)
        self._tell(feed, self._told)

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
        before, self._told = self._told, self._look()
        changed = {job_id: frame for job_id, frame in self._told.items() if before.get(job_id) is not frame}
        for feed in self._feeds:
            self._tell(feed, changed)

    def _look(self) -> dict[str, QueueFrame]:
        """All places; where nothing has changed the frame is the one that was told."""
        now = self._orchestrator.clock.now_ms()
        places = list(self._orchestrator.forecast())
        sessions = ((place.job.id, place.job.spec.session_id) for place in places)
        self._sessions = {job_id: session_id for job_id, session_id in sessions if session_id is not None}
        return {place.job.id: self._frame(place, now) for place in places}

    def _frame(self, place: Place, now: int) -> QueueFrame:
        job, wait_ms = place.job, place.wait_ms
        start = None if wait_ms is None else now + wait_ms
        told = self._told.get(job.id)
        if told is not None and told.position == place.position and _alike(told.estimated_start, start, wait_ms or 0):
            return told
        return QueueFrame(
            job_id=job.id,
            parent_id=job.parent_id,
            project_id=job.project_id,
            backend=job.backend,
            position=place.position,
            estimated_start=start,
        )

    def _tell(self, feed: Feed, frames: Mapping[str, QueueFrame]) -> None:
        wanted = feed.selection
        found = _heads(frames.values())
        if wanted.jobs:
            found = _chosen(wanted.jobs, frames)
        elif wanted.sessions:
            found = (frames[job_id] for job_id in self._sessions.keys() & frames.keys())
        for frame in found:
            if (
                frame.project_id == wanted.project_id
                and (not wanted.backends or frame.backend in wanted.backends)
                and (not wanted.sessions or self._sessions.get(frame.job_id) in wanted.sessions)
            ):
                self._write(feed, encode(frame))


def _chosen(jobs: frozenset[str], frames: Mapping[str, QueueFrame]) -> Iterator[QueueFrame]:
    for job_id in jobs & frames.keys():
        yield frames[job_id]
    for frame in _heads(frames.values()):
        if frame.parent_id in jobs:
            yield frame


def _heads(frames: Iterable[QueueFrame]) -> Iterator[QueueFrame]:
    return (frame for frame in frames if frame.position <= HEAD)


def _alike(told: int | None, start: int | None, wait_ms: int) -> bool:
    if told is None or start is None:
        return told is start
    return abs(start - told) <= max(_JITTER_MS, wait_ms // 10)

"""Ends of jobs that no attempt in hand tells an adapter of: they ended while they waited, or while nobody served.

An adapter whose executions outlive its attempts follows them, see `Ready.ended`. Nobody else has to: what is not
followed is not kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from typing import Final

import structlog

from orchestrator.clock import Clock
from orchestrator.errors import StorageError

log = structlog.get_logger()

#: Pause before reading again from a store that could not.
READ_PAUSE_S: Final = 1.0


class Endings:
    """The ends of one backend's jobs.

    Args:
        unended: Reads which of some jobs have not ended.
    """

    def __init__(self, clock: Clock, unended: Callable[[Collection[str]], Awaitable[set[str]]]) -> None:
        self._clock = clock
        self._unended = unended
        self._followers: set[asyncio.Queue[str]] = set()

    def tell(self, job_id: str) -> None:
        """A job has ended that nobody had in hand."""
        for heard in self._followers:
            heard.put_nowait(job_id)

    async def follow(self, jobs: Collection[str]) -> AsyncGenerator[list[str]]:
        """See `Ready.ended`. Begins to listen before it reads: no end falls between the two."""
        heard: asyncio.Queue[str] = asyncio.Queue()
        self._followers.add(heard)
        try:
            if over := await self._over(list(jobs)):
                yield over
            while True:
                ended = [await heard.get()]
                while not heard.empty():
                    ended.append(heard.get_nowait())
                yield ended
        finally:
            self._followers.discard(heard)

    async def _over(self, jobs: list[str]) -> list[str]:
        """Those of the jobs that have ended; waits where the store cannot read now."""
        while jobs:
            try:
                alive = await self._unended(jobs)
            except StorageError as error:
                log.warning("cannot read which jobs have ended; waiting", jobs=len(jobs), reason=str(error))
                await self._clock.sleep(READ_PAUSE_S)
            else:
                return [job_id for job_id in jobs if job_id not in alive]
        return []

"""Jobs that begin in the very commit that stores them: promised to whoever waits for one, granted after it.

A promise is made just before a commit and ends with it, one way or the other. Who left meanwhile does not get the
job: it goes to whoever waits, or comes next, since it is started already.
"""

from __future__ import annotations

import anyio

from orchestrator.backends.abc import Attempt
from orchestrator.dispatch.queue import Taker, WaitingQueue
from orchestrator.lifecycle import Cause
from orchestrator.model import Job
from orchestrator.storage.ledger import moved


class Promises:
    """The promises of one backend.

    Args:
        queue: Where its takers wait.
    """

    def __init__(self, queue: WaitingQueue) -> None:
        self._queue = queue
        self._promised: dict[str, tuple[Taker, bytes]] = {}
        self._loose: list[Attempt] = []  # granted to takers that had gone
        self._changed = anyio.Event()

    def __len__(self) -> int:
        return len(self._promised)

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._promised

    def make(self, job: Job, body: bytes) -> Job | None:
        """A ready job is about to be stored: as it shall be stored if somebody waits for it, else None.

        It is then promised, and either `keep` or `take_back` follows.
        """
        taker = self._queue.idle()
        if taker is None:
            return None
        taker.promised += 1
        self._promised[job.id] = (taker, body)
        return moved(job, Cause.STARTED, job.submitted_at, attempt=job.attempt + 1)

    def take_back(self, job_id: str) -> None:
        """The job was not stored."""
        taker, _ = self._promised.pop(job_id)
        taker.promised -= 1
        taker.wake()
        self._changed.set()

    def keep(self, job: Job) -> Attempt:
        """A promised job was stored, as started: the attempt, which is handed over by this."""
        taker, body = self._promised.pop(job.id)
        taker.promised -= 1
        attempt = Attempt(job, job.attempt, body)
        self._hand_over(attempt, taker)
        self._changed.set()
        return attempt

    async def kept(self) -> None:
        """Wait until nothing is promised any more."""
        while self._promised:
            self._changed = anyio.Event()
            await self._changed.wait()

    def leave(self, taker: Taker) -> None:
        """The taker takes nothing more, nor what it was granted."""
        taker.gone = True
        for attempt in taker.granted:
            self._hand_over(attempt, taker)

    def left(self, limit: int) -> list[Attempt]:
        """Up to so many attempts whose takers had gone."""
        found, self._loose = self._loose[:limit], self._loose[limit:]
        return found

    def _hand_over(self, attempt: Attempt, taker: Taker) -> None:
        """To that taker; if it has gone, to whoever waits, or comes next."""
        if taker.gone and (other := self._queue.idle()) is not None:
            taker = other
        if taker.gone:
            self._loose.append(attempt)
        else:
            taker.granted.append(attempt)
            taker.wake()

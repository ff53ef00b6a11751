"""Those who wait for a job to end, and the jobs seen lately.

Every commit passes here first. A waiter is answered with the job of the terminal event itself, and a poll of a
job seen lately is answered from memory: both save a read per job.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from orchestrator.errors import Unavailable
from orchestrator.lifecycle import TERMINAL
from orchestrator.model import Job
from orchestrator.storage.abc import Committed

RECENT: Final = 10_000
#: Jobs with more metadata than this (characters) are not kept; those have to be read.
METADATA: Final = 2_000


class RecentJobs:
    """The newest committed state of the jobs that came into view last."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._waiters: dict[str, list[asyncio.Future[Job]]] = {}
        self._closed = False

    def notice(self, entries: Sequence[Committed]) -> None:
        """Listener of the bus."""
        jobs, waiters = self._jobs, self._waiters
        last: Job | None = None
        for _, job in entries:
            if job is None or job is last:  # several steps of one move, each with the job as it stands after all
                continue
            last = jobs[job.id] = job
            if job.spec.metadata and sum(map(len, job.spec.metadata.values())) > METADATA:
                del jobs[job.id]
            if waiters and job.status in TERMINAL and (waiting := waiters.pop(job.id, None)):
                for waiter in waiting:
                    if not waiter.done():
                        waiter.set_result(job)
        while len(jobs) > RECENT:
            jobs.popitem(last=False)

    def get(self, job_id: str) -> Job | None:
        """The job as last committed, if it changed lately."""
        return self._jobs.get(job_id)

    def forget(self) -> None:
        """After rows were removed behind the log's back (retention)."""
        self._jobs.clear()

    def close(self) -> None:
        """Nothing ends any more: whoever waits, or comes to wait, is told `Unavailable`."""
        self._closed = True
        for waiter in [waiter for waiting in self._waiters.values() for waiter in waiting]:
            if not waiter.done():
                waiter.set_exception(_closed())

    def wait(self, job_id: str) -> asyncio.Future[Job]:
        """Answered with the job when it ends; `leave` it, whatever came of it.

        Raises:
            Unavailable: Nothing ends any more.
        """
        if self._closed:
            raise _closed()
        waiter: asyncio.Future[Job] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(job_id, []).append(waiter)
        return waiter

    def leave(self, job_id: str, waiter: asyncio.Future[Job]) -> None:
        """Wait no more."""
        waiter.cancel()
        if (waiting := self._waiters.get(job_id)) is not None and waiter in waiting:
            waiting.remove(waiter)
            if not waiting:
                del self._waiters[job_id]


def _closed() -> Unavailable:
    return Unavailable("the orchestrator was closed")

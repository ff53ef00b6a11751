"""Waiting for one job: the feed tells, and as long as it does not the server is asked now and then.

Both go on beside each other. The feed is opened again and again while it is away for a reason that passes, and asking
rests from the first frame of a feed until it is lost, so a feed that is late, overrun or swallowed by a proxy costs
time, never the end of the wait.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio

from orchestrator.client.shapes import FeedEvent, FeedUnavailable, JobInfo, Unreachable
from orchestrator.errors import CursorExpired, OrchestratorError
from orchestrator.lifecycle import TERMINAL

if TYPE_CHECKING:
    from orchestrator.client.http import Client

#: Pauses between questions: a tenth of the time that the job has stood where it stands, within these limits.
_LEAST_S: Final = 0.2
_MOST_S: Final = 10.0
_SHARE: Final = 0.1


class Waiter:
    """Waits for a job of which this is the latest that is known."""

    def __init__(self, client: Client, job: JobInfo) -> None:
        self._client = client
        self._job = job
        self._error: OrchestratorError | None = None
        self._untold = anyio.Event()
        self._untold.set()

    async def ended(self) -> JobInfo:
        """The job, once it has ended.

        Raises:
            RemoteError: The server refuses to tell.
        """
        async with anyio.create_task_group() as tasks:

            async def run(way: Callable[[], Awaitable[None]]) -> None:
                try:
                    await way()
                except OrchestratorError as error:  # not left to the group, which would wrap it
                    self._error = error
                if self._error is not None or self._job.terminal:
                    tasks.cancel_scope.cancel()

            tasks.start_soon(run, self._listen)
            tasks.start_soon(run, self._ask)
        if self._error is not None:
            raise self._error
        return self._job

    async def _listen(self) -> None:
        """Hear from the feed that the job has ended; gives up where there is none for us."""
        failures = 0
        while not self._job.terminal:
            try:
                async with aclosing(self._client.events(jobs=[self._job.id], standing=self._standing)) as frames:
                    async for frame in frames:
                        failures = 0
                        if not isinstance(frame, FeedEvent) or (
                            frame.job_id == self._job.id and frame.after in TERMINAL
                        ):
                            await self._look()
                        if self._job.terminal:
                            return
            except FeedUnavailable:
                return
            except (CursorExpired, Unreachable):
                failures += 1
            finally:
                self._standing(False)
            await self._client.pause(failures)

    async def _ask(self) -> None:
        """Ask while the feed tells nothing."""
        clock = self._client.clock
        since, status = clock.monotonic(), self._job.status
        while not self._job.terminal:
            await self._untold.wait()
            pause_s = min(_MOST_S, max(_LEAST_S, _SHARE * (clock.monotonic() - since)))
            await clock.sleep(pause_s * self._client.rng.uniform(0.5, 1.0))
            if self._untold.is_set():
                await self._look()
                if self._job.status is not status:
                    since, status = clock.monotonic(), self._job.status

    async def _look(self) -> None:
        job = await self._client.persist(partial(self._client.get, self._job.id))
        if not self._job.terminal:
            self._job = job

    def _standing(self, told: bool) -> None:
        """Whether the feed tells what happens."""
        if not told:
            self._untold.set()
        elif self._untold.is_set():
            self._untold = anyio.Event()

"""What waits for one backend: a bounded window in memory onto the jobs the store holds.

Jobs come in two ways. Each commit offers its new jobs, inputs included, so that the usual job is never read
back; and when the window has overflowed, or nobody knows what the store holds (at start), it is refilled from
the store in pages. The store's guarded write decides whether a job taken from here may run, so an entry that is
out of date costs nothing but its refusal.

While the window is *behind* (the store holds jobs it does not), an offer with an id beyond the window's end is
left to the refill, and one before it is kept: ids are ordered by submission, commits nearly so.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Awaitable, Callable, Container
from typing import Final, NamedTuple

from orchestrator.clock import Clock
from orchestrator.model import Job

WINDOW_JOBS: Final = 10_000
WINDOW_BYTES: Final = 32 * 1024 * 1024
PAGE: Final = 500


class Entry(NamedTuple):
    """A waiting job with what an adapter needs to run it."""

    job: Job
    input: bytes
    compiled: bytes | None = None

    @property
    def size(self) -> int:
        """Bytes held in memory, roughly."""
        return len(self.input) + len(self.compiled or b"")


Fetch = Callable[[str | None, int], Awaitable[list[tuple[Job, bytes, bytes | None]]]]


class WaitingQueue:
    """Entries of one backend in one status, oldest first; those put back with a delay when it is over.

    Args:
        fetch: ``fetch(after_id, limit)`` reads a page of the store, oldest first.
        held: Ids being worked on now; the refill skips them.
    """

    def __init__(self, clock: Clock, fetch: Fetch, held: Container[str]) -> None:
        self._clock = clock
        self._fetch = fetch
        self._held = held
        self._entries: deque[Entry] = deque()
        self._delayed: list[tuple[float, str, Entry]] = []
        self._bytes = 0
        self._last_id = ""
        self._behind = True
        self._missed = 0
        self._waiters: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        return len(self._entries) + len(self._delayed)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What the window shows now, delayed entries left out."""
        return tuple(self._entries)

    @property
    def next_due(self) -> float | None:
        """When the next delayed entry may run (monotonic seconds), or None."""
        return self._delayed[0][0] if self._delayed else None

    def offer(self, entry: Entry) -> None:
        """A job was committed in this queue's status."""
        if self._behind and entry.job.id > self._last_id:
            self._missed += 1
        elif len(self._entries) >= WINDOW_JOBS or self._bytes >= WINDOW_BYTES:
            self._behind, self._missed = True, self._missed + 1
        else:
            self._append(entry)
        self._wake()

    def put_back(self, entry: Entry, delay_s: float) -> None:
        """A job that has to wait before it runs again."""
        heapq.heappush(self._delayed, (self._clock.monotonic() + delay_s, entry.job.id, entry))

    def release_due(self) -> None:
        """Let delayed entries whose time has come run before the others."""
        now = self._clock.monotonic()
        while self._delayed and self._delayed[0][0] <= now:
            entry = heapq.heappop(self._delayed)[2]
            self._entries.appendleft(entry)
            self._bytes += entry.size
            self._wake()

    def resync(self) -> None:
        """Read the store again from its beginning when nothing is in view: a lost notice costs time, never a job."""
        if not self._entries:
            self._behind, self._last_id = True, ""
            self._wake()

    async def take(self, limit: int) -> list[Entry]:
        """Up to `limit` entries; waits until there is one."""
        while True:
            if not self._entries and self._behind:
                await self._refill()
            if self._entries:
                taken = [self._entries.popleft() for _ in range(min(limit, len(self._entries)))]
                self._bytes -= sum(entry.size for entry in taken)
                if self._entries:
                    self._wake()
                return taken
            if not self._behind:
                await self._wait()

    async def _refill(self) -> None:
        self._missed = 0
        page = await self._fetch(self._last_id or None, PAGE)
        delayed = {entry.job.id for _, _, entry in self._delayed}
        for job, body, compiled in page:
            if job.id > self._last_id:
                self._last_id = job.id
                if job.id not in self._held and job.id not in delayed:
                    self._append(Entry(job, body, compiled))
        self._behind = len(page) == PAGE or self._missed > 0

    def _append(self, entry: Entry) -> None:
        self._entries.append(entry)
        self._bytes += entry.size
        self._last_id = max(self._last_id, entry.job.id)

    async def _wait(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._wake()
            raise

    def _wake(self) -> None:
        """Wake one taker; it wakes the next if it leaves entries behind."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

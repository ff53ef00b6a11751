"""What waits for one backend: a bounded window in memory onto the jobs the store holds.

Jobs come in two ways. Each commit offers its new jobs, inputs included, so that the usual job is never read
back; and when the window has overflowed, or nobody knows what the store holds (at start), it is refilled from
the store in pages. The store's guarded write decides whether a job taken from here may run, so an entry that is
out of date costs nothing but its refusal.

While the window is *behind* (the store holds jobs it does not), an offer with an id beyond the window's end is
left to the refill, and one before it is kept: ids are ordered by submission, commits nearly so. Because they are
only nearly so, the next refill begins before the oldest job that was left to it. A reader of the store may see
a commit before its notice arrives here, so the same job can come both ways: it is kept once, and not at all
while it is being worked on.

Where *families* go together, the children of one parent leave the queue in one piece. They were submitted in one
commit, under ids that follow each other without a stranger's between them, so a family of which the window may lack
a part is known by its place: at the window's end. It is read to its own end before it is handed over.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Container
from typing import Final, NamedTuple

from orchestrator.backends.abc import Attempt
from orchestrator.clock import Clock
from orchestrator.model import Job

WINDOW_JOBS: Final = 10_000
WINDOW_BYTES: Final = 32 * 1024 * 1024
#: Jobs read from the store at once: as many as fit the window by the size of those before, the first time few.
PAGE: Final = 500
FIRST_PAGE: Final = 8
#: The window's end is no job: whose family it divides is not known.
_UNKNOWN: Final = ""


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


class Taker:
    """Someone who takes jobs from a queue.

    A job may begin in the very commit that stores it, if somebody waits for it: it is promised to them while the
    commit is under way, and granted after it. Whoever is promised something takes nothing else meanwhile.

    Attributes:
        limit: Most jobs at once; where families go together, most families or single jobs.
        starts: May be promised jobs.
        promised: Jobs that are being committed for this taker.
        granted: Attempts that were, until they are picked up.
        gone: Will not come back for more.
    """

    __slots__ = ("future", "gone", "granted", "limit", "promised", "starts")

    def __init__(self, limit: int, *, starts: bool = False) -> None:
        self.limit = limit
        self.starts = starts
        self.promised = 0
        self.granted: list[Attempt] = []
        self.gone = False
        self.future: asyncio.Future[None] | None = None

    @property
    def has_room(self) -> bool:
        """Whether it may be promised one more; with something granted it is about to leave."""
        return self.starts and not self.granted and self.promised < self.limit

    def wake(self) -> None:
        """Let it look again."""
        if self.future is not None and not self.future.done():
            self.future.set_result(None)


class WaitingQueue:
    """Entries of one backend in one status, oldest first; those put back with a delay when it is over.

    Args:
        fetch: ``fetch(after_id, limit)`` reads a page of the store, oldest first.
        held: Ids being worked on now; they are not taken in.
        families: The children of one parent go together, and count as one.
    """

    def __init__(self, clock: Clock, fetch: Fetch, held: Container[str], *, families: bool = False) -> None:
        self._clock = clock
        self._fetch = fetch
        self._held = held
        self._together = families
        self._families: dict[str, dict[str, None]] = {}
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._delayed: dict[str, Entry] = {}
        self._due: list[tuple[float, str]] = []
        self._bytes = 0
        self._last_id = ""
        self._last_parent: str | None = None
        self._behind = True
        self._missed: str | None = None
        self._page = FIRST_PAGE
        self._refilling = False
        self._ended: set[str] = set()
        self._waiters: deque[Taker] = deque()

    def __len__(self) -> int:
        return len(self._entries) + len(self._delayed)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What the window shows now, delayed entries left out."""
        return tuple(self._entries.values())

    def holds(self, job_id: str) -> bool:
        """Whether a job is in view, or put back for later."""
        return job_id in self._entries or job_id in self._delayed

    def offer(self, entry: Entry) -> None:
        """A job was committed in this queue's status."""
        job_id = entry.job.id
        full = len(self._entries) >= WINDOW_JOBS or self._bytes >= WINDOW_BYTES
        if full or (self._behind and job_id > self._last_id):
            self.overlook(job_id)
            return
        self._append(entry)
        if job_id > self._last_id:
            self._last_id, self._last_parent = job_id, entry.job.parent_id
        self._wake()

    def drop(self, job_id: str) -> None:
        """A job ended while it waited: it is not handed out any more."""
        if (entry := self._entries.get(job_id)) is not None:
            self._remove(entry)
        self._delayed.pop(job_id, None)
        if self._refilling:  # the page under way may be older than its end
            self._ended.add(job_id)

    def overlook(self, job_id: str) -> None:
        """A job is in the store that was not taken in: it is left to the refill, which begins before it."""
        self._behind = True
        self._missed = job_id if self._missed is None else min(self._missed, job_id)
        self._wake()

    def put_back(self, entry: Entry, delay_s: float) -> None:
        """A job that has to wait before it runs again; it takes the place of an older record of it."""
        job_id = entry.job.id
        if (older := self._entries.get(job_id)) is not None:
            self._remove(older)
        self._delayed[job_id] = entry
        heapq.heappush(self._due, (self._clock.monotonic() + delay_s, job_id))

    def release_due(self) -> None:
        """Let delayed entries whose time has come run before the others, in the order they came due.

        What is still worked on stays delayed. A family put back together comes back together, with the first of its
        members.
        """
        now = self._clock.monotonic()
        held, released = [], []
        while self._due and self._due[0][0] <= now:
            job_id = heapq.heappop(self._due)[1]
            if job_id in self._held:
                held.append((now, job_id))
            elif job_id in self._delayed:
                for entry in self._delayed_family(job_id):
                    del self._delayed[entry.job.id]
                    released.append(entry)
        for entry in reversed(released):
            self._append(entry)
            self._entries.move_to_end(entry.job.id, last=False)
            self._wake()
        for due in held:
            heapq.heappush(self._due, due)

    def resync(self) -> None:
        """Read the store again from its beginning when nothing is in view: a lost notice costs time, never a job."""
        if not self._entries:
            self.overlook("")

    async def take(self, limit: int) -> list[Entry]:
        """Up to `limit` entries; waits until there is one."""
        return await self.take_for(Taker(limit))

    async def take_for(self, taker: Taker) -> list[Entry]:
        """Entries for a taker; waits until there is one. None at all if it was granted something instead."""
        while not taker.granted:
            if taker.promised:
                await self._wait(taker)
                continue
            if self._lacking() and not self._refilling:
                await self._refill()
            taken: list[Entry] = []
            for _ in range(taker.limit):
                if not self._entries or self._lacking():
                    break
                taken += self._pop()
            if taken:
                if self._entries:
                    self._wake()
                return taken
            if self._refilling or not self._behind:
                await self._wait(taker)
        return []

    def idle(self) -> Taker | None:
        """Who may be promised a job: waits, with room left, and nothing that came before is here or in the store."""
        if self._entries or self._behind or self._refilling:
            return None
        return next((taker for taker in self._waiters if taker.has_room), None)

    def _lacking(self) -> bool:
        """Whether the store has to be read before the next entry, or family, can be handed over."""
        if not (self._behind and self._entries):
            return self._behind
        head = next(iter(self._entries.values())).job
        if not self._together or head.parent_id is None:
            return False
        youngest = max(self._families[head.parent_id])
        passed_over = self._missed is not None and self._missed < self._last_id
        return passed_over or self._last_id < youngest or self._last_parent in {head.parent_id, _UNKNOWN}

    def _pop(self) -> list[Entry]:
        """The next entry, with its siblings where families go together: in circuit order."""
        head = next(iter(self._entries.values()))
        taken = [head]
        if self._together and head.job.parent_id is not None:
            taken = [self._entries[job_id] for job_id in sorted(self._families[head.job.parent_id])]
        for entry in taken:
            self._remove(entry)
        return taken

    def _remove(self, entry: Entry) -> None:
        job = entry.job
        del self._entries[job.id]
        self._bytes -= entry.size
        if self._together and job.parent_id is not None:
            siblings = self._families[job.parent_id]
            del siblings[job.id]
            if not siblings:
                del self._families[job.parent_id]

    def _delayed_family(self, job_id: str) -> list[Entry]:
        """A delayed entry, and where families go together its siblings that nobody works on."""
        first = self._delayed[job_id]
        parent_id = first.job.parent_id
        if not self._together or parent_id is None:
            return [first]
        return [
            entry
            for entry in self._delayed.values()
            if entry.job.parent_id == parent_id and entry.job.id not in self._held
        ]

    async def _refill(self) -> None:
        """Take in the next page; one at a time, or a page read earlier could pass over jobs of a later one."""
        self._refilling = True
        self._ended.clear()
        if self._missed is not None:
            before = min(self._last_id, self._missed[:-1])
            if before != self._last_id:
                self._last_id, self._last_parent = before, _UNKNOWN
            self._missed = None
        limit = self._page
        try:
            page = [Entry(*row) for row in await self._fetch(self._last_id or None, limit)]
            for entry in page:
                if entry.job.id not in self._ended:
                    self._append(entry)
                self._last_id, self._last_parent = entry.job.id, entry.job.parent_id
            self._behind = len(page) == limit or self._missed is not None
            if size := sum(entry.size for entry in page):
                self._page = max(1, min(PAGE, WINDOW_BYTES * len(page) // size))
        finally:
            self._refilling = False
            self._wake()

    def _append(self, entry: Entry) -> None:
        """Take a job in, unless it is known already."""
        job_id = entry.job.id
        if job_id not in self._entries and job_id not in self._delayed and job_id not in self._held:
            self._entries[job_id] = entry
            self._bytes += entry.size
            if self._together and entry.job.parent_id is not None:
                self._families.setdefault(entry.job.parent_id, {})[job_id] = None

    async def _wait(self, taker: Taker) -> None:
        taker.future = asyncio.get_running_loop().create_future()
        self._waiters.append(taker)
        try:
            await taker.future
        except asyncio.CancelledError:
            if not taker.future.cancelled():
                self._wake()
            raise
        finally:
            self._waiters.remove(taker)

    def _wake(self) -> None:
        """Wake one taker; it wakes the next if it leaves entries behind."""
        for taker in self._waiters:
            if not taker.promised and taker.future is not None and not taker.future.done():
                taker.future.set_result(None)
                return

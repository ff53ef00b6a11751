"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count
from typing import Final

#: Turns of the event loop that `ManualClock.advanced` grants to those it woke, before it moves on.
TURNS: Final = 30
START_MS: Final = 1_767_225_600_000


class ManualClock:
    """`orchestrator.clock.Clock` by hand, for one event loop.

    Monotonic time begins at 0 and moves only by `advance` and `advanced`, which take wall time along; the wall
    alone jumps by `jump_wall`. Sleepers wake in the order of their deadlines, equal ones in the order they came.

    Args:
        now_ms: Wall time at the beginning, Unix milliseconds; by default the start of 2026.
    """

    def __init__(self, now_ms: int = START_MS) -> None:
        self._wall_ms = float(now_ms)
        self._monotonic = 0.0
        self._order = count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    def now_ms(self) -> int:
        return round(self._wall_ms)

    def monotonic(self) -> float:
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future = asyncio.get_running_loop().create_future()
        entry = (self._monotonic + seconds, next(self._order), future)
        heapq.heappush(self._sleepers, entry)
        self._tell()
        try:
            await future
        finally:
            if entry in self._sleepers:  # cancelled
                self._sleepers.remove(entry)
                heapq.heapify(self._sleepers)

    @property
    def sleeping(self) -> int:
        """How many sleep now."""
        return len(self._sleepers)

    def advance(self, seconds: float) -> None:
        """Move both times at once; who sleeps until then wakes at the loop's next turn and sees the final time.

        Raises:
            ValueError: `seconds` is negative; monotonic time never goes back.
        """
        if seconds < 0:
            raise ValueError("time does not go back; jump_wall does")
        end = self._monotonic + seconds
        while self._sleepers and self._sleepers[0][0] <= end:
            future = heapq.heappop(self._sleepers)[2]
            if not future.done():
                future.set_result(None)
        self._monotonic = end
        self._wall_ms += seconds * 1000

    async def advanced(self, seconds: float) -> None:
        """Move time from deadline to deadline, letting those who wake run before it moves on.

        A loop that sleeps one second ticks ten times in ten. Work on threads is not waited for.
        """
        end = self._monotonic + seconds
        while self._sleepers and self._sleepers[0][0] <= end:
            self.advance(self._sleepers[0][0] - self._monotonic)
            await _settle()
        self.advance(end - self._monotonic)
        await _settle()

    def jump_wall(self, seconds: float) -> None:
        """Set the wall clock forward, or back: nobody wakes, monotonic time stays."""
        self._wall_ms += seconds * 1000

    async def until_sleeping(self, number: int = 1) -> None:
        """Wait until at least `number` sleep: the moment to move time."""
        if self.sleeping < number:
            future = asyncio.get_running_loop().create_future()
            self._waiting.append((number, future))
            await future

    def _tell(self) -> None:
        for number, future in self._waiting:
            if self.sleeping >= number and not future.done():
                future.set_result(None)
        self._waiting = [entry for entry in self._waiting if not entry[1].done()]


async def _settle() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)

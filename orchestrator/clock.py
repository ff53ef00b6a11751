"""Time, randomness and ids, as arguments: tests move a clock, they never sleep."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from typing import Final, Protocol

import anyio


class Clock(Protocol):
    """Two readings and a wait. Deadlines use `monotonic`, people see `now_ms`."""

    def now_ms(self) -> int:
        """Wall time, Unix milliseconds, UTC. May jump."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed point. Never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait at least `seconds`."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


NewId = Callable[[], str]

_COUNTER_MAX: Final = 0xFFF
#: Bytes of randomness drawn at a time.
_POOL: Final = 4096


def uuid7_factory(clock: Clock, rng: random.Random | None = None) -> NewId:
    """A generator of time-ordered UUIDs (RFC 9562, version 7), strictly increasing within it.

    The 12 bits after the milliseconds are a counter (method 1 of section 6.2), so ids made by one
    factory sort in the order they were made, even when the wall clock goes back. `rng` makes the
    rest reproducible; without it the operating system's randomness is used.
    """
    last_ms, counter, head = 0, 0, ""
    numbers = _numbers(os.urandom if rng is None else rng.randbytes)

    def new_id() -> str:
        nonlocal last_ms, counter, head
        now = clock.now_ms()
        if now > last_ms or counter == _COUNTER_MAX:
            last_ms, counter = max(now, last_ms + 1), 0
            head = f"{last_ms >> 16:08x}-{last_ms & 0xFFFF:04x}-7"
        else:
            counter += 1
        tail = next(numbers)
        return f"{head}{counter:03x}-{0x8000 | tail >> 48 & 0x3FFF:04x}-{tail & 0xFFFFFFFFFFFF:012x}"

    return new_id


def _numbers(randbytes: Callable[[int], bytes]) -> Iterator[int]:
    """Random 64-bit numbers, drawn many at a time: asking the system for each costs more than the rest of an id."""
    while True:
        yield from memoryview(randbytes(_POOL)).cast("Q")

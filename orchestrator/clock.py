"""Time, randomness and ids, as arguments: tests move a clock, they never sleep."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from typing import Protocol

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


def uuid7_factory(clock: Clock, rng: random.Random | None = None) -> NewId:
    """A generator of time-ordered UUIDs (RFC 9562, version 7), strictly increasing within it.

    The 12 bits after the milliseconds are a counter (method 1 of section 6.2), so ids made by one
    factory sort in the order they were made, even when the wall clock goes back. `rng` makes the
    rest reproducible; without it the operating system's randomness is used.
    """
    last_ms, counter = 0, 0

    def new_id() -> str:
        nonlocal last_ms, counter
        now = clock.now_ms()
        if now > last_ms:
            last_ms, counter = now, 0
        else:
            counter += 1
            if counter > 0xFFF:
                last_ms, counter = last_ms + 1, 0
        tail = os.urandom(8) if rng is None else rng.randbytes(8)
        text = f"{last_ms:012x}7{counter:03x}{0x80 | tail[0] & 0x3F:02x}{tail[1:].hex()}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    return new_id

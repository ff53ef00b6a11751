"""Seeing who keeps an event loop from turning: a thread that looks at the loop's own."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from orchestrator.testing.adapter_kit.frames import told

_LOOK_S: Final = 0.01


@dataclass
class Blocks:
    """Where an adapter's own code held the loop, and for how long at most: place -> seconds."""

    places: dict[str, float] = field(default_factory=dict)

    def longest(self) -> tuple[str, float]:
        """The place of the longest hold, and its seconds."""
        return max(self.places.items(), key=lambda item: item[1], default=("", 0.0))


@contextmanager
def looking() -> Generator[Blocks]:
    """Look at the running loop while the block runs."""
    loop, blocks = asyncio.get_running_loop(), Blocks()
    ident, over = threading.get_ident(), threading.Event()
    turned, ticking = time.monotonic(), True

    def turn() -> None:
        nonlocal turned
        turned = time.monotonic()
        if ticking:
            loop.call_later(_LOOK_S, turn)

    def look() -> None:
        seen: tuple[float, str, float] = (0.0, "", 0.0)  # of which turn, where, since when
        while not over.wait(_LOOK_S):
            now, since = time.monotonic(), turned
            if now - since < 3 * _LOOK_S or (frame := sys._current_frames().get(ident)) is None:
                continue
            place = told(traceback.extract_stack(frame))
            if (since, place) != seen[:2]:
                seen = (since, place, now)
            elif place:
                blocks.places[place] = max(blocks.places.get(place, 0.0), now - seen[2] + _LOOK_S)

    turn()
    watcher = threading.Thread(target=look, name="loop-watch", daemon=True)
    watcher.start()
    try:
        yield blocks
    finally:
        over.set()
        watcher.join()
        ticking = False

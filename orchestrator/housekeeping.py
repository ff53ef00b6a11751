"""Retention: ended jobs and their events go together, a little at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

from orchestrator.clock import Clock
from orchestrator.storage.abc import Store

log = structlog.get_logger()

EVERY_S: Final = 600.0
FAMILIES: Final = 200
DAY_MS: Final = 86_400_000


async def keep_house(store: Store, clock: Clock, keep_days: float, *, on_trimmed: Callable[[], None]) -> None:
    """Remove what is older than `keep_days` after its end; every ten minutes, until canceled. 0 keeps all."""
    while keep_days > 0:
        before = clock.now_ms() - round(keep_days * DAY_MS)
        try:
            removed = 0
            while gone := await store.trim(before, FAMILIES):
                removed += gone
                on_trimmed()
                await clock.sleep(0.05)
            if removed:
                log.info("removed ended jobs", jobs=removed)
        except Exception:
            log.exception("retention failed")
        await clock.sleep(EVERY_S)

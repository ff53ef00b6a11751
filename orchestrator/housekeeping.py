"""Retention: ended jobs go with their events, settled deliveries with their log, a little at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

from orchestrator.clock import Clock
from orchestrator.storage.abc import Store
from orchestrator.storage.outbox import Outbox

log = structlog.get_logger()

EVERY_S: Final = 600.0
FAMILIES: Final = 200
ROWS: Final = 1_000
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


async def keep_outbox(outbox: Outbox, clock: Clock, keep_days: float) -> None:
    """Remove deliveries settled for longer than `keep_days`; every ten minutes, until canceled. 0 keeps all."""
    while keep_days > 0:
        before = clock.now_ms() - round(keep_days * DAY_MS)
        try:
            while await outbox.prune(before, limit=ROWS):
                await clock.sleep(0.05)
        except Exception:
            log.exception("retention of deliveries failed")
        await clock.sleep(EVERY_S)

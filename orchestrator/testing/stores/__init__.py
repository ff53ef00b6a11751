"""The conformance kit of stores: `CHECKS`, one coroutine function for each promise of `orchestrator.storage.abc`.

Each takes an `Opened` and raises AssertionError where the store breaks its word:

    async with Opened(store, clock) as opened:
        await check(opened)

`Opened` opens the store, and closes it after `verify` has found nothing. Every check wants a store without jobs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from orchestrator.testing.stores import families, log, moves, outbox, reads, sessions, submits
from orchestrator.testing.stores.opened import Opened

Check = Callable[[Opened], Awaitable[None]]

CHECKS: Final[tuple[Check, ...]] = tuple(
    check
    for module in (submits, moves, families, sessions, reads, log, outbox)
    for name, check in vars(module).items()
    if name.startswith("check_")
)

__all__ = ["CHECKS", "Check", "Opened"]

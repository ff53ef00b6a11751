"""The promises of an adapter, by topic: `CHECKS`, one coroutine function for each, whose docstring is the promise."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from orchestrator.testing.adapter_kit.bench import Bench
from orchestrator.testing.adapter_kit.checks import (
    canceling,
    declared,
    leases,
    lifetimes,
    limits,
    physics,
    preparing,
    restarts,
    running,
    seeds,
)

Check = Callable[[Bench], Awaitable[None]]

CHECKS: Final[tuple[Check, ...]] = (
    lifetimes.check_open,
    running.check_plain_job,
    *(
        check
        for module in (
            lifetimes,
            declared,
            running,
            physics,
            seeds,
            limits,
            preparing,
            canceling,
            leases,
            restarts,
        )
        for name, check in vars(module).items()
        if name.startswith("check_") and check not in (lifetimes.check_open, running.check_plain_job)
    ),
)

#: Promises without which the others cannot be tried.
FOUNDATIONS: Final = (lifetimes.check_open, running.check_plain_job)


def name_of(check: Check) -> str:
    """A check's short name, such as ``bit_order``."""
    return getattr(check, "__name__", "check_unnamed").removeprefix("check_")


def promise_of(check: Check) -> str:
    """The promise, in one line."""
    return " ".join((check.__doc__ or "").split())

"""Running a check and judging it: each on an event loop of its own, whatever the adapter does."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from functools import partial

from orchestrator.testing.adapter_kit.apart import DidNotEnd, run_apart, running_apart
from orchestrator.testing.adapter_kit.bench import CHECK_LIMITS, Bench, Skipped
from orchestrator.testing.adapter_kit.checks import Check, name_of, promise_of
from orchestrator.testing.adapter_kit.frames import told_of
from orchestrator.testing.adapter_kit.quiet import quiet
from orchestrator.testing.adapter_kit.report import Finding, Verdict


def try_check(check: Check, bench: Bench) -> None:
    """Run one check to its end; this thread waits, for a limited time.

    Raises:
        AssertionError: The promise is broken; says how.
        Skipped: It does not concern this adapter.
    """
    with quiet():
        run_apart(_plainly(check, bench), CHECK_LIMITS * bench.limit_s)


def found(check: Check, bench: Bench) -> Finding:
    """Run one check to its end, on this thread, and say what came of it."""
    return tried(check, bench)[0]


def tried(check: Check, bench: Bench) -> tuple[Finding, DidNotEnd | None]:
    """As `found`; and the error if it had to be given up."""
    began = time.monotonic()
    try:
        try_check(check, bench)
    except (AssertionError, Skipped) as error:
        return _judged(check, error, began)
    return _judged(check, None, began)


async def trying(check: Check, bench: Bench) -> tuple[Finding, DidNotEnd | None]:
    """As `tried`; this event loop goes on meanwhile."""
    began = time.monotonic()
    try:
        with quiet():
            await running_apart(_plainly(check, bench), CHECK_LIMITS * bench.limit_s)
    except (AssertionError, Skipped) as error:
        return _judged(check, error, began)
    return _judged(check, None, began)


def _judged(check: Check, error: BaseException | None, began: float) -> tuple[Finding, DidNotEnd | None]:
    verdict = Verdict.KEPT if error is None else Verdict.SKIPPED if isinstance(error, Skipped) else Verdict.BROKEN
    why = "" if error is None else str(error) or type(error).__name__
    finding = Finding(name_of(check), promise_of(check), verdict, why, time.monotonic() - began)
    return finding, error if isinstance(error, DidNotEnd) else None


def _plainly(check: Check, bench: Bench) -> Callable[[], Awaitable[None]]:
    return partial(_run, check, bench)


async def _run(check: Check, bench: Bench) -> None:
    """The check; whatever it raises is told in one line, since none of it is the reader's own trace."""
    try:
        await check(bench)
    except Skipped:
        raise
    except AssertionError as error:
        raise AssertionError(re.split(r"\n\s*assert ", str(error))[0]) from error
    except Exception as error:
        inner = _inner(error)
        if isinstance(inner, Skipped | AssertionError):
            raise inner from error
        raise AssertionError(f"it raised {told_of(error)}") from error


def _inner(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error

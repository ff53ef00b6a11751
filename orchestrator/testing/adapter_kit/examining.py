"""Running the checks: one by one, each on an event loop of its own, whatever the adapter does."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from orchestrator.testing.adapter_kit.apart import DidNotEnd, run_apart, running_apart
from orchestrator.testing.adapter_kit.bench import CHECK_LIMITS, Bench, Skipped
from orchestrator.testing.adapter_kit.checks import CHECKS, FOUNDATIONS, Check, name_of, promise_of
from orchestrator.testing.adapter_kit.frames import told_of
from orchestrator.testing.adapter_kit.report import Finding, Report, Verdict

Progress = Callable[[Finding], None]

#: Checks that did not end, after which no more is tried: each leaves a thread behind.
_MOST_HANGS: Final = 3


def try_check(check: Check, bench: Bench) -> None:
    """Run one check to its end; this thread waits, for a limited time.

    Raises:
        AssertionError: The promise is broken; says how.
        Skipped: It does not concern this adapter.
    """
    run_apart(_plainly(check, bench), CHECK_LIMITS * bench.limit_s)


def found(check: Check, bench: Bench) -> Finding:
    """Run one check to its end, on this thread, and say what came of it."""
    began = time.monotonic()
    try:
        try_check(check, bench)
    except (AssertionError, Skipped) as error:
        return _finding(check, error, began)
    return _finding(check, None, began)


async def examine(bench: Bench, progress: Progress | None = None) -> Report:
    """Run all checks. Never raises for a broken promise; cancelling leaves the running check.

    Args:
        progress: Told of each finding as it is made.
    """
    report = Report(_named(bench))
    hangs, unusable = 0, ""
    for check in CHECKS:
        began = time.monotonic()
        if unusable:
            finding = _finding(check, Skipped(unusable), began)
        else:
            finding, hung = await _tried(check, bench)
            hangs += hung is not None
            if finding.verdict is Verdict.BROKEN and check in FOUNDATIONS:
                unusable = f"not tried, since {name_of(check)} is broken"
            elif hung is not None and (hangs == _MOST_HANGS or not hung.stopped):
                unusable = f"not tried, since {name_of(check)} did not end"
        report.findings.append(finding)
        if progress is not None:
            progress(finding)
    return report


async def _tried(check: Check, bench: Bench) -> tuple[Finding, DidNotEnd | None]:
    began = time.monotonic()
    try:
        await running_apart(_plainly(check, bench), CHECK_LIMITS * bench.limit_s)
    except DidNotEnd as error:
        return _finding(check, error, began), error
    except (AssertionError, Skipped) as error:
        return _finding(check, error, began), None
    return _finding(check, None, began), None


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


def _finding(check: Check, error: BaseException | None, began: float) -> Finding:
    verdict = Verdict.KEPT if error is None else Verdict.SKIPPED if isinstance(error, Skipped) else Verdict.BROKEN
    why = "" if error is None else str(error) or type(error).__name__
    return Finding(name_of(check), promise_of(check), verdict, why, time.monotonic() - began)


def _named(bench: Bench) -> str:
    """What to call the adapter in the report; making it may be what is broken."""
    name = getattr(bench.make, "name", None) or getattr(bench.make, "__name__", "")
    return str(name)

"""The course of the checks on one adapter: what is tried, what no more once the ground is gone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from orchestrator.testing.adapter_kit.apart import DidNotEnd
from orchestrator.testing.adapter_kit.bench import Bench
from orchestrator.testing.adapter_kit.checks import CHECKS, FOUNDATIONS, Check, name_of, promise_of
from orchestrator.testing.adapter_kit.examining import tried, trying
from orchestrator.testing.adapter_kit.report import Finding, Report, Verdict

Progress = Callable[[Finding], None]

#: Checks that did not end, after which no more is tried: each leaves a thread behind.
_MOST_HANGS: Final = 3


class Course:
    """One adapter's checks, one by one. After a broken foundation, or too many that hang, the rest is left out."""

    def __init__(self) -> None:
        self._unusable = ""
        self._hangs = 0
        self._passed: set[Check] = set()

    def left_out(self, check: Check) -> Finding | None:
        """The finding of a check that is not to be tried any more; None if it is."""
        if not self._unusable:
            return None
        return Finding(name_of(check), promise_of(check), Verdict.SKIPPED, self._unusable)

    def note(self, check: Check, finding: Finding, hung: DidNotEnd | None) -> None:
        """Tell what came of a check."""
        self._hangs += hung is not None
        if check in FOUNDATIONS:
            self._passed.add(check)
            if finding.verdict is Verdict.BROKEN:
                self._unusable = f"not tried, since {name_of(check)} is broken"
        if not self._unusable and hung is not None and (self._hangs == _MOST_HANGS or not hung.stopped):
            self._unusable = f"not tried, since {name_of(check)} did not end"

    def found(self, check: Check, bench: Bench) -> Finding:
        """Run a check on this thread, unless it is left out.

        Checks may come in any order, and the foundations in another process: what is broken is then first looked
        for there.
        """
        if (left_out := self.left_out(check)) is not None:
            return left_out
        finding, hung = tried(check, bench)
        self.note(check, finding, hung)
        if finding.verdict is not Verdict.BROKEN:
            return finding
        for each in FOUNDATIONS:
            if self._unusable or each in self._passed:
                continue
            ground, hung = tried(each, bench)
            self.note(each, ground, hung)
            if ground.verdict is Verdict.BROKEN:
                why = f"{name_of(each)} is broken, which all others need: {ground.why}"
                return Finding(finding.check, finding.promise, Verdict.BROKEN, why, finding.seconds)
        return finding


async def examine(bench: Bench, progress: Progress | None = None) -> Report:
    """Run all checks. Never raises for a broken promise; cancelling leaves the running check.

    Args:
        progress: Told of each finding as it is made.
    """
    report, course = Report(_named(bench)), Course()
    for check in CHECKS:
        finding = course.left_out(check)
        if finding is None:
            finding, hung = await trying(check, bench)
            course.note(check, finding, hung)
        report.findings.append(finding)
        if progress is not None:
            progress(finding)
    return report


def _named(bench: Bench) -> str:
    """What to call the adapter in the report; making it may be what is broken."""
    name = getattr(bench.make, "name", None) or getattr(bench.make, "__name__", "")
    return str(name)

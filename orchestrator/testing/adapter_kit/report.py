"""What came of the checks, in plain words."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    """What came of one promise."""

    KEPT = "kept"
    BROKEN = "broken"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Finding:
    """One promise of the contract, and what came of it.

    Attributes:
        check: Name of the check, such as ``bit_order``.
        promise: The promise in plain words.
        why: What was seen instead; of a skipped one, why it does not apply. Empty of a kept one.
        seconds: How long the check took.
    """

    check: str
    promise: str
    verdict: Verdict
    why: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.verdict}: {self.check}: {self.promise}" + (f"\n    {self.why}" if self.why else "")


@dataclass
class Report:
    """All findings, in the order of the checks; `str` or `render` to read it."""

    adapter: str = ""
    findings: list[Finding] = field(default_factory=list)

    @property
    def kept(self) -> list[Finding]:
        """Promises that are kept."""
        return self._of(Verdict.KEPT)

    @property
    def broken(self) -> list[Finding]:
        """Promises that are not kept."""
        return self._of(Verdict.BROKEN)

    @property
    def skipped(self) -> list[Finding]:
        """Promises that do not apply, or could not be tried."""
        return self._of(Verdict.SKIPPED)

    def _of(self, verdict: Verdict) -> list[Finding]:
        return [finding for finding in self.findings if finding.verdict is verdict]

    def reasons(self) -> dict[str, list[Finding]]:
        """What was left out, by the reason."""
        reasons: dict[str, list[Finding]] = {}
        for finding in self.skipped:
            reasons.setdefault(finding.why, []).append(finding)
        return reasons

    def totals(self, broken: str = "broken") -> str:
        """How many of each verdict, in a line."""
        kept = len(self.kept)
        promises = "promise" if kept == 1 else "promises"
        return f"{kept} {promises} kept, {len(self.broken)} {broken}, {len(self.skipped)} left out"

    def render(self) -> str:
        """The report for people: what is broken first, then what was left out, then the totals."""
        lines = []
        for finding in self.broken:
            lines += [f"Not kept: {finding.promise}", f"    {finding.check}: {finding.why}", ""]
        for why, findings in self.reasons().items():
            names = findings[0].check if len(findings) == 1 else f"{len(findings)} checks"
            lines.append(f"Left out: {names}: {why}")
        if self.skipped:
            lines.append("")
        name = f"{self.adapter}: " if self.adapter else ""
        return "\n".join([*lines, f"{name}{self.totals('not kept')}"])

    __str__ = render

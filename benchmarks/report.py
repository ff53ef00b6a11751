"""What a rehearsal saw."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Report:
    """Figures for people, and one line for each broken promise."""

    figures: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def expect(self, kept: bool, problem: str) -> None:
        """Note the problem unless the promise was kept."""
        if not kept:
            self.problems.append(problem)

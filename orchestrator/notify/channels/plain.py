"""A mail as plain text: everything the pictured one says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from orchestrator import histogram
from orchestrator.model import Result
from orchestrator.notify.abc import Notification, Part
from orchestrator.notify.channels import wording

#: Notifications a digest tells one by one.
MOST: Final = 50
#: Bars of one circuit among several.
MOST_OF_PART: Final = 6
_BAR: Final = 30


def text(notifications: Sequence[Notification], footer: str) -> str:
    """The body of a mail about one notification or several."""
    parts = _one(notifications[0]) if len(notifications) == 1 else _several(notifications)
    return "\n".join([*parts, "", "-- ", footer, ""])


def _one(notification: Notification) -> list[str]:
    lines = [f"{wording.noun(notification)} {wording.word(notification)}: {wording.name(notification)}", ""]
    problem = wording.failure(notification)
    if problem is not None:
        lines += [problem.code, *(f"  {line}" for line in wording.clean_lines(problem.message)), ""]
    if notification.result is not None:
        lines += [*bars(notification.result), ""]
    for part in notification.parts:
        lines += [*_part(part), ""]
    if more := wording.unshown(notification):
        lines += [f"... and {more}", ""]
    rows = wording.facts(notification)
    width = max(len(label) for label, _ in rows)
    lines += [f"{label + ':':<{width + 1}} {value}" for label, value in rows]
    return [*lines, "", notification.link] if notification.link else lines


def _several(notifications: Sequence[Notification]) -> list[str]:
    lines = [wording.summary(notifications), ""]
    for notification in notifications[:MOST]:
        problem = wording.failure(notification)
        lines.append(f"* {wording.name(notification)}: {wording.word(notification)}")
        if problem is not None:
            lines.append(f"  {problem.code}: {wording.in_short(problem)}")
        if notification.result is not None:
            lines.append(f"  {wording.likely(notification.result)}")
        lines.append(
            f"  {wording.moment(notification.event.at)}  {notification.link or notification.event.job_id or ''}"
        )
    if len(notifications) > MOST:
        lines.append(f"... and {len(notifications) - MOST} more")
    return lines


def _part(part: Part) -> list[str]:
    lines = [f"{wording.part_name(part)}: {part.job.status}"]
    problem = wording.failure_of(part.job)
    if problem is not None:
        lines.append(f"  {problem.code}: {wording.in_short(problem)}")
    if part.result is not None:
        lines += [f"  {line}" for line in bars(part.result, MOST_OF_PART)]
    return lines


def bars(result: Result, most: int = histogram.MOST) -> list[str]:
    """The histogram in letters."""
    drawn = histogram.bars(result, most)
    labels = max((len(bar.label) for bar in drawn), default=0)
    top = max((bar.probability for bar in drawn), default=1.0) or 1.0
    return [
        f"{bar.label:>{labels}} {'#' * max(round(bar.probability / top * _BAR), int(bar.probability > 0)):<{_BAR}} "
        f"{histogram.percent(bar.probability):>7}"
        for bar in drawn
    ]

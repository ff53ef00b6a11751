"""What people are told about a notification, in words; how it looks is the mail's business.

Names, metadata and failure messages come from users. Here they lose what could deceive: control characters, line
breaks of every alphabet, directional overrides, invisible characters.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from orchestrator.events import EventKind
from orchestrator.histogram import bars, percent
from orchestrator.lifecycle import JobStatus
from orchestrator.model import Failure, Job, Result
from orchestrator.notify.abc import Notification, Part

MAX_NAME: Final = 120
MAX_MESSAGE: Final = 2000
MAX_IN_SHORT: Final = 240

#: Controls, formats (directional ones among them), surrogates, private use, unassigned, line and paragraph separators.
_UNSAFE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

_WORDS: Final = {
    EventKind.JOB_SUBMITTED: "submitted",
    EventKind.JOB_READY: "ready to run",
    EventKind.JOB_STARTED: "started",
    EventKind.JOB_REQUEUED: "put back into the queue",
    EventKind.JOB_COMPLETED: "completed",
    EventKind.JOB_FAILED: "failed",
    EventKind.JOB_CANCELED: "canceled",
    EventKind.JOB_PROGRESS: "made progress",
    EventKind.JOB_DELETED: "deleted",
    EventKind.BACKEND_CALIBRATED: "calibrated",
    EventKind.BACKEND_CHANGED: "changed",
    EventKind.BUDGET_REFUSED: "refused",
    EventKind.BUDGET_EXHAUSTED: "exhausted",
    EventKind.HOOK_TEST: "test",
}


#: Kinds that tell why a job failed.
_FAILURES: Final = frozenset({EventKind.JOB_FAILED, EventKind.BUDGET_REFUSED})


def clean(text: str, limit: int = MAX_NAME) -> str:
    """One line of visible text, at most `limit` characters; never empty.

    Encoded words (``=?utf-8?...``) are broken up: a mail program would decode them back into what was removed.
    """
    visible = "".join(" " if unicodedata.category(character) in _UNSAFE else character for character in text)
    line = " ".join(visible.split()).replace("=?", "= ?")
    if len(line) > limit:
        line = line[: limit - 1].rstrip() + "…"
    return line or "(unnamed)"


def clean_lines(text: str, limit: int = MAX_MESSAGE) -> list[str]:
    """Several lines, each cleaned; empty ones are left out."""
    return [clean(line, limit) for line in text[:limit].splitlines() if line.strip()]


def word(notification: Notification) -> str:
    """What happened, after "the job": ``failed``, ``put back into the queue``."""
    kind = notification.event.kind
    return _WORDS.get(kind, clean(kind.rpartition(".")[2]))


def name(notification: Notification) -> str:
    """What it happened to: the job's name, else its id; the backend; the project whose hook is tested."""
    job, event = notification.job, notification.event
    if job is not None and job.spec.name:
        return clean(job.spec.name)
    return clean(event.job_id or event.backend or notification.project.name)


def noun(notification: Notification) -> str:
    """``Job``, ``Backend``, ``Budget`` or ``Hook``."""
    return clean(notification.event.kind.partition(".")[0].capitalize())


def failure(notification: Notification) -> Failure | None:
    """Why the job failed, if it did and the reason is known; the code cleaned, the message not."""
    if notification.event.kind not in _FAILURES or notification.job is None:
        return None
    return failure_of(notification.job)


def failure_of(job: Job) -> Failure | None:
    """Why a job failed, if that is known; see `failure`."""
    found = job.outcome.failure
    return None if found is None else Failure(code=clean(found.code, 60), message=found.message)


def in_short(problem: Failure) -> str:
    """A failure's message in one line of a list."""
    return clean(problem.message, MAX_IN_SHORT)


def likely(result: Result, most: int = 4) -> str:
    """The most probable outcomes, ``00 50.1 %, 11 49.9 %``."""
    found = sorted((bar for bar in bars(result) if not bar.rest), key=lambda bar: -bar.probability)[:most]
    return ", ".join(f"{bar.label} {percent(bar.probability)}" for bar in found)


def ended(notification: Notification) -> str | None:
    """How the circuits of a multi-circuit job ended, ``46 completed, 2 failed``; None where that is not known."""
    order = [status for status in JobStatus if notification.ended.get(status)]
    return ", ".join(f"{notification.ended[status]:,} {status}" for status in order) or None


def part_name(part: Part) -> str:
    """``Circuit 3``, and its name if it has one."""
    number = f"Circuit {(part.job.child_index or 0) + 1}"
    return f"{number}: {clean(part.job.spec.name, 60)}" if part.job.spec.name else number


def unshown(notification: Notification) -> str | None:
    """``42 more circuits``, beside those that are told one by one."""
    left = sum(notification.ended.values()) - len(notification.parts)
    return f"{left:,} more circuit{'s' if left > 1 else ''}" if left > 0 else None


def subject(notifications: Sequence[Notification]) -> str:
    """The subject of a mail about one notification or several."""
    first = notifications[0]
    if len(notifications) == 1:
        problem = failure(first)
        reason = f" ({problem.code})" if problem else ""
        return f"{noun(first)} {word(first)}{reason}: {clean(name(first), 80)}"
    return f"{clean(first.project.name, 40)}: {summary(notifications)}"


def summary(notifications: Sequence[Notification]) -> str:
    """``7 jobs: 5 completed, 2 failed``."""
    counted = Counter(word(notification) for notification in notifications)
    things = {noun(notification) for notification in notifications}
    thing = f"{things.pop().lower()}s" if len(things) == 1 else "notifications"
    parts = ", ".join(f"{number} {what}" for what, number in counted.most_common())
    return f"{len(notifications)} {thing}: {parts}"


def facts(notification: Notification) -> list[tuple[str, str]]:
    """Labels and values, as far as they are known."""
    event, job = notification.event, notification.job
    rows: list[tuple[str, str | None]] = [("Project", clean(notification.project.name)), ("Backend", event.backend)]
    if job is not None:
        spec, outcome = job.spec, job.outcome
        rows += [
            ("Circuits", ": ".join(filter(None, (f"{job.children:,}", ended(notification)))) if job.children else None),
            ("Qubits", str(spec.stats.qubits) if spec.stats.qubits else None),
            ("Shots", f"{spec.shots:,}"),
            ("Noise model", spec.noise.model if spec.noise else None),
            ("Duration", None if outcome.execution_ms is None else duration(outcome.execution_ms)),
            ("Attempts", str(job.attempt) if job.attempt > 1 else None),
            ("Submitted", moment(job.submitted_at)),
        ]
    rows.append((word(notification).capitalize(), moment(event.at)))
    rows.append(("Job", event.job_id))
    return [(label, clean(value)) for label, value in dict(rows).items() if value is not None]


def duration(milliseconds: int) -> str:
    """A time for people: ``480 ms``, ``12.4 s``, ``3 min 20 s``."""
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:.1f} s"
    minutes, seconds = divmod(round(milliseconds / 1000), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def moment(at_ms: int) -> str:
    """A wall time for people, UTC."""
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"

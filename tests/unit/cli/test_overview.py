"""The table of a whole project."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from orchestrator.cli.overview import Overview
from orchestrator.client import FeedEvent, FeedPlace, JobInfo
from orchestrator.lifecycle import JobStatus
from orchestrator.testing.clock import ManualClock

S = JobStatus
START_MS = 1_767_225_600_000


def event(job_id: str, kind: str, at: int = 0, parent_id: str | None = None, **data: Any) -> FeedEvent:
    """An event of the feed, at so many seconds after the start."""
    after = S.STARTED if kind == "progress" else S.COMPLETED if kind == "deleted" else S(kind)
    return FeedEvent(
        cursor="e:1",
        kind=f"job.{kind}",
        job_id=job_id,
        parent_id=parent_id,
        backend="simulator",
        after=after,
        at=START_MS + 1_000 * at,
        data=data or None,
    )


def told(job_id: str, status: JobStatus = S.READY, **members: Any) -> JobInfo:
    """A job as a server tells it."""
    return JobInfo(id=job_id, status=status, backend="simulator", submitted_at="2026-01-01T00:00:00Z", **members)


def drawn(board: Overview, width: int = 80, height: int = 24) -> list[str]:
    """The lines on a terminal."""
    out = Console(file=io.StringIO(), width=width, height=height, force_terminal=False)
    with out.capture() as capture:
        out.print(board)
    return [line.rstrip() for line in capture.get().splitlines()]


def test_many_jobs_fit_the_terminal() -> None:
    """What runs comes first, then what waits, then what ended last; some of each; the rest is counted."""
    for width, height in ((80, 24), (120, 30), (80, 12)):
        board = Overview(ManualClock())
        for number in range(60):
            board.notice(event(f"job-{number:02}", "ready"))
        for number in range(20):
            board.notice(event(f"job-{number:02}", "started", number))
        for number in range(8):
            board.notice(event(f"job-{number:02}", "completed", 30 + number))
        lines = drawn(board, width, height)
        assert len(lines) < height
        assert max(map(len, lines)) <= width
        states = [state for line in lines[2:-2] for state in ("started", "ready", "completed") if state in line]
        assert states == sorted(states, key=["started", "ready", "completed"].index)
        assert set(states) == (
            {"started", "ready", "completed"} if height > 20 else {"ready", "completed"} | set(states)
        )
        assert lines[-1] == f"40 ready  12 started  8 completed  and {60 - len(states)} more rows"
        assert "…job-07" in lines[-6] if height > 20 else True


def test_jobs_come_go_and_stay_a_while() -> None:
    """Every job that is told of is on the board, a deleted one is not; a failed one stays in sight longer."""
    board = Overview(ManualClock())
    assert drawn(board)[-1] == "no jobs"
    board.notice(event("gone", "ready"))
    board.notice(event("bad", "failed", 1))
    board.notice(event("bad", "failed", 1))  # told again, counted once
    for number in range(200):
        board.notice(event(f"job-{number:03}", "completed", 2))
    board.notice(event("gone", "deleted", 3))
    board.notice(FeedEvent(cursor="e:2", kind="backend.changed", at=0, backend="simulator"))
    lines = drawn(board, height=20)
    assert "failed" in lines[2]
    assert lines[-1].startswith("200 completed  1 failed")
    assert len(board.rows) == 51


def test_circuits_of_a_job_are_shown_while_they_run() -> None:
    """Indented, after the jobs; their parent says how far they are, and they are not counted."""
    board = Overview(ManualClock())
    board.notice(event("parent", "started"))
    for number in range(3):
        board.notice(event(f"child-{number}", "started", parent_id="parent"))
    board.notice(event("child-0", "completed", 2, parent_id="parent"))
    board.notice(event("parent", "progress", 2, done=1, total=3))
    board.notice(event("other", "started", 5))
    lines = drawn(board)
    assert [line.split()[0] for line in lines[2:6]] == ["…parent", "…other", "…child-1", "…child-2"]
    assert lines[4].startswith("  …child-1")
    assert "━" in lines[2]
    assert lines[-1] == "2 started"


def test_what_the_server_tells_fills_the_rows() -> None:
    """Names and times come from the server, once for each job in sight; it knows of jobs from before."""
    board = Overview(ManualClock())
    board.learn([told("old", name="from before"), told("run", S.STARTED, started_at="2026-01-01T00:00:02Z")])
    board.notice(event("new", "started", 9))
    board.line_up(FeedPlace(job_id="old", backend="simulator", position=3))
    running, new, waiting = drawn(board)[2:5]
    assert running.split()[-2:] == ["2.00", "s"]
    assert ("…new" in new, "from before" in waiting, "#3" in waiting) == (True, True, True)
    assert board.unnamed == ["new"]
    board.learn([told("new", S.COMPLETED, name="fresh")])
    assert board.rows["new"].status is S.STARTED  # events alone move it
    assert "fresh" in drawn(board)[3]
    assert board.unnamed == []


def test_a_lost_connection_is_told() -> None:
    """While events are not told, the summary says so."""
    board = Overview(ManualClock())
    board.notice(event("a", "ready"))
    board.connected = False
    assert drawn(board)[-1] == "reconnecting ...  1 ready"

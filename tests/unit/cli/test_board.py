"""The table of jobs that events move."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from orchestrator.cli.board import Board
from orchestrator.client import FeedEvent, FeedPlace, JobInfo
from orchestrator.lifecycle import JobStatus
from orchestrator.testing.clock import ManualClock

S = JobStatus


def job(job_id: str, **members: Any) -> JobInfo:
    """A job as a server told it at its submit."""
    return JobInfo(id=job_id, status=S.SUBMITTED, backend="simulator", submitted_at="2026-01-01T00:00:00Z", **members)


def event(job_id: str, kind: str, after: JobStatus, at: int, **data: Any) -> FeedEvent:
    """An event of the feed."""
    return FeedEvent(cursor="e:1", kind=f"job.{kind}", job_id=job_id, after=after, at=at, data=data or None)


def drawn(board: Board, width: int = 80) -> list[str]:
    """The board's lines on a terminal."""
    out = Console(file=io.StringIO(), width=width, force_terminal=False)
    with out.capture() as capture:
        out.print(board)
    return capture.get().splitlines()


def test_rows_tell_state_and_times_since_the_submit() -> None:
    """Each step's time is that of its event, counted from the submit."""
    board = Board([job("a", name="bell")])
    for kind, after, at in (("submitted", S.SUBMITTED, 100), ("ready", S.READY, 103), ("started", S.STARTED, 110)):
        board.notice(event("a", kind, after, at))
    assert "started" in drawn(board)[-1]
    board.notice(event("a", "completed", S.COMPLETED, 1_600))
    line = drawn(board)[-1]
    assert line.split() == ["bell", "simulator", "✔", "completed", "3", "ms", "10", "ms", "1.50", "s"]


def test_children_stand_under_their_parent() -> None:
    """A child is indented; a job without a name shows the end of its id."""
    board = Board([job("p" * 36), job("c", parent_job_id="p", name="child")])
    parent, child = drawn(board)[-2:]
    assert parent.startswith("…pppppppp ")
    assert child.startswith("  child ")


def test_progress_is_shown_until_the_end() -> None:
    """A fraction becomes a bar, which the end replaces."""
    board = Board([job("a")])
    board.notice(event("a", "submitted", S.SUBMITTED, 0))
    board.notice(event("a", "started", S.STARTED, 1))
    board.notice(event("a", "progress", S.STARTED, 2, fraction=0.5))
    assert "━" in drawn(board)[-1]
    assert board.rows["a"].reached[S.STARTED] == 1
    board.notice(event("a", "failed", S.FAILED, 30))
    assert drawn(board)[-1].split()[-4:] == ["1", "ms", "30", "ms"]


def test_a_parent_is_as_far_as_its_children() -> None:
    """A parent's progress is how many of its children have ended."""
    assert event("p", "progress", S.STARTED, 0, done=3, total=4).fraction == 0.75
    assert event("p", "started", S.STARTED, 0).fraction is None


def test_other_jobs_are_ignored() -> None:
    """Events of jobs that are not on the board change nothing."""
    board = Board([job("a")])
    before = drawn(board)
    board.notice(event("b", "failed", S.FAILED, 0))
    assert drawn(board) == before


def test_the_table_fits_a_small_terminal() -> None:
    """Nothing is wider than 80 columns, however long the names."""
    board = Board([job("a", name="n" * 100)])
    assert max(map(len, drawn(board))) <= 80


def test_a_waiting_job_shows_its_place_and_when_it_starts() -> None:
    """Place and prediction stand there while it waits, the time left shrinks by itself; the start ends that."""
    clock = ManualClock(100_000)
    board = Board([job("a")], clock)
    board.notice(event("a", "submitted", S.SUBMITTED, 99_000))
    board.notice(event("a", "ready", S.READY, 99_004))
    board.line_up(FeedPlace(job_id="a", backend="simulator", position=3, estimated_start=173_000))
    board.line_up(FeedPlace(job_id="b", backend="simulator", position=4))
    assert drawn(board)[-1].split()[-7:] == ["ready", "#3", "4", "ms", "in", "1", "min"]
    clock.advance(60)
    assert drawn(board)[-1].split()[-3:] == ["in", "13", "s"]
    board.notice(event("a", "started", S.STARTED, 160_000))
    board.line_up(FeedPlace(job_id="a", backend="simulator", position=1, estimated_start=161_000))
    assert drawn(board)[-1].split()[-4:] == ["4", "ms", "1.0", "min"]


def test_a_running_job_shows_when_it_ends() -> None:
    """At the pace it had; a place in line is not shown where nothing is predicted."""
    clock = ManualClock(10_000)
    board = Board([job("a")], clock)
    board.notice(event("a", "ready", S.READY, 0))
    board.line_up(FeedPlace(job_id="a", backend="simulator", position=1))
    assert "#1" in drawn(board)[-1]
    assert " in " not in drawn(board)[-1]
    board.notice(event("a", "started", S.STARTED, 0))
    board.notice(event("a", "progress", S.STARTED, 10_000, fraction=0.25))
    assert drawn(board)[-1].endswith(" in 30 s")
    clock.advance(12)
    assert drawn(board)[-1].endswith(" in 18 s")
    board.notice(event("a", "requeued", S.READY, 23_000))
    assert drawn(board)[-1].split()[-2:] == ["◔", "ready"]


def test_a_crowded_row_fits_a_small_terminal() -> None:
    """State, place, progress and estimate are whole on 80 columns."""
    clock = ManualClock(10_000)
    board = Board([job("a", name="n" * 100), job("b")], clock)
    for job_id in "ab":
        board.notice(event(job_id, "submitted", S.SUBMITTED, 0))
        board.notice(event(job_id, "ready", S.READY, 900))
    board.line_up(FeedPlace(job_id="a", backend="simulator", position=99, estimated_start=69_000))
    board.notice(event("b", "started", S.STARTED, 1_000))
    board.notice(event("b", "progress", S.STARTED, 10_000, fraction=0.135))
    waiting, running = drawn(board)[-2:]
    assert "◔ ready #99" in waiting
    assert waiting.rstrip().endswith("in 59 s")
    assert running.endswith(" in 58 s")
    assert max(map(len, (waiting, running))) <= 80

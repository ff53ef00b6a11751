"""Following jobs to their end over the feed, and the three ways of showing it: live, in lines, as JSON."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, aclosing, contextmanager
from datetime import UTC, datetime
from typing import Final

from rich.live import Live
from rich.text import Text

from orchestrator.cli.board import Board
from orchestrator.cli.output import STYLES, console, emit
from orchestrator.client import (
    Client,
    FeedEvent,
    FeedFrame,
    FeedGap,
    FeedLive,
    FeedPlace,
    FeedUnavailable,
    JobInfo,
)
from orchestrator.errors import CursorExpired
from orchestrator.lifecycle import TERMINAL

Show = Callable[[FeedFrame], None]

#: Families beyond this many children are followed by their parents alone.
_MOST_CHILDREN: Final = 16
FRAMES_PER_S: Final = 15
_STANDINGS: Final = {"available": "green", "unavailable": "yellow", "retired": "red"}


@contextmanager
def live(board: Board) -> Iterator[Show]:
    """A table that moves in place."""
    with Live(board, console=console(), refresh_per_second=FRAMES_PER_S) as display:

        def show(frame: FeedFrame) -> None:
            if isinstance(frame, FeedEvent):
                board.notice(frame)
            elif isinstance(frame, FeedPlace):
                board.line_up(frame)

        yield show
        display.refresh()


@contextmanager
def lines(board: Board) -> Iterator[Show]:
    """One line an event."""
    out = console()

    def show(frame: FeedFrame) -> None:
        if isinstance(frame, FeedEvent):
            row = board.rows.get(frame.job_id or "")
            out.print(line(frame, row.job.name if row else None), soft_wrap=True)
        elif isinstance(frame, FeedGap):
            out.print(f"(events up to {frame.cursor} are gone)")

    yield show


@contextmanager
def documents(_board: Board) -> Iterator[Show]:
    """One JSON document a frame, as the feed sent it."""
    yield emit


def view(board: Board, *, as_json: bool) -> AbstractContextManager[Show]:
    """The way that suits whoever reads standard output."""
    if as_json:
        return documents(board)
    return live(board) if console().is_terminal else lines(board)


def line(event: FeedEvent, name: str | None = None) -> Text:
    """An event for people."""
    at = datetime.fromtimestamp(event.at / 1000, UTC).strftime("%H:%M:%S.%f")[:-3]
    text = Text(f"{at}  ", style="bright_black")
    text.append(f"{event.kind:<14}  ", style=STYLES[event.after] if event.after else "")
    text.append(event.job_id or event.backend or "", style="default")
    if name:
        text.append(f"  {name}", style="bold")
    if event.job_id and event.backend:
        text.append(f"  {event.backend}", style="bright_black")
    if (through := event.fraction) is not None:
        text.append(f"  {100 * through:.0f} %")
    data = event.data or {}
    if status := data.get("status"):
        text.append(f"  {status}", style=_STANDINGS.get(status, ""))
    if failure := data.get("failure"):
        text.append(f"  {failure['code']}: {failure['message']}", style="red")
    if reason := data.get("reason"):
        text.append(f"  {reason}", style="bright_black")
    return text


async def families(client: Client, job_ids: Collection[str]) -> list[JobInfo]:
    """The jobs, each followed by its children if these are few."""
    found: list[JobInfo] = []
    for job_id in job_ids:
        job = await client.get(job_id)
        children = job.child_job_ids or []
        found.append(job)
        found += [await client.get(child) for child in children] if len(children) <= _MOST_CHILDREN else []
    return found


async def follow(client: Client, jobs: Collection[JobInfo], show: Show) -> None:
    """Show the history of jobs, then what happens and where they stand in line, until all have ended.

    Without a feed just wait for that.
    """
    pending = {job.id for job in jobs if not job.terminal}
    ids, cursor, history = [job.id for job in jobs], "earliest", True
    try:
        while history or pending:
            try:
                async with aclosing(client.events(cursor, jobs=ids, places=True)) as frames:
                    while history or pending:
                        frame = await anext(frames)
                        show(frame)
                        history = history and not isinstance(frame, FeedLive)
                        if isinstance(frame, FeedEvent) and frame.after in TERMINAL:
                            pending.discard(frame.job_id or "")
            except CursorExpired as error:
                cursor = error.resume  # the gap, and where things stand, was shown
                pending = {job_id for job_id in pending if not (await client.get(job_id)).terminal}
    except FeedUnavailable:
        for job_id in pending:
            await client.wait(job_id)

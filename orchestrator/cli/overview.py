"""A project at a glance: a live table of what runs, what waits and what ended last, as large as the terminal."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable
from contextlib import aclosing
from datetime import datetime
from functools import partial
from typing import Final

import anyio
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from orchestrator.cli.board import Board, Row, named
from orchestrator.cli.output import STYLES, console
from orchestrator.client import (
    Client,
    FeedEvent,
    FeedGap,
    FeedLive,
    FeedPlace,
    FeedUnavailable,
    JobInfo,
    RemoteError,
    Unreachable,
)
from orchestrator.clock import Clock
from orchestrator.errors import CursorExpired
from orchestrator.lifecycle import ACTIVE, TERMINAL, JobStatus

#: Ended jobs that are kept, of each status; and the rows that ended and waiting ones have, however many run.
_MOST_ENDED: Final = 50
_AT_LEAST: Final = 4
#: Lines beside the rows: the head and its rule, an empty line, the summary, and the terminal's last line.
_AROUND: Final = 5
#: Active jobs that are asked for in the beginning, of each status, and how many at once.
_MOST_LISTED: Final = 1_000
_PAGE: Final = 100
#: Failed jobs are shown this much longer than others.
_LINGERS_MS: Final = 60_000
_FRAME_S: Final = 0.1
#: Names are asked for so often, and so many of them; all jobs so often, where there is no feed.
_LOOK_S: Final = 0.25
_LOOKS: Final = 8
_POLL_S: Final = 2.0


class Overview(Board):
    """The jobs of a project; it draws those for which there is room.

    Attributes:
        connected: Events are being told.
        ended: How many jobs ended how while it looked, circuits of larger jobs not counted.
        unnamed: Jobs that were drawn last, and of which nothing but their events is known.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        super().__init__((), clock)
        self.connected = True
        self.ended: Counter[JobStatus] = Counter()
        self.unnamed: list[str] = []
        self._last: dict[JobStatus, deque[str]] = {status: deque() for status in TERMINAL}

    def learn(self, jobs: Iterable[JobInfo]) -> None:
        """Take in what a server tells of jobs beside their events: names and times; and jobs that are new here."""
        for job in jobs:
            row = self.rows.setdefault(job.id, Row(job, "", job.status))
            row.job, row.name, row.known = job, named(job), True
            times = {JobStatus.SUBMITTED: job.submitted_at, JobStatus.STARTED: job.started_at}
            for status, told in times.items():
                if told:
                    row.reached.setdefault(status, round(datetime.fromisoformat(told).timestamp() * 1000))

    def notice(self, event: FeedEvent) -> None:
        job_id = event.job_id
        if job_id is None or event.after is None:
            return
        if event.kind == "job.deleted":
            self.rows.pop(job_id, None)
            return
        row = self.rows.get(job_id)
        if row is None:
            job = JobInfo(
                id=job_id,
                status=event.after,
                backend=event.backend or "",
                submitted_at="",
                parent_job_id=event.parent_id,
            )
            row = self.rows[job_id] = Row(job, named(job), known=False)
        went_on = row.status not in TERMINAL
        super().notice(event)
        if event.after in TERMINAL and went_on:
            self._retire(row)

    def _retire(self, row: Row) -> None:
        """Keep the last ended jobs; of a circuit of a larger job its parent tells."""
        if row.job.parent_job_id is not None:
            del self.rows[row.job.id]
            return
        self.ended[row.status] += 1
        last = self._last[row.status]
        last.append(row.job.id)
        if len(last) > _MOST_ENDED:
            self.rows.pop(last.popleft(), None)

    def chosen(self, height: int) -> list[Row]:
        """The rows for so many lines: what runs, and at least some of what waits and what ended last."""
        running, waiting, ended = self._groups()
        for_ended, for_waiting = min(len(ended), _AT_LEAST), min(len(waiting), _AT_LEAST)
        for_running = min(len(running), max(0, height - for_waiting - for_ended))
        for_waiting = min(len(waiting), max(0, height - for_running - for_ended))
        for_ended = min(len(ended), max(0, height - for_running - for_waiting))
        return [*running[:for_running], *waiting[:for_waiting], *ended[:for_ended]]

    def _groups(self) -> tuple[list[Row], list[Row], list[Row]]:
        running: list[Row] = []
        waiting: list[Row] = []
        ended: list[Row] = []
        for row in self.rows.values():
            group = running if row.status is JobStatus.STARTED else ended if row.status in TERMINAL else waiting
            group.append(row)
        # Circuits of a larger job come last: their parent tells how far they are.
        running.sort(key=lambda row: (row.job.parent_job_id is not None, row.reached.get(JobStatus.STARTED, 0)))
        waiting.sort(key=lambda row: (row.job.parent_job_id is not None, row.reached.get(JobStatus.SUBMITTED, 0)))
        ended.sort(key=lambda row: -row.reached.get(row.status, 0) - _LINGERS_MS * (row.status is JobStatus.FAILED))
        return running, waiting, ended

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        rows = self.chosen(max(1, (options.height or console.height) - _AROUND))
        self.unnamed = [row.job.id for row in rows if not row.known]
        yield self.drawn(rows, options)
        yield Text()
        yield self._summary(len(rows))

    def _summary(self, shown: int) -> Text:
        text = Text(no_wrap=True, overflow="ellipsis")
        if not self.connected:
            text.append("reconnecting ...  ", style="bold yellow")
        active = Counter(row.status for row in self.rows.values() if row.job.parent_job_id is None)
        for status in JobStatus:
            number = active[status] if status in ACTIVE else self.ended[status]
            if number:
                text.append(f"{number:,} {status}", style=STYLES[status]).append("  ")
        if not self.rows:
            text.append("no jobs  ", style="bright_black")
        if len(self.rows) > shown:
            text.append(f"and {len(self.rows) - shown:,} more rows", style="bright_black")
        return text


async def watch(client: Client, sessions: Collection[str] = ()) -> None:
    """Draw the project, or the jobs of sessions, until interrupted."""
    board = Overview()
    with Live(board, console=console(), auto_refresh=False) as live:  # its own thread would read while rows change
        problem: Exception | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_draw, live)
            tasks.start_soon(_name, client, board)
            try:
                await _follow(client, board, sessions)
            except (RemoteError, Unreachable) as error:
                problem = error  # told as itself, not as one of a group
            tasks.cancel_scope.cancel()
        if problem is not None:
            raise problem


async def _draw(live: Live) -> None:
    while True:
        live.refresh()
        await anyio.sleep(_FRAME_S)


async def _follow(client: Client, board: Overview, sessions: Collection[str]) -> None:
    """Move the board by the feed; it loses nothing over a restart of the server."""

    def standing(told: bool) -> None:
        board.connected = told

    # Sessions are read from their beginning: a listing cannot choose by them.
    cursor, listed = ("earliest", True) if sessions else ("latest", False)
    while True:
        try:
            async with aclosing(client.events(cursor, sessions=sessions, places=True, standing=standing)) as frames:
                async for frame in frames:
                    if isinstance(frame, FeedEvent):
                        board.notice(frame)
                    elif isinstance(frame, FeedPlace):
                        board.line_up(frame)
                    elif isinstance(frame, FeedGap):
                        listed = bool(sessions)
                    elif isinstance(frame, FeedLive) and not listed:
                        await _list(client, board)
                        listed = True
        except CursorExpired as error:
            cursor = error.resume
        except FeedUnavailable as refusal:
            if sessions or refusal.status in {401, 403}:
                raise
            while True:
                await _list(client, board)
                await client.clock.sleep(_POLL_S)


async def _list(client: Client, board: Overview) -> None:
    """Bring the board to what the server tells of active jobs, and of those it shows that no longer are."""
    active: dict[str, JobInfo] = {}
    for status in sorted(ACTIVE):
        after: str | None = None
        for _ in range(_MOST_LISTED // _PAGE):
            page = await client.persist(partial(client.jobs, status=status, limit=_PAGE, after=after))
            active |= {job.id: job for job in page.jobs}
            after = page.next
            if after is None:
                break
    shown = [job_id for job_id, row in board.rows.items() if row.status in ACTIVE and row.job.parent_job_id is None]
    for job_id in shown:
        if job_id not in active:
            active[job_id] = await client.persist(partial(client.get, job_id))
    known = set(board.rows)
    board.learn(active.values())
    now_ms = client.clock.now_ms()
    for job in active.values():
        if job.id in known and board.rows[job.id].status is not job.status:
            board.notice(FeedEvent(cursor="", kind=f"job.{job.status}", at=now_ms, job_id=job.id, after=job.status))


async def _name(client: Client, board: Overview) -> None:
    """Ask for what events do not say, of the jobs that are looked at."""
    while True:
        await anyio.sleep(_LOOK_S)
        for job_id in board.unnamed[:_LOOKS]:
            try:
                job = await client.get(job_id)
            except RemoteError:
                if job_id in board.rows:
                    board.rows[job_id].known = True  # deleted, or not told; asking again will not help
            except Unreachable:
                break
            else:
                if job_id in board.rows:
                    board.learn([job])

"""Jobs on their way, as a table that events move."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from rich.box import ASCII, SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from orchestrator.cli.output import STYLES, badge, duration
from orchestrator.client import FeedEvent, JobInfo
from orchestrator.lifecycle import TERMINAL, JobStatus


@dataclass
class Row:
    """One job: what it is, and what events have told about it so far.

    Attributes:
        reached: Wall time at which each status was reached last, Unix milliseconds.
        progress: 0 to 1 while it runs, as far as its backend tells.
    """

    job: JobInfo
    name: str
    status: JobStatus = JobStatus.SUBMITTED
    reached: dict[JobStatus, int] = field(default_factory=dict)
    progress: float | None = None

    def since_submit(self, *statuses: JobStatus) -> float | None:
        """Milliseconds from the submit to the first of the statuses that was reached."""
        begun = self.reached.get(JobStatus.SUBMITTED)
        times = [self.reached[status] for status in statuses if status in self.reached]
        return None if begun is None or not times else times[0] - begun


def fraction(event: FeedEvent) -> float | None:
    """How far a job is, 0 to 1: what its backend tells, or for a parent how many children have ended."""
    data = event.data or {}
    if data.get("total"):
        return float(data["done"] / data["total"])
    return data.get("fraction")


class Board:
    """A renderable table of jobs; `notice` moves it. Draw it in a `rich.live.Live` to see it move."""

    def __init__(self, jobs: Iterable[JobInfo] = ()) -> None:
        self.rows: dict[str, Row] = {}
        self.add(jobs)
        self._spinner = Spinner("dots", style=STYLES[JobStatus.STARTED])

    def add(self, jobs: Iterable[JobInfo]) -> None:
        """Show more jobs; children stand indented under their parent."""
        for job in jobs:
            name = job.name or f"…{job.id[-8:]}"
            self.rows.setdefault(job.id, Row(job, f"  {name}" if job.parent_job_id else name))

    def notice(self, event: FeedEvent) -> None:
        """Take in an event; those of other jobs are ignored."""
        row = self.rows.get(event.job_id or "")
        if row is None or event.after is None:
            return
        if event.kind == "job.progress":
            row.progress = fraction(event)
        elif event.after is not row.status or not row.reached:
            row.reached[event.after] = event.at
            row.progress = None
        row.status = event.after

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        plain = options.ascii_only
        table = Table(box=ASCII if plain else SIMPLE_HEAD, header_style="bold", show_edge=False, pad_edge=False)
        table.add_column("job", no_wrap=True, overflow="ellipsis", ratio=1, min_width=12)
        table.add_column("backend", no_wrap=True, overflow="ellipsis", style="bright_black")
        table.add_column("state", no_wrap=True, min_width=13)
        for title in ("ready", "started", "ended"):
            table.add_column(title, no_wrap=True, justify="right", min_width=9)
        for row in self.rows.values():
            table.add_row(
                row.name,
                row.job.backend,
                self._state(row, plain),
                duration(row.since_submit(JobStatus.READY)),
                duration(row.since_submit(JobStatus.STARTED)),
                self._end(row),
            )
        yield table

    def _state(self, row: Row, plain: bool) -> RenderableType:
        if row.status is JobStatus.STARTED and not plain:
            self._spinner.update(text=Text(row.status, style=STYLES[row.status]))
            return self._spinner
        return badge(row.status, plain=plain)

    def _end(self, row: Row) -> RenderableType:
        if row.progress is not None:
            return ProgressBar(total=1.0, completed=row.progress, width=9)
        return duration(row.since_submit(*TERMINAL))

"""Jobs on their way, as a table that events move."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from rich.box import ASCII, SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from orchestrator.cli.output import STYLES, about, badge, duration
from orchestrator.client import FeedEvent, FeedPlace, JobInfo
from orchestrator.clock import Clock, SystemClock
from orchestrator.lifecycle import TERMINAL, JobStatus

#: Width of a bar, and of what is said beside it.
_BAR: Final = 7
_LEFT: Final = 8
#: Least widths of the columns beside the job's name and its backend, whose names are cut where there is no room.
_WIDTHS: Final = {"state": 12, "ready": 8, "started": 9, "ended": _BAR + _LEFT}
_LEAST_NAME: Final = 10
_MOST_BACKEND: Final = 12


@dataclass
class Row:
    """One job: what it is, and what the feed has told about it so far.

    Attributes:
        reached: Wall time at which each status was reached last, Unix milliseconds.
        progress: How far it is while it runs, 0 to 1, as far as its backend tells; and when it was so far.
        place: Where it stands in line while it waits.
        known: The server was asked for the job; else `job` has what events say, and no more.
    """

    job: JobInfo
    name: str
    status: JobStatus = JobStatus.SUBMITTED
    reached: dict[JobStatus, int] = field(default_factory=dict)
    progress: tuple[float, int] | None = None
    place: FeedPlace | None = None
    known: bool = True

    def since_submit(self, *statuses: JobStatus) -> float | None:
        """Milliseconds from the submit to the first of the statuses that was reached."""
        begun = self.reached.get(JobStatus.SUBMITTED)
        times = [self.reached[status] for status in statuses if status in self.reached]
        return None if begun is None or not times else times[0] - begun

    def starts_in(self, now_ms: int) -> float | None:
        """Milliseconds until it probably starts, if it waits and that is predicted."""
        if self.place is None or self.place.estimated_start is None:
            return None
        return max(0, self.place.estimated_start - now_ms)

    def ends_in(self, now_ms: int) -> float | None:
        """Milliseconds until it has probably ended, if it goes on as fast as it went so far."""
        started = self.reached.get(JobStatus.STARTED)
        if self.progress is None or self.progress[0] <= 0 or started is None:
            return None
        fraction, at = self.progress
        return max(0.0, (at - started) * (1 / fraction - 1) - (now_ms - at))


def named(job: JobInfo) -> str:
    """What a job is called on the board; children stand indented under their parent."""
    name = job.name or f"…{job.id[-8:]}"
    return f"  {name}" if job.parent_job_id else name


class Board:
    """A renderable table of jobs; `notice` and `line_up` move it. Draw it in a `rich.live.Live` to see it move."""

    def __init__(self, jobs: Iterable[JobInfo] = (), clock: Clock | None = None) -> None:
        self.rows: dict[str, Row] = {}
        self.add(jobs)
        self._clock = clock or SystemClock()
        self._spinner = Spinner("dots", style=STYLES[JobStatus.STARTED])

    def add(self, jobs: Iterable[JobInfo]) -> None:
        """Show more jobs."""
        for job in jobs:
            self.rows.setdefault(job.id, Row(job, named(job)))

    def notice(self, event: FeedEvent) -> None:
        """Take in an event; those of other jobs are ignored."""
        row = self.rows.get(event.job_id or "")
        if row is None or event.after is None:
            return
        if event.kind == "job.progress":
            through = event.fraction
            row.progress = None if through is None else (through, event.at)
        elif event.after is not row.status or not row.reached:
            row.reached[event.after] = event.at
            row.progress = row.place = None
            if event.after is JobStatus.READY:
                row.reached.pop(JobStatus.STARTED, None)  # it was put back
        row.status = event.after

    def line_up(self, place: FeedPlace) -> None:
        """Take in where a waiting job stands; news of one that waits no more comes too late."""
        row = self.rows.get(place.job_id)
        if row is not None and row.status in {JobStatus.SUBMITTED, JobStatus.READY}:
            row.place = place

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.drawn(list(self.rows.values()), options)

    def drawn(self, rows: Sequence[Row], options: ConsoleOptions) -> Table:
        """Rows as a table."""
        plain = options.ascii_only
        table = Table(box=ASCII if plain else SIMPLE_HEAD, header_style="bold", show_edge=False, pad_edge=False)
        backend = min(_MOST_BACKEND, max((len(row.job.backend) for row in rows), default=7))
        left = options.max_width - sum(_WIDTHS.values()) - backend - 3 * (len(_WIDTHS) + 1)  # dividers, padded
        table.add_column("job", no_wrap=True, overflow="ellipsis", max_width=max(_LEAST_NAME, left))
        table.add_column("backend", no_wrap=True, overflow="ellipsis", max_width=backend, style="bright_black")
        for title, width in _WIDTHS.items():
            table.add_column(title, no_wrap=True, justify="left" if title == "state" else "right", min_width=width)
        now_ms = self._clock.now_ms()
        for row in rows:
            table.add_row(
                row.name,
                row.job.backend,
                self._state(row, plain),
                duration(row.since_submit(JobStatus.READY)),
                self._start(row, now_ms),
                self._end(row, now_ms),
            )
        return table

    def _state(self, row: Row, plain: bool) -> RenderableType:
        if row.status is JobStatus.STARTED and not plain:
            self._spinner.update(text=Text(row.status, style=STYLES[row.status]))
            return self._spinner
        shown = badge(row.status, plain=plain)
        if row.place is not None:
            shown.append(f" #{row.place.position}")
        return shown

    def _start(self, row: Row, now_ms: int) -> RenderableType:
        left_ms = row.starts_in(now_ms)
        if left_ms is None:
            return duration(row.since_submit(JobStatus.STARTED))
        return Text(f"in {about(left_ms)}", style="bright_black")

    def _end(self, row: Row, now_ms: int) -> RenderableType:
        if row.progress is None:
            return duration(row.since_submit(*TERMINAL))
        shown = Table.grid(padding=(0, 1))
        left_ms = row.ends_in(now_ms)
        bar = ProgressBar(total=1.0, completed=row.progress[0], width=_BAR)
        shown.add_row(bar, Text("" if left_ms is None else f"in {about(left_ms)}", style="bright_black"))
        return shown

"""Jobs in a notebook, live: a widget that shows states, progress and histograms.

    from orchestrator.client import SyncClient
    from orchestrator.client.widget import JobsWidget

    client = SyncClient(url, key)
    JobsWidget(client, client.submit(circuit, shots=1000))

Needs anywidget, which the extra ``notebook`` brings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any, Final

from orchestrator.client.http import Client
from orchestrator.client.shapes import FeedEvent, FeedUnavailable, JobInfo
from orchestrator.client.sync import SyncClient
from orchestrator.errors import CursorExpired, OrchestratorError
from orchestrator.histogram import bars, percent
from orchestrator.lifecycle import TERMINAL, JobStatus

try:
    import anywidget
    import traitlets
except ImportError as error:
    raise ImportError("the widget needs anywidget: pip install 'ion-orchestrator[notebook]'") from error

#: Bars of a histogram.
_MOST: Final = 8


class JobsWidget(anywidget.AnyWidget):
    """A table of jobs that moves until all have ended. Closing it, or the client, ends that; jobs go on.

    Args:
        client: Whom to ask; a `Client` only where its loop is running, as in a cell that awaits.
        job_ids: One job or several; circuits of a job are told of by how many of them have ended.

    Attributes:
        jobs: What is shown, a row for each job: id, name, backend, status, progress (0 to 1, or None), message, and
            the histogram as label, share and text of each bar.
        problem: Why it does not go on, if so.
    """

    _esm = Path(__file__).with_name("widget.js")
    jobs: traitlets.List[Any] = traitlets.List().tag(sync=True)
    problem = traitlets.Unicode("").tag(sync=True)

    def __init__(self, client: SyncClient | Client, job_ids: str | Sequence[str]) -> None:
        super().__init__()
        self._rows: dict[str, dict[str, Any]] = {}
        ids = [job_ids] if isinstance(job_ids, str) else list(job_ids)
        if isinstance(client, SyncClient):
            self.following: Any = client.beside(lambda within: self._follow(within, ids))
        else:
            self.following = asyncio.get_running_loop().create_task(self._follow(client, ids))

    def close(self) -> None:
        """Take it off the page and stop following."""
        self.following.cancel()
        super().close()

    async def _follow(self, client: Client, ids: Sequence[str]) -> None:
        try:
            for job_id in ids:
                await self._told(client, await client.persist(partial(client.get, job_id)))
            cursor = "earliest"
            while self._pending():
                try:
                    await self._listen(client, cursor)
                except CursorExpired as expired:
                    cursor = expired.resume
                    for job_id in self._pending():
                        await self._told(client, await client.persist(partial(client.get, job_id)))
        except FeedUnavailable:
            for job_id in self._pending():
                await self._told(client, await client.wait(job_id))
        except OrchestratorError as error:
            self.problem = f"{error.code}: {error}"

    async def _listen(self, client: Client, cursor: str) -> None:
        async with aclosing(client.events(cursor, jobs=self._pending())) as frames:
            async for frame in frames:
                row = self._rows.get(frame.job_id or "") if isinstance(frame, FeedEvent) else None
                if isinstance(frame, FeedEvent) and row is not None and frame.after is not None:
                    if frame.after in TERMINAL:
                        await self._told(client, await client.persist(partial(client.get, row["id"])))
                    else:
                        row |= {"status": str(frame.after), "progress": frame.fraction}
                        self._show()
                if not self._pending():
                    return

    async def _told(self, client: Client, job: JobInfo) -> None:
        """A job as the server tells it, with its result once that is there."""
        message, drawn = "", []
        if job.failure is not None:
            message = f"{job.failure.code}: {job.failure.message}"
        if job.status is JobStatus.COMPLETED and job.results is not None and not job.child_job_ids:
            result = await client.persist(partial(client.measured, job))
            top = max((bar.probability for bar in bars(result, _MOST)), default=1.0) or 1.0
            drawn = [[bar.label, bar.probability / top, percent(bar.probability)] for bar in bars(result, _MOST)]
        self._rows[job.id] = {
            "id": job.id, "name": job.name or "", "backend": job.backend, "status": str(job.status), "progress": None,
            "message": message, "histogram": drawn,
        }  # fmt: skip
        self._show()

    def _show(self) -> None:
        self.jobs = [dict(row) for row in self._rows.values()]

    def _pending(self) -> list[str]:
        return [job_id for job_id, row in self._rows.items() if row["status"] not in TERMINAL]

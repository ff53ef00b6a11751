"""From rows of the outbox to what channels are given: the event with its job as it stands now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from orchestrator.errors import JobNotFound, ResultNotReady
from orchestrator.events import Event, EventKind
from orchestrator.hooks import Hook
from orchestrator.lifecycle import TERMINAL, JobStatus
from orchestrator.model import Job, Project, Result
from orchestrator.notify.abc import Notification, Part
from orchestrator.storage.abc import JobFilter, Store

#: Circuits of a multi-circuit job that are told one by one.
PARTS: Final = 6


class Composer:
    """Makes notifications.

    Args:
        project_of: A project by id.
        result_of: The result of a job of that project; raises ResultNotReady or JobNotFound where there is none.
        public_url: Address under which people reach this server; empty where they do not.
    """

    def __init__(
        self,
        store: Store,
        *,
        project_of: Callable[[str], Project],
        result_of: Callable[[Job], Awaitable[Result]],
        public_url: str = "",
    ) -> None:
        self._store = store
        self._project_of = project_of
        self._result_of = result_of
        self._public_url = public_url.rstrip("/")

    async def compose(
        self, hook: Hook, events: Sequence[tuple[str, Event]], *, with_results: bool
    ) -> list[Notification]:
        """Notifications under the given ids; a job that was deleted meanwhile is left out of its own.

        Circuits of a multi-circuit job are told of where it is alone: a digest has no room for them.

        Raises:
            StorageError: The store could not be read.
        """
        project = self._project_of(hook.project_id)
        ids = {event.job_id for _, event in events if event.job_id is not None}
        jobs: dict[str, Job] = {}
        if ids:
            found = await self._store.jobs(hook.project_id, JobFilter(ids=ids), limit=len(ids))
            jobs = {job.id: job for job in found}
        made = []
        for notification_id, event in events:
            job = jobs.get(event.job_id or "")
            alone = with_results and len(events) == 1 and job is not None
            children = await self._children(event, job) if alone and job is not None else []
            made.append(
                Notification(
                    id=notification_id,
                    event=event,
                    project=project,
                    job=job,
                    result=await self._result(event, job) if with_results and job is not None else None,
                    ended=Counter(child.status for child in children),
                    parts=[Part(child, await self._measured(child)) for child in _first(children)],
                    link=f"{self._public_url}/jobs/{event.job_id}" if self._public_url and event.job_id else None,
                )
            )
        return made

    async def _result(self, event: Event, job: Job) -> Result | None:
        if event.kind is not EventKind.JOB_COMPLETED or job.children:
            return None
        return await self._measured(job)

    async def _children(self, event: Event, job: Job) -> list[Job]:
        if event.after not in TERMINAL or event.before in TERMINAL or job.status not in TERMINAL or not job.children:
            return []
        return await self._store.children(job.project_id, job.id)

    async def _measured(self, job: Job) -> Result | None:
        if job.status is not JobStatus.COMPLETED:
            return None
        try:
            return await self._result_of(job)
        except (JobNotFound, ResultNotReady):
            return None


def _first(children: Sequence[Job]) -> list[Job]:
    """The circuits that are told one by one."""
    chosen = sorted(children, key=lambda child: child.status is not JobStatus.FAILED)[:PARTS]
    return sorted(chosen, key=lambda child: child.child_index or 0)

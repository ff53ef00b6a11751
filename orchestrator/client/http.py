"""The client itself: jobs, waiting for them, their results, events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Sequence
from functools import partial
from typing import Any, Final
from uuid import uuid4

import anyio
import msgspec

from orchestrator.client.feed import Standing, follow
from orchestrator.client.shapes import (
    BackendInfo,
    FeedFrame,
    JobCost,
    JobInfo,
    JobList,
    PartlySubmitted,
    RemoteError,
    Unreachable,
)
from orchestrator.client.waiting import Waiter
from orchestrator.client.wire import Wire
from orchestrator.client.work import Work, job_body
from orchestrator.errors import JobCanceled, JobFailed, ResultNotReady
from orchestrator.lifecycle import JobStatus
from orchestrator.model import Failure, Result

#: Submits that are under way together.
_AT_ONCE: Final = 8


class Client(Wire):
    """See the module; the arguments are those of `Wire`."""

    # -- jobs ---------------------------------------------------------------------------

    async def submit(self, work: Work, *, idempotency_key: str | None = None, **options: Any) -> str:
        """Submit a circuit, several (one parent), a request or a body of ``POST /v0.4/jobs``; answers the job's id.

        A submit that was not taken, or whose answer was lost, is repeated under one idempotency key, so that it makes
        one job. At a cloud that knows no such keys a lost answer is an error: nothing is bought twice.

        Args:
            work: What to run.
            idempotency_key: The same key and work again answer the first job; generated unless given.
            options: Members of the body, such as ``backend``, ``shots``, ``name``, ``noise``.

        Raises:
            RemoteError: The server refused it.
            Unreachable: It was not there; where `sent` says so, the outcome is unknown, as with `OutcomeUnknown`.
        """
        headers = {"Idempotency-Key": idempotency_key or uuid4().hex}
        body = msgspec.json.encode(job_body(work, **options))

        async def post() -> str:
            created: dict[str, Any] = await self.ask(dict[str, Any], "POST", "/v0.4/jobs", data=body, headers=headers)
            return str(created["id"])

        return await self.persist(post, self.attempts, self.check_repeatable)

    async def submit_many(
        self, works: Sequence[Work], *, idempotency_key: str | None = None, **options: Any
    ) -> list[str]:
        """Submit each piece of work as a job of its own, several at a time; answers the ids in their order.

        Args:
            works: What to run; see `submit`.
            idempotency_key: Each job's key is made of it and the work's place, so that the same call again goes on
                where one was interrupted.
            options: Members of every body.

        Raises:
            PartlySubmitted: One was refused or its outcome is unknown; after that no more were begun.
        """
        job_ids: list[str | None] = [None] * len(works)
        waiting = iter(enumerate(works))
        refused: list[RemoteError | Unreachable] = []

        async def submit_in_turn() -> None:
            for place, work in waiting:
                if refused:
                    return
                key = None if idempotency_key is None else f"{idempotency_key}:{place}"
                try:
                    job_ids[place] = await self.submit(work, idempotency_key=key, **options)
                except (RemoteError, Unreachable) as error:
                    refused.append(error)

        async with anyio.create_task_group() as group:
            for _ in range(min(_AT_ONCE, len(works))):
                group.start_soon(submit_in_turn)
        if refused:
            raise PartlySubmitted(job_ids) from refused[0]
        return [job_id for job_id in job_ids if job_id is not None]

    async def get(self, job_id: str) -> JobInfo:
        """A job."""
        return await self.ask(JobInfo, "GET", f"/v0.4/jobs/{job_id}")

    async def jobs(
        self, *, status: str | None = None, backend: str | None = None, limit: int = 25, after: str | None = None
    ) -> JobList:
        """A page of jobs, newest first; `after` is ``next`` of the page before."""
        params = _given(status=status, target=backend, limit=limit, next=after)
        return await self.ask(JobList, "GET", "/v0.4/jobs", params=params)

    async def cost(self, job_id: str) -> JobCost:
        """What a job cost and was expected to cost."""
        return await self.ask(JobCost, "GET", f"/v0.4/jobs/{job_id}/cost")

    async def with_costs(self, jobs: Sequence[JobInfo]) -> list[JobInfo]:
        """The same jobs with what they cost and were expected to cost; without, where the server does not tell."""
        told = list(jobs)
        waiting = iter(enumerate(jobs))

        async def ask_in_turn() -> None:
            for place, job in waiting:
                try:
                    known = await self.cost(job.id)
                except RemoteError as error:
                    if error.status != 404:
                        raise
                else:
                    told[place] = msgspec.structs.replace(job, cost=known.cost, estimated_cost=known.estimated_cost)

        async with anyio.create_task_group() as group:
            for _ in range(min(_AT_ONCE, len(jobs))):
                group.start_soon(ask_in_turn)
        return told

    async def cancel(self, job_ids: Sequence[str]) -> None:
        """Cancel jobs; those that have ended stay as they are. An unknown one refuses all."""
        body = msgspec.json.encode({"ids": job_ids})
        await self.ask(dict[str, Any], "PUT", "/v0.4/jobs/status/cancel", data=body)

    async def backends(self) -> list[BackendInfo]:
        """All backends."""
        return await self.ask(list[BackendInfo], "GET", "/v0.4/backends")

    async def wait(self, job_id: str, *, timeout_s: float | None = None) -> JobInfo:
        """The job, once it has ended: told by the feed, or asked for now and then while that tells nothing.

        A server that goes away meanwhile is waited for. Giving up waiting does nothing to the job.

        Raises:
            TimeoutError: It has not ended in time.
        """
        with anyio.fail_after(timeout_s):
            job = await self.get(job_id)
            return job if job.terminal else await Waiter(self, job).ended()

    async def result(self, job_id: str, *, timeout_s: float | None = None) -> Result:
        """The result of a single-circuit job, once it has completed; see `results`."""
        return (await self.results(job_id, timeout_s=timeout_s))[0]

    async def results(self, job_id: str, *, timeout_s: float | None = None) -> list[Result]:
        """The results of a job's circuits in their order, once it has completed.

        Raises:
            JobFailed, JobCanceled: It ended without.
            ResultNotReady: It was a dry run.
            TimeoutError: Not all was there in time; `timeout_s` is for waiting and reading together.
        """
        with anyio.fail_after(timeout_s):
            job = await self.wait(job_id)
            if job.status is JobStatus.FAILED:
                failure = job.failure or Failure(code="unknown", message="the server gives no reason")
                raise JobFailed(job.id, failure.code, failure.message)
            if job.status is JobStatus.CANCELED:
                raise JobCanceled(job.id)
            leaves = [await self.persist(partial(self.get, child)) for child in job.child_job_ids or ()] or [job]
            return [await self.persist(partial(self.measured, leaf)) for leaf in leaves]

    async def measured(self, job: JobInfo) -> Result:
        """The result of a completed job of one circuit."""
        if job.results is None:
            raise ResultNotReady(job.id)
        base = f"/v0.4/jobs/{job.id}/results"
        probabilities = await self.ask(dict[int, float], "GET", f"{base}/probabilities")
        counts = None
        if "histogram" in job.results:
            try:
                counts = await self.ask(dict[int, int], "GET", f"{base}/histogram")
            except RemoteError as error:
                if error.status != 404:  # the vendor names a histogram for exact results too, and has none
                    raise
        qubits = max(int(job.stats.get("qubits", 1)), max(probabilities, default=0).bit_length(), 1)
        return Result(qubits=qubits, probabilities=probabilities, counts=counts, execution_ms=job.execution_duration_ms)

    # -- events -------------------------------------------------------------------------

    def events(
        self,
        cursor: str = "latest",
        *,
        jobs: Collection[str] = (),
        sessions: Collection[str] = (),
        kinds: Collection[str] = (),
        backends: Collection[str] = (),
        places: bool = False,
        standing: Standing | None = None,
    ) -> AsyncGenerator[FeedFrame]:
        """Committed events after the cursor, then live ones, without end; close it (`contextlib.aclosing`).

        A lost connection is made again, after a pause with full jitter, and goes on where it stood: no event is
        missing, none comes twice.

        Args:
            cursor: One of an earlier frame, ``earliest`` or ``latest``.
            jobs: Only events of these jobs and their children.
            sessions: Only events of jobs of these sessions.
            kinds: Only events of these kinds, or families such as ``job.*``.
            backends: Only events of these backends.
            places: Tell also where waiting jobs stand in line (`FeedPlace`).
            standing: Told True with each frame, and False when the connection is lost.

        Raises:
            Unreachable: No server was there to begin with.
            FeedUnavailable: The server has no feed, refuses it or leaves the handshake unanswered, or the key was
                revoked. One that is overrun or starting (429, 502, 503, 504) is waited for.
            CursorExpired: Retention has removed events after the cursor.
        """
        chosen = {"job": jobs, "session": sessions, "kind": kinds, "backend": backends}
        wishes = self._feed_params + [(name, value) for name, values in chosen.items() for value in values]
        if places:
            wishes.append(("queue", "true"))
        return follow(
            self._session,
            self.root,
            wishes,
            cursor,
            pause=self.pause,
            asked_for=self.asked_for,
            standing=standing,
        )


def _given(**params: str | int | None) -> dict[str, str | int]:
    return {name: value for name, value in params.items() if value is not None}

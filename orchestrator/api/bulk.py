"""``/results/v1``: the results of many jobs in one answer, for programs that follow many jobs at once.

The vendor contract has one route a job and a format. An orchestrator that stands in front of this one asks here
instead: what a job came to, as the domain keeps it, parents with their children. ``/results/v1/live`` tells the same of
each job as it ends, a line each, for as long as the caller reads: no request a job at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec
from aiohttp import web

from orchestrator.api.endpoint import Access, Call, Route, reply
from orchestrator.api.query import Query, refuse
from orchestrator.errors import JobNotFound
from orchestrator.events import KIND_OF
from orchestrator.lifecycle import TERMINAL, Cause, JobStatus
from orchestrator.model import Job
from orchestrator.subscription import Selection

PATH: Final = "/results/v1"
MAX_IDS: Final = 200
#: An answer with more bytes of results than this leaves the other jobs to the next request.
ENOUGH: Final = 4 * 1024 * 1024
#: Results read from the store at once.
_PART: Final = 100
#: Jobs told in one write, and longest silence, of a live answer.
_LINES: Final = 50
LIFE_S: Final = 15.0
_ENDS: Final = frozenset(KIND_OF[cause] for cause in (Cause.COMPLETED, Cause.FAILED, Cause.CANCELED))


async def results(call: Call) -> web.Response:
    """What became of the jobs that are named: unknown ones are left out, and those that no longer fit are `left`."""
    ids = list(dict.fromkeys(Query(call).texts("id")))
    if not 1 <= len(ids) <= MAX_IDS:
        raise refuse("id", f"name 1 to {MAX_IDS} jobs", "id_out_of_range")
    page = await call.orchestrator.list_jobs(project=call.project, ids=ids, limit=len(ids))
    known = {job.id: job for job in page.jobs}
    answers, left = await _answers(call, [known[job_id] for job_id in ids if job_id in known])
    return reply({"jobs": answers, "left": left})


async def _answers(call: Call, jobs: Iterable[Job]) -> tuple[list[dict[str, Any]], list[str]]:
    """What became of jobs, and those that no longer fit."""
    orchestrator, project = call.orchestrator, call.project
    answers: list[dict[str, Any]] = []
    size = 0
    asked = iter(jobs)
    for job in asked:
        children = await orchestrator.children(job.id, project=project) if job.children else []
        bodies = await _bodies(call, children or [job])
        size += sum(map(len, bodies.values()))
        answer = _answer(job, bodies)
        if children:
            answer["children"] = [_answer(child, bodies) for child in children]
        answers.append(answer)
        if size > ENOUGH:
            break
    return answers, [job.id for job in asked]


class Streams:
    """The live answers of one application.

    A reader that does not keep up is nobody's cost but its own: it reads on from the log.
    """

    def __init__(self) -> None:
        self._open: dict[asyncio.Event, str | None] = {}
        self._ended: set[asyncio.Event] = set()

    async def live(self, call: Call) -> web.StreamResponse:
        """Tell what jobs came to as they end, from now on: JSON objects, one a line; empty lines between show life."""
        log, project = call.orchestrator.event_log, call.project
        chosen = map(call.orchestrator.backends.resolve, Query(call).texts("backend"))
        wanted = Selection(project, kinds=_ENDS, backends=frozenset(chosen))
        wake, sequence = asyncio.Event(), log.newest
        self._open[wake] = None if call.principal is None else call.principal.key_id
        unlisten = log.listen(lambda _: wake.set())
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        try:
            await response.prepare(call.request)
            await response.write(b'{"live":true}\n')
            while wake not in self._ended and not log.closed:
                wake.clear()
                batch = await log.batch(sequence, wanted)
                sequence = batch.reached
                ids = [event.job_id for event in batch.events if event.job_id is not None and event.parent_id is None]
                for begin in range(0, len(ids), _LINES):
                    await response.write(await _lines(call, ids[begin : begin + _LINES]))
                if sequence >= log.newest and not await _woken(wake):
                    await response.write(b"\n")
        finally:
            unlisten()
            del self._open[wake]
            self._ended.discard(wake)
        return response

    def revoked(self, key_id: str) -> None:
        """Close those of a key that died."""
        self._end([wake for wake, key in self._open.items() if key == key_id])

    def close(self) -> None:
        """Close all."""
        self._end(list(self._open))

    def _end(self, wakes: Sequence[asyncio.Event]) -> None:
        for wake in wakes:
            self._ended.add(wake)
            wake.set()


async def _woken(wake: asyncio.Event) -> bool:
    try:
        async with asyncio.timeout(LIFE_S):
            await wake.wait()
    except TimeoutError:
        return False
    return True


async def _lines(call: Call, ids: Sequence[str]) -> bytes:
    """One line a job; of those with much to tell only that it is there to be asked for."""
    jobs = []
    for job_id in ids:
        with suppress(JobNotFound):  # deleted since
            jobs.append(await call.orchestrator.get(job_id, project=call.project))  # from memory, where it just ended
    answers, left = await _answers(call, jobs)
    told = [msgspec.json.encode(answer) for answer in answers if answer["status"] in TERMINAL]
    told += [msgspec.json.encode({"id": job_id, "status": JobStatus.COMPLETED, "left": True}) for job_id in left]
    return b"".join(line + b"\n" for line in told)


async def _bodies(call: Call, jobs: Sequence[Job]) -> dict[str, bytes]:
    """Results as the store keeps them, encoded, by job; a dry run has none to show."""
    ids = [job.id for job in jobs if job.status is JobStatus.COMPLETED and not job.spec.dry_run]
    found: dict[str, bytes] = {}
    for begin in range(0, len(ids), _PART):
        found |= await call.orchestrator.store.results(call.project, ids[begin : begin + _PART])
    return found


def _answer(job: Job, bodies: dict[str, bytes]) -> dict[str, Any]:
    outcome, body = job.outcome, bodies.get(job.id)
    return {
        "id": job.id,
        "status": job.status,
        "failure": outcome.failure,
        "warnings": outcome.warnings,
        "cost": outcome.cost,
        "predicted_execution_ms": outcome.predicted_execution_ms,
        "result": None if body is None else msgspec.Raw(body),
    }


def routes(streams: Streams) -> tuple[Route, ...]:
    """The routes; `streams` serves the live answers."""
    return Route("GET", PATH, Access.KEY, results), Route("GET", f"{PATH}/live", Access.KEY, streams.live)

"""Fetching what ended: each result once.

An orchestrator answers many results in one request; those that end while a request is under way go into the next, and
requests keep a distance when there is much to do, so that a thousand jobs need a few requests a second. Other clouds
have one route a job: one request for its probabilities, one for its histogram where it has one, one for its cost where
its target is priced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

import anyio
import structlog

from orchestrator.errors import BackendFault
from orchestrator.model import IDEAL, Cost
from orchestrator_remote_cloud.branch import Branch
from orchestrator_remote_cloud.catalog import local_id
from orchestrator_remote_cloud.flights import CANCELED, FAILED, GONE, Flight, News
from orchestrator_remote_cloud.link import TRIES, V04
from orchestrator_remote_cloud.measured import (
    Measured,
    Outcome,
    Told,
    canceled,
    failed,
    gone,
    head_of,
    of_cloud,
    of_orchestrator,
)
from orchestrator_remote_cloud.shapes import BulkAnswer, RemoteCost, RemoteFailure, RemoteJob, RemoteJobs, remote_job
from orchestrator_remote_cloud.transport import Foreign, Lost, Refused

T = TypeVar("T")
log = structlog.get_logger()

#: Jobs in one request for results.
MOST_IDS: Final = 100
#: Requests for results a second, once so many were made at once.
RATE_PER_S: Final = 4.0
BURST: Final = 8
#: Flights of other clouds collected at the same time.
AT_ONCE: Final = 8
#: How often something is asked for that can be done without.
_OPTIONAL_TRIES: Final = 3


class Collector:
    """Collects the ended flights of one branch."""

    def __init__(self, branch: Branch) -> None:
        self._branch = branch
        self._link = branch.link
        self._slots = anyio.CapacityLimiter(AT_ONCE)
        self._next_slot = 0.0

    async def run(self) -> None:
        """Collect what ends, without end."""
        branch, flights = self._branch, self._branch.flights
        while True:
            changed = flights.changed
            if not flights.ending:
                await changed.wait()
                continue
            if not self._link.orchestrator:
                ended, flights.ending = flights.ending, []
                for flight in ended:
                    branch.spawn(self._singly, flight)
                continue
            told = {
                flight: of_orchestrator(branch.local, flight, flight.news.bulk)
                for flight in flights.ending
                if flight.news is not None and flight.news.bulk is not None
            }
            if told:
                flights.ending = [flight for flight in flights.ending if flight not in told]
                await self._conclude(told)
                continue
            await self._keep_distance()
            ended, flights.ending = flights.ending[:MOST_IDS], flights.ending[MOST_IDS:]
            await self._together(ended)

    async def _keep_distance(self) -> None:
        now = self._branch.clock.monotonic()
        self._next_slot = max(self._next_slot, now - (BURST - 1) / RATE_PER_S)
        wait_s = self._next_slot - now
        self._next_slot += 1 / RATE_PER_S
        if wait_s > 0:
            await self._branch.clock.sleep(wait_s)

    # -- another orchestrator -----------------------------------------------------------------

    async def _together(self, ended: Sequence[Flight]) -> None:
        """Collect many flights of an orchestrator."""
        known = {flight.remote_id: flight for flight in ended if flight.remote_id is not None and not _gone(flight)}
        outcomes: dict[Flight, list[Outcome]] = {flight: gone(flight) for flight in ended if _gone(flight)}
        left = list(known)
        while left:
            params = [("id", remote_id) for remote_id in left if remote_id is not None]
            try:
                answer = await self._link.persist_for_job(
                    BulkAnswer, "/results/v1", tries=1 if len(left) > 1 else TRIES, params=params
                )
            except Refused as error:
                outcomes |= {known[remote_id]: self._not_given(known[remote_id], error) for remote_id in left}
                break
            except Lost as error:
                if len(left) == 1:
                    outcomes[known[left[0]]] = self._not_given(known[left[0]], error)
                else:  # one of them is at fault: the others shall not wait for it
                    for half in (left[: len(left) // 2], left[len(left) // 2 :]):
                        self._branch.spawn(self._together, [known[remote_id] for remote_id in half])
                break
            bodies = {head.id: body for body in answer.jobs if (head := head_of(body)) is not None}
            for remote_id in bodies.keys() - known.keys():
                log.warning("remote tells of a job that it was not asked for", remote=self._link.name, job=remote_id)
            for remote_id in left:
                flight = known[remote_id]
                if remote_id in bodies:
                    outcomes[flight] = of_orchestrator(self._branch.local, flight, bodies[remote_id])
                elif remote_id not in answer.left:
                    outcomes[flight] = gone(flight)
            left = [remote_id for remote_id in left if remote_id not in bodies and remote_id in set(answer.left)]
        await self._conclude(outcomes)

    def _not_given(self, flight: Flight, error: Lost | Refused) -> list[Outcome]:
        fault = BackendFault(f"{self._link.name} does not give the result: {error}")
        return [(attempt, fault) for attempt in flight.members]

    async def _conclude(self, outcomes: Mapping[Flight, list[Outcome]]) -> None:
        await self._branch.emit.finished([outcome for some in outcomes.values() for outcome in some])
        for flight, some in outcomes.items():
            self._branch.released(flight, some)
        for flight in outcomes:
            self._branch.spawn(self._branch.tidy, flight)

    # -- any other cloud ------------------------------------------------------------------------

    async def _singly(self, flight: Flight) -> None:
        """Collect one flight of a cloud."""
        async with self._slots:
            try:
                outcomes = await self._outcomes(flight)
            except (Lost, Refused) as error:
                outcomes = self._not_given(flight, error)
        await self._branch.conclude(flight, outcomes)

    async def _outcomes(self, flight: Flight) -> list[Outcome]:
        """What a cloud has of a flight.

        Raises:
            Lost, Refused: It does not give the result.
        """
        news = flight.news
        if news is None or news.status == GONE or flight.remote_id is None:
            return gone(flight)
        if not flight.members:
            return []
        if news.status == CANCELED:
            return canceled(flight)
        job = news.job or remote_job(await self._get(dict[str, Any], f"{V04}/jobs/{flight.remote_id}"))
        if job is None:
            raise Foreign("it does not say what became of the job")
        if news.status == FAILED:
            return await self._failures(flight, news, job)
        return await self._results(flight, job)

    async def _failures(self, flight: Flight, news: News, job: RemoteJob) -> list[Outcome]:
        """Of a family those circuits that failed, which are asked for; one that fails cancels the others here too."""
        failure = news.failure or job.failure or RemoteFailure()
        if len(flight.intent.jobs) == 1:
            return [(attempt, failed(failure)) for attempt in flight.members]
        params = [("parent_job_id", job.id), ("status", FAILED), ("limit", "200")]
        children = (await self._link.persist_for_job(RemoteJobs, f"{V04}/jobs", params=params)).known
        places: dict[str, int] = {}
        if children:
            whole = await self._get(dict[str, Any], f"{V04}/jobs/{job.id}")
            places = {str(child): place for place, child in enumerate(whole.get("child_job_ids") or ())}
        outcomes: list[Outcome] = []
        for child in children:
            place = places.get(child.id)
            attempt = flight.attempts.get(flight.intent.jobs[place]) if place is not None else None
            if attempt is not None:
                outcomes.append((attempt, failed(child.failure or failure)))
        return outcomes or [(attempt, failed(failure)) for attempt in flight.members[:1]]

    async def _results(self, flight: Flight, job: RemoteJob) -> list[Outcome]:
        base = f"{V04}/jobs/{job.id}/results"
        offered = job.results or {}
        backend = self._branch.catalog.find(self._branch.target)
        calibration = None if backend is None else backend.characterization_id
        told = Told(job, await self._cost(job.id), calibration and local_id(self._branch.local, calibration))
        if flight.family:
            # By position: the keys are the remote's children in circuit order.
            answer = await self._get(dict[str, dict[int, float]], f"{base}/probabilities/aggregated")
            maps = dict(zip(flight.intent.jobs, answer.values(), strict=False))
            told = told.shared(len(flight.intent.jobs))
            return [self._outcome(flight, job_id, Measured(maps.get(job_id)), told) for job_id in flight.attempts]
        measured = Measured(await self._get(dict[int, float], f"{base}/probabilities"))
        if "histogram" in offered:
            measured.counts = await self._optional(dict[int, int], f"{base}/histogram")
        if self._link.settings.shots and "shots" in offered:
            measured.shots = await self._optional(list[int], f"{base}/shots")
        return [self._outcome(flight, job_id, measured, told) for job_id in flight.attempts]

    async def _get(self, shape: type[T], path: str) -> T:
        return await self._link.persist_for_job(shape, path)

    async def _optional(self, shape: type[T], path: str) -> T | None:
        """What a cloud may have or not: exact results have no histogram, though the vendor names one."""
        try:
            return await self._link.persist_for_job(shape, path, tries=_OPTIONAL_TRIES)
        except (Lost, Refused) as error:
            log.debug("remote does not tell", remote=self._link.name, path=path, reason=str(error))
            return None

    async def _cost(self, remote_id: str) -> Cost | None:
        """What the job cost, as far as the cloud tells; simulators are free, and nobody is asked."""
        backend = self._branch.catalog.find(self._branch.target)
        if backend is not None and backend.noise_models:
            return None
        answer = await self._optional(RemoteCost, f"{V04}/jobs/{remote_id}/cost")
        return None if answer is None else answer.cost

    def _outcome(self, flight: Flight, job_id: str, measured: Measured, told: Told) -> Outcome:
        attempt = flight.attempts[job_id]
        noise = attempt.job.spec.noise
        backend = self._branch.catalog.find(self._branch.target)
        simulator = backend is not None and (bool(backend.noise_models) or backend.backend.startswith("simulator"))
        sampled = not simulator or (noise is not None and noise.model != IDEAL)
        return of_cloud(attempt, measured, told, sampled=sampled)


def _gone(flight: Flight) -> bool:
    return flight.news is not None and flight.news.status == GONE

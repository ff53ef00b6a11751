"""Fetching what ended: each result once.

An orchestrator answers many results in one request; those that end while a request is under way go into the next, and
requests keep a distance when there is much to do, so that a thousand jobs need a few requests a second. Other clouds
have one route a job: one request for its probabilities, one for its histogram where it has one, one for its cost where
its target is priced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import anyio
import msgspec

from orchestrator.backends.abc import Attempt
from orchestrator.errors import BackendFault, CanceledByBackend, ExecutionError
from orchestrator.model import Cost, Result
from orchestrator_remote_cloud.branch import Branch
from orchestrator_remote_cloud.flights import CANCELED, COMPLETED, FAILED, GONE, Flight, News
from orchestrator_remote_cloud.link import V04
from orchestrator_remote_cloud.shapes import Bulk, BulkAnswer, RemoteCost, RemoteFailure, RemoteJob, RemoteJobs
from orchestrator_remote_cloud.transport import Refused

#: Jobs in one request for results.
MOST_IDS: Final = 100
#: Requests for results a second, once so many were made at once.
RATE_PER_S: Final = 4.0
BURST: Final = 8
#: Flights of other clouds collected at the same time.
AT_ONCE: Final = 8
#: How far a probability times the shots may be from a whole number to be a count.
_WHOLE: Final = 1e-4

Outcome = tuple[Attempt, Result | ExecutionError]


@dataclass
class _Measured:
    """What was measured of one circuit."""

    probabilities: dict[int, float] | None
    counts: dict[int, int] | None = None
    shots: list[int] | None = None


@dataclass(frozen=True)
class _Told:
    """What else a cloud tells of a job."""

    job: RemoteJob
    cost: Cost | None
    warnings: tuple[str, ...]

    def shared(self, circuits: int) -> _Told:
        """The same for each circuit, which bears its part of the cost."""
        share = None if self.cost is None else Cost(value=self.cost.value / circuits, unit=self.cost.unit)
        return replace(self, cost=share)


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
            told = [flight for flight in flights.ending if flight.news is not None and flight.news.bulk is not None]
            if told:
                flights.ending = [flight for flight in flights.ending if flight not in set(told)]
                await self._conclude({flight: _from_bulk(flight) for flight in told})
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
        outcomes: dict[Flight, list[Outcome]] = {flight: _lost(flight) for flight in ended if _gone(flight)}
        left = list(known)
        while left:
            params = [("id", remote_id) for remote_id in left if remote_id is not None]
            answer = await self._link.persist(BulkAnswer, "GET", "/results/v1", params=params)
            for bulk in answer.jobs:
                flight = known[bulk.id]
                outcomes[flight] = _from_bulk(flight, bulk)
            told = {bulk.id for bulk in answer.jobs}
            outcomes |= {
                known[remote_id]: _lost(known[remote_id])
                for remote_id in left
                if remote_id not in told and remote_id not in answer.left
            }
            left = [remote_id for remote_id in left if remote_id in set(answer.left)]
        await self._conclude(outcomes)

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
            except Refused as error:
                fault = BackendFault(f"{self._link.name} does not give the result: {error}")
                outcomes = [(attempt, fault) for attempt in flight.members]
        await self._branch.conclude(flight, outcomes)

    async def _outcomes(self, flight: Flight) -> list[Outcome]:
        news = flight.news
        if news is None or news.status == GONE or flight.remote_id is None:
            return _lost(flight)
        if not flight.members:
            return []
        if news.status == CANCELED:
            return _canceled(flight)
        job = news.job
        if job is None:
            job = await self._link.persist(RemoteJob, "GET", f"{V04}/jobs/{flight.remote_id}")
        if news.status == FAILED:
            return await self._failures(flight, news, job)
        return await self._results(flight, job)

    async def _failures(self, flight: Flight, news: News, job: RemoteJob) -> list[Outcome]:
        """Of a family those circuits that failed, which are asked for; one that fails cancels the others here too."""
        failure = news.failure or job.failure or RemoteFailure()
        if len(flight.intent.jobs) == 1:
            return [(attempt, _fault(failure)) for attempt in flight.members]
        params = [("parent_job_id", job.id), ("status", FAILED), ("limit", "200")]
        failed = (await self._link.persist(RemoteJobs, "GET", f"{V04}/jobs", params=params)).jobs
        places: dict[str, int] = {}
        if failed:
            whole = await self._link.persist(dict[str, Any], "GET", f"{V04}/jobs/{job.id}")
            places = {str(child): place for place, child in enumerate(whole.get("child_job_ids") or ())}
        outcomes: list[Outcome] = []
        for child in failed:
            place = places.get(child.id)
            attempt = flight.attempts.get(flight.intent.jobs[place]) if place is not None else None
            if attempt is not None:
                outcomes.append((attempt, _fault(child.failure or failure)))
        return outcomes or [(attempt, _fault(failure)) for attempt in flight.members[:1]]

    async def _results(self, flight: Flight, job: RemoteJob) -> list[Outcome]:
        base = f"{V04}/jobs/{job.id}/results"
        offered = job.results or {}
        told = _Told(job, await self._cost(job.id), tuple(job.warning.messages) if job.warning is not None else ())
        if flight.members[0].job.parent_id is not None:
            # By position: the keys are the remote's children in circuit order.
            answer = await self._link.persist(dict[str, dict[int, float]], "GET", f"{base}/probabilities/aggregated")
            maps = dict(zip(flight.intent.jobs, answer.values(), strict=False))
            told = told.shared(len(flight.intent.jobs))
            return [self._result(attempt, _Measured(maps.get(attempt.id)), told) for attempt in flight.members]
        measured = _Measured(await self._link.persist(dict[int, float], "GET", f"{base}/probabilities"))
        if "histogram" in offered:
            measured.counts = await self._optional(dict[int, int], f"{base}/histogram")
        if self._link.settings.shots and "shots" in offered:
            measured.shots = await self._optional(list[int], f"{base}/shots")
        return [self._result(attempt, measured, told) for attempt in flight.members]

    async def _cost(self, remote_id: str) -> Cost | None:
        """What the job cost; simulators are free, and nobody is asked."""
        backend = self._branch.catalog.find(self._branch.target)
        if backend is not None and backend.noise_models:
            return None
        answer = await self._optional(RemoteCost, f"{V04}/jobs/{remote_id}/cost")
        return None if answer is None else answer.cost

    async def _optional(self, shape: type[Any], path: str) -> Any:
        """What a cloud may have or not: exact results have no histogram, though the vendor names one."""
        try:
            return await self._link.persist(shape, "GET", path)
        except Refused:
            return None

    def _result(self, attempt: Attempt, measured: _Measured, told: _Told) -> Outcome:
        probabilities, counts = measured.probabilities, measured.counts
        if probabilities is None:
            return attempt, BackendFault("the remote gives fewer results than there are circuits")
        spec = attempt.job.spec
        if counts is None and self._sampled(attempt):
            counts = _counted(probabilities, spec.shots)
        backend = self._branch.catalog.find(self._branch.target)
        took_ms = told.job.execution_duration_ms
        result = Result(
            qubits=max(1, spec.stats.declared, max(probabilities, default=0).bit_length()),
            probabilities=probabilities,
            counts=counts,
            shots=measured.shots,
            execution_ms=None if took_ms is None else round(took_ms),
            characterization_id=backend.characterization_id if backend is not None else None,
            cost=told.cost,
            warnings=told.warnings,
        )
        return attempt, result

    def _sampled(self, attempt: Attempt) -> bool:
        noise = attempt.job.spec.noise
        backend = self._branch.catalog.find(self._branch.target)
        simulator = backend is not None and (bool(backend.noise_models) or backend.backend.startswith("simulator"))
        return not simulator or (noise is not None and noise.model != "ideal")


def _gone(flight: Flight) -> bool:
    return flight.news is not None and flight.news.status == GONE


def _lost(flight: Flight) -> list[Outcome]:
    fault = BackendFault("the remote has no such job any more: it was deleted there")
    return [(attempt, fault) for attempt in flight.members]


def _canceled(flight: Flight) -> list[Outcome]:
    return [(attempt, CanceledByBackend("the remote canceled the job")) for attempt in flight.members]


def _fault(failure: RemoteFailure) -> ExecutionError:
    """The remote's failure, in its own code; it would fail again."""
    return ExecutionError(failure.code, failure.text)


def _from_bulk(flight: Flight, bulk: Bulk | None = None) -> list[Outcome]:
    """What an orchestrator tells of a job and its children: in an answer, or by itself."""
    bulk = bulk or (flight.news.bulk if flight.news is not None else None)
    if bulk is None:
        return _lost(flight)
    parts = bulk.children or [bulk]
    by_job = dict(zip(flight.intent.jobs, parts, strict=False))
    outcomes: list[Outcome] = []
    for attempt in flight.members:
        part = by_job.get(attempt.id)
        if part is None:
            outcomes.append((attempt, BackendFault("the remote gives fewer results than there are circuits")))
        elif part.status == COMPLETED and part.result is not None:
            outcomes.append((attempt, _completed(part, part.result)))
        elif part.status == COMPLETED:
            outcomes.append((attempt, BackendFault("the remote has no result of the job")))
        elif part.status == FAILED:
            outcomes.append((attempt, _fault(part.failure or RemoteFailure())))
        elif bulk.status != FAILED:  # the others of a failed family are canceled here by its failure
            outcomes.append((attempt, CanceledByBackend("the remote canceled the job")))
    return outcomes


def _completed(part: Bulk, result: Result) -> Result:
    """A result with what the remote says of its job: warnings, and the cost, which may follow from its prices."""
    return msgspec.structs.replace(result, cost=part.cost or result.cost, warnings=part.warnings)


def _counted(probabilities: dict[int, float], shots: int) -> dict[int, int] | None:
    """The counts behind probabilities, if they are shares of the shots; averages over variants are not."""
    counts = {outcome: round(value * shots) for outcome, value in probabilities.items()}
    exact = all(abs(value * shots - counts[outcome]) <= _WHOLE for outcome, value in probabilities.items())
    return counts if exact and sum(counts.values()) == shots else None

"""What serves one imported backend: jobs are taken and submitted, followed, collected, and canceled.

Each of the tasks here does one of these for all jobs; they meet in the branch's flights.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from typing import Final

import anyio
import msgspec
import structlog

from orchestrator.backends.abc import Attempt, Emit, Ready
from orchestrator.errors import StorageError
from orchestrator_remote_cloud.branch import Branch
from orchestrator_remote_cloud.catalog import local_id
from orchestrator_remote_cloud.collecting import Collector
from orchestrator_remote_cloud.flights import Flight
from orchestrator_remote_cloud.following import Follower
from orchestrator_remote_cloud.link import V04, first
from orchestrator_remote_cloud.submitting import Submitter
from orchestrator_remote_cloud.transport import Lost, NotSent, Refused

log = structlog.get_logger()

#: Jobs, or families, taken at once.
_TAKE: Final = 32
#: Inputs of jobs at the remote are kept until they end; beyond this many bytes no more are taken.
_MOST_BYTES: Final = 64 * 1024 * 1024
#: How long a start waits to be told.
_TELL_S: Final = 0.01
#: Jobs canceled in one request.
_CANCEL: Final = 100


async def serve(branch: Branch, ready: Ready, emit: Emit) -> None:
    """Serve until canceled; what is under way then is found again by its intents."""
    follower, collector, submitter = Follower(branch), Collector(branch), Submitter(branch)
    await branch.reload()
    try:
        async with anyio.create_task_group() as tasks:
            branch.begin(emit, tasks)
            _resume(branch)
            if told := branch.fault or "":  # before anything is taken
                await emit.availability(False, told)
            tasks.start_soon(_watch, branch, told)
            tasks.start_soon(_tell, branch)
            tasks.start_soon(_leave, branch, ready)
            tasks.start_soon(_cancel, branch, submitter)
            tasks.start_soon(follower.listen)
            tasks.start_soon(follower.listen_results)
            tasks.start_soon(follower.poll)
            tasks.start_soon(collector.run)
            await _take(branch, ready, submitter)
    finally:
        branch.end()


def _resume(branch: Branch) -> None:
    """Go on with what an earlier life left running at the remote."""
    adopted, branch.adopted = branch.adopted, []
    for attempt in adopted:
        if (boarded := branch.flights.board(attempt)) is not None:
            boarded.told.add(attempt)


async def _take(branch: Branch, ready: Ready, submitter: Submitter) -> None:
    flights = branch.flights
    while True:
        changed = flights.changed
        room = branch.link.settings.in_flight - len(flights)
        if room <= 0 or flights.bytes > _MOST_BYTES:
            await changed.wait()
            continue
        for group in _groups(await ready.take(min(room, _TAKE), start=False)):
            boarded = {attempt: flights.board(attempt) for attempt in group}
            if fresh := [attempt for attempt, flight in boarded.items() if flight is None]:
                branch.spawn(submitter.submit, fresh)
            for under_way in boarded.values():
                if under_way is not None and under_way.remote_id is None:
                    _resolve(branch, submitter, under_way)


def _resolve(branch: Branch, submitter: Submitter, flight: Flight) -> None:
    """Find out what became of a flight's submission, unless somebody does."""
    if not flight.submitting:
        flight.submitting = True
        branch.spawn(submitter.resolve, flight)


def _groups(attempts: Sequence[Attempt]) -> list[list[Attempt]]:
    """Families, and single jobs alone."""
    groups: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        groups.setdefault(attempt.job.parent_id or attempt.id, []).append(attempt)
    return list(groups.values())


async def _tell(branch: Branch) -> None:
    """Tell which jobs have started, many at once, and how far they are, of each the newest.

    Of jobs that end at once, the end tells their start too, in one write.
    """
    flights = branch.flights
    while True:
        changed = flights.changed
        if not flights.starting and not flights.advancing:
            await changed.wait()
            continue
        starting, flights.starting = flights.starting, []
        if starting:
            await branch.clock.sleep(_TELL_S)
        advancing, flights.advancing = flights.advancing, []
        attempts = [
            (flight, attempt)
            for flight in starting
            if not flight.ended
            for attempt in flight.members
            if attempt not in flight.told
        ]
        for flight, attempt in attempts:
            flight.told.add(attempt)
        if attempts:
            await branch.emit.started([attempt for _, attempt in attempts])
        for flight in advancing:
            fraction, flight.fraction = flight.fraction, None
            if fraction is not None and not flight.ended:
                for attempt in flight.members:
                    await branch.emit.progress(attempt, fraction)


async def _leave(branch: Branch, ready: Ready) -> None:
    """Learn which jobs have ended while they waited here, or while nobody served them."""
    async with aclosing(ready.ended(branch.flights.jobs)) as ends:
        async for job_ids in ends:
            for job_id in job_ids:
                branch.flights.leave(job_id)


async def _cancel(branch: Branch, submitter: Submitter) -> None:
    """Cancel at the remote what nobody here wants any more, once it is known what it is there."""
    flights = branch.flights
    while True:
        changed = flights.changed
        if not flights.unwanted:
            await changed.wait()
            continue
        part, flights.unwanted = flights.unwanted[:_CANCEL], flights.unwanted[_CANCEL:]
        made = [flight for flight in part if flight.remote_id is not None]
        for flight in part:
            if flight not in made:
                _resolve(branch, submitter, flight)
        await _cancel_all(branch, [flight for flight in made if not flight.wanted and not flight.ended])
        for flight in made:
            if not flight.wanted:
                await branch.intents.remove(flight.token)
                flights.forget(flight)


async def _watch(branch: Branch, told: str) -> None:
    """Tell whether the backend is there, bring its remote back when it is not, and record new calibrations.

    Args:
        told: Why it is not, as was told last.
    """
    link, clock = branch.link, branch.clock
    while True:
        reason = branch.fault or ""
        if reason != told:
            await branch.emit.availability(not reason, reason)
            told = reason
        changed, look = link.changed, branch.look
        if link.down is not None:
            await link.recover()
            await _refresh(branch, at_most_every_s=1.0)
            continue
        await _calibrate(branch)
        if (branch.fault or "") != told:
            continue
        await first(clock, link.settings.refresh_s, changed, look)
        if link.down is None:
            await _refresh(branch, at_most_every_s=0.0 if look.is_set() else link.settings.refresh_s / 2)
            if branch.denied is not None and not look.is_set():
                branch.denied = None  # whether that still holds, the next submission finds out


async def _refresh(branch: Branch, *, at_most_every_s: float) -> None:
    try:
        await branch.catalog.refresh(at_most_every_s)
    except (NotSent, Lost, Refused) as error:
        log.info("remote backends unknown", remote=branch.link.name, reason=str(error))


async def _calibrate(branch: Branch) -> None:
    """Record the calibration the remote's backend runs under, if it is a new one."""
    known = branch.catalog.find(branch.target)
    newest = None if known is None else known.characterization_id
    if newest is None or local_id(branch.local, newest) == branch.characterization_id:
        return
    try:
        record = await branch.catalog.characterization(branch.target, branch.local, newest)
    except (NotSent, Lost, Refused) as error:
        log.info("remote calibration unknown", remote=branch.link.name, reason=str(error))
        return
    try:
        await branch.emit.calibrated(record)
    except StorageError as error:  # recorded before: the remote has gone back to an older one
        log.info("remote calibration not recorded", backend=branch.local, reason=str(error))
    branch.characterization_id = record.id


async def _cancel_all(branch: Branch, flights: Sequence[Flight]) -> None:
    ids = [flight.remote_id for flight in flights if flight.remote_id is not None]
    if not ids:
        return
    try:
        await branch.link.persist(
            dict[str, object], "PUT", f"{V04}/jobs/status/cancel", body=msgspec.json.encode({"ids": ids})
        )
    except Refused:  # one that is unknown by now refuses all
        for remote_id in ids:
            try:
                await branch.link.persist(dict[str, object], "PUT", f"{V04}/jobs/{remote_id}/status/cancel")
            except Refused as error:
                log.info("remote job not canceled", remote=branch.link.name, job=remote_id, reason=str(error))

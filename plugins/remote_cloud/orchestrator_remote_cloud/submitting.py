"""Submissions: never two for one job.

The intent is durable before a request leaves. A request whose answer was lost may have arrived: the remote's newest
jobs are searched for the token first, and only if it is not there, the request is sent again, under the same
idempotency key. An orchestrator honours the key, which closes the race with a request that is still under way; any
other cloud is given a grace period to show the job before it counts as never made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import anyio
import structlog

from orchestrator.backends.abc import Attempt
from orchestrator.backends.check import mitigations
from orchestrator.errors import ExecutionError, UserFault
from orchestrator.model import JobSpec
from orchestrator_remote_cloud.body import check_room, token_key, token_of, written
from orchestrator_remote_cloud.branch import Branch
from orchestrator_remote_cloud.flights import Flight, News
from orchestrator_remote_cloud.intents import Intent
from orchestrator_remote_cloud.link import V04
from orchestrator_remote_cloud.searching import Search
from orchestrator_remote_cloud.shapes import Created, Estimate
from orchestrator_remote_cloud.transport import Denied, Lost, NotSent, Refused

log = structlog.get_logger()

#: Submissions under way together.
AT_ONCE: Final = 32
#: The same submission is being answered on a connection that was lost.
_IN_PROGRESS: Final = "idempotency_in_progress"
_MISMATCH: Final = "idempotency_mismatch"


class Submitter:
    """Submits the flights of one branch."""

    def __init__(self, branch: Branch) -> None:
        self._branch = branch
        self._link = branch.link
        self._slots = anyio.Semaphore(AT_ONCE, fast_acquire=True)
        self._key = token_key(branch.intents.instance)
        self._search = Search(branch, self._key)

    async def submit(self, attempts: Sequence[Attempt]) -> None:
        """Make a remote job of one attempt, or of those of one family."""
        branch = self._branch
        intent = Intent(
            token=token_of(attempts),
            backend=branch.local,
            jobs=tuple(attempt.id for attempt in attempts),
            created_ms=branch.clock.now_ms(),
        )
        flight = branch.flights.add(intent, attempts)
        flight.submitting = True
        try:
            check_room(attempts, needs_token=not self._link.orchestrator)
            await self._check_cost([attempt.job.spec for attempt in attempts])
        except ExecutionError as error:
            await branch.conclude(flight, [(attempt, error) for attempt in flight.members])
            return
        if not flight.complete:  # some were canceled meanwhile
            await self._give_up(flight)
            return
        await branch.intend(intent)
        await self._send(flight)

    async def resolve(self, flight: Flight) -> None:
        """Find out what became of a submission of an earlier life, and go on from there."""
        flight.submitting = True
        await self._branch.intents.add(flight.intent)  # it may not have come so far
        flight.sent_ms = self._branch.clock.now_ms()  # what is under way may arrive as late as if it was sent now
        await self._send(flight)

    # -- money --------------------------------------------------------------------------

    async def _check_cost(self, specs: Sequence[JobSpec]) -> None:
        """Refuse what is estimated above the limit; in a family each circuit counts as the widest and longest of them.

        Raises:
            ExecutionError: It is refused.
        """
        limit = self._link.settings.limit_per_job
        if limit is None:
            return
        try:
            estimate = await self._link.persist(
                Estimate, "GET", f"{V04}/jobs/estimate", params=question(self._branch.target, specs)
            )
        except Refused as error:
            raise ExecutionError("QuotaExhaustedError", f"the remote does not estimate the cost: {error}") from error
        if estimate.cost is None:
            raise ExecutionError("QuotaExhaustedError", "the remote does not say what the job would cost")
        cost = estimate.cost * len(specs)
        if cost > limit:
            message = f"estimated to cost {cost:g} {estimate.unit}, the limit for a job is {limit:g}"
            raise ExecutionError("QuotaExhaustedError", message)

    # -- sending ------------------------------------------------------------------------

    async def _send(self, flight: Flight) -> None:
        """Until it is known what the remote made of it.

        A flight of which some jobs are no longer wanted has nothing to send: its body would be another one. If it
        cannot be found it is given up after the grace period, and the rest submitted as another job.
        """
        failures = 0
        try:
            while True:
                if flight.sent_ms is not None:
                    settled = self._settled(flight)  # before the search: what it misses then will not come any more
                    if (found := await self._search.find(flight)) is not None:
                        await self._landed(flight, found.id, News(found.status, found.failure, found))
                        return
                    if not settled and not (self._link.orchestrator and flight.complete):
                        continue
                if not flight.complete:
                    await self._give_up(flight)
                    return
                if await self._post(flight):
                    return
                failures += 1
                await self._link.pause(failures)
        finally:
            self._search.leave(flight)

    async def _post(self, flight: Flight) -> bool:
        """Send it once; whether that settled the matter."""
        branch, sent_ms = self._branch, self._branch.clock.now_ms()
        try:
            async with self._slots:
                if not flight.complete:
                    return False
                body = await written(
                    flight.members,
                    branch.target,
                    key=self._key,
                    token=flight.token,
                    seeded=self._link.orchestrator,
                )
                await self._link.admitted()
                if not flight.complete:  # its jobs were canceled while it waited
                    return False
                sent_ms = branch.clock.now_ms()
                flight.asked_at = branch.clock.monotonic()
                created = await self._link.ask_now(
                    Created, "POST", f"{V04}/jobs", body=body, headers={"Idempotency-Key": flight.token}
                )
        except Denied as error:
            branch.deny(str(error))
            await branch.clock.sleep(self._link.settings.refresh_s)
        except NotSent as error:
            log.debug("submission not sent", remote=self._link.name, reason=str(error))
        except Lost:
            flight.sent_ms = branch.clock.now_ms()
        except Refused as error:
            return await self._refused(flight, error, sent_ms)
        else:
            branch.deny(None)
            await self._landed(flight, created.id)
            return True
        return False

    async def _refused(self, flight: Flight, error: Refused, sent_ms: int) -> bool:
        """The remote refuses it: the job fails, unless that says something else. Whether that settled the matter."""
        if error.code in {_IN_PROGRESS, _MISMATCH}:  # an earlier request did arrive
            if error.code == _IN_PROGRESS or flight.sent_ms is None or not self._settled(flight):
                flight.sent_ms = sent_ms if flight.sent_ms is None else flight.sent_ms
                return False
        elif error.status in {404, 405, 410}:
            self._link.take_down(f"the remote takes no jobs at this address ({error.status})")
            return False
        log.info("remote refused a job", remote=self._link.name, status=error.status, code=error.code)
        fault = UserFault(f"{self._link.name} refuses the job: {error}")
        await self._branch.conclude(flight, [(attempt, fault) for attempt in flight.members])
        return True

    def _settled(self, flight: Flight) -> bool:
        """Whether what was sent and is not to be seen will not be seen any more."""
        sent_ms = flight.sent_ms or 0
        return self._branch.clock.now_ms() - sent_ms >= 1000 * self._link.settings.grace_s

    async def _landed(self, flight: Flight, remote_id: str, news: News | None = None) -> None:
        branch = self._branch
        flight.submitting = False
        branch.flights.landed(flight, remote_id)
        if news is not None:
            branch.flights.news(remote_id, news)
        elif not branch.watches(flight):
            branch.flights.unsure.add(flight)
            branch.flights.wake()
        await branch.intents.accepted(flight.token, remote_id)

    async def _give_up(self, flight: Flight) -> None:
        """The remote has no such job: forget it, and submit those who still wait as another one."""
        branch, waiting = self._branch, flight.members
        await branch.intents.remove(flight.token)
        branch.flights.forget(flight)
        if waiting:
            branch.spawn(self.submit, waiting)


def question(target: str, specs: Sequence[JobSpec]) -> list[tuple[str, str]]:
    """The query of an estimate: of a family, about the widest and longest of its circuits."""
    return [
        ("backend", target),
        ("type", "ionq.circuit.v1"),
        ("qubits", str(max(1, *(spec.stats.qubits for spec in specs)))),
        ("shots", str(specs[0].shots)),
        ("1q_gates", str(max(spec.stats.gates_1q for spec in specs))),
        ("2q_gates", str(max(spec.stats.gates_2q for spec in specs))),
        ("error_mitigation", "true" if mitigations(specs[0].settings) else "false"),
    ]

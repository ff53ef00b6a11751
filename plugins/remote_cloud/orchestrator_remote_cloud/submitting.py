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
from orchestrator.errors import ExecutionError, UserFault
from orchestrator.model import JobSpec
from orchestrator_remote_cloud.body import token_key, token_of, written
from orchestrator_remote_cloud.branch import Branch
from orchestrator_remote_cloud.flights import Flight, News
from orchestrator_remote_cloud.intents import Intent
from orchestrator_remote_cloud.link import V04
from orchestrator_remote_cloud.shapes import Created, Estimate, RemoteJob, RemoteJobs, time_ms
from orchestrator_remote_cloud.transport import Denied, Lost, NotSent, Refused

log = structlog.get_logger()

#: The remote's clock may differ from ours by so much.
SKEW_MS: Final = 600_000
#: Submissions under way together.
AT_ONCE: Final = 32
#: Longest pause between two looks for a job that may never have arrived.
_LOOK_AGAIN_S: Final = 10.0
_PAGE: Final = 200
#: The same submission is being answered on a connection that was lost.
_IN_PROGRESS: Final = "idempotency_in_progress"
_MISMATCH: Final = "idempotency_mismatch"


class Submitter:
    """Submits the flights of one branch."""

    def __init__(self, branch: Branch) -> None:
        self._branch = branch
        self._link = branch.link
        self._slots = anyio.CapacityLimiter(AT_ONCE)
        self._key = token_key(branch.intents.instance)
        self._looking = anyio.Lock()
        self._sought: dict[str, int] = {}
        self._asked = 0
        self._swept = 0
        self._found: dict[str, RemoteJob] = {}

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
        async with self._slots:
            if flight.complete:
                try:
                    body = await self._body(flight)
                    await self._check_cost(flight)
                except ExecutionError as error:
                    await branch.conclude(flight, [(attempt, error) for attempt in flight.members])
                    return
            if not flight.complete:  # some were canceled meanwhile
                await self._give_up(flight)
                return
            await branch.intents.add(intent)
            await self._send(flight, body)

    async def resolve(self, flight: Flight) -> None:
        """Find out what became of a submission of an earlier life, and go on from there."""
        flight.submitting = True
        async with self._slots:
            await self._branch.intents.add(flight.intent)  # it may not have come so far
            flight.sent_ms = self._branch.clock.now_ms()  # what is under way may arrive as late as if it was sent now
            await self._send(flight, await self._body(flight) if flight.complete else None)

    async def _body(self, flight: Flight) -> bytes:
        return await written(
            flight.members,
            self._branch.target,
            key=self._key,
            token=flight.token,
            needs_token=not self._link.orchestrator,
        )

    # -- money --------------------------------------------------------------------------

    async def _check_cost(self, flight: Flight) -> None:
        """Refuse what is estimated above the limit; in a family each circuit counts as the widest and longest of them.

        Raises:
            ExecutionError: It is refused.
        """
        limit = self._link.settings.limit_per_job
        if limit is None:
            return
        specs = [attempt.job.spec for attempt in flight.members]
        if not specs:
            return
        try:
            estimate = await self._link.persist(
                Estimate, "GET", f"{V04}/jobs/estimate", params=_question(self._branch.target, specs)
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

    async def _send(self, flight: Flight, body: bytes | None) -> None:
        """Until it is known what the remote made of it.

        Without a body there is nothing to send (some of the jobs are no longer wanted): what cannot be found is given
        up after the grace period, and the rest submitted as another job.
        """
        branch, failures = self._branch, 0
        headers = {"Idempotency-Key": flight.token}
        while True:
            if flight.sent_ms is not None:
                if (found := await self._find(flight)) is not None:
                    await self._landed(flight, found.id, News(found.status, found.failure, found))
                    return
                final = self._settled(flight)
                if final and (body is None or not flight.wanted):
                    await self._give_up(flight)
                    return
                if not final and (not self._link.orchestrator or body is None or not flight.wanted):
                    failures += 1
                    await branch.clock.sleep(min(_LOOK_AGAIN_S, 2.0 ** min(failures, 8) / 4))
                    continue
            elif not flight.wanted or body is None:
                await self._give_up(flight)
                return
            try:
                sent = branch.clock.now_ms()
                flight.asked_at = branch.clock.monotonic()
                created = await self._link.ask(Created, "POST", f"{V04}/jobs", body=body, headers=headers)
            except Denied as error:
                branch.deny(str(error))
                await branch.clock.sleep(self._link.settings.refresh_s)
            except NotSent:
                failures += 1
                await self._link.pause(failures)
            except Lost:
                flight.sent_ms = sent
                failures += 1
                await self._link.pause(failures)
            except Refused as error:
                if error.code in {_IN_PROGRESS, _MISMATCH}:  # an earlier request did arrive
                    flight.sent_ms = sent if flight.sent_ms is None else flight.sent_ms
                    failures += 1
                    if error.code == _MISMATCH and self._settled(flight):
                        await self._refused(flight, error)
                        return
                    await self._link.pause(failures)
                elif error.status in {404, 405, 410}:
                    self._link.take_down(f"the remote takes no jobs at this address ({error.status})")
                else:
                    await self._refused(flight, error)
                    return
            else:
                branch.deny(None)
                await self._landed(flight, created.id)
                return

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
        elif not branch.watched_since(flight.asked_at):
            branch.flights.unsure.add(flight)
            branch.flights.wake()
        await branch.intents.accepted(flight.token, remote_id)

    async def _refused(self, flight: Flight, error: Refused) -> None:
        log.info("remote refused a job", remote=self._link.name, status=error.status, code=error.code)
        fault = UserFault(f"{self._link.name} refuses the job: {error}")
        await self._branch.conclude(flight, [(attempt, fault) for attempt in flight.members])

    async def _give_up(self, flight: Flight) -> None:
        """The remote has no such job: forget it, and submit those who still wait as another one."""
        branch, waiting = self._branch, flight.members
        await branch.intents.remove(flight.token)
        branch.flights.forget(flight)
        if waiting:
            branch.spawn(self.submit, waiting)

    # -- looking for lost ones --------------------------------------------------------------

    async def _find(self, flight: Flight) -> RemoteJob | None:
        """The remote job with the flight's token. Those who look at the same time share one search."""
        self._sought[flight.token] = flight.intent.created_ms
        self._asked += 1
        asked = self._asked
        try:
            async with self._looking:
                if self._swept < asked:
                    begun = self._asked
                    await self._sweep()
                    self._swept = begun
                return self._found.get(flight.token)
        finally:
            self._sought.pop(flight.token, None)

    async def _sweep(self) -> None:
        """Page the newest-first listing back to before the oldest intent that is sought."""
        horizon = min(self._sought.values()) - SKEW_MS
        found: dict[str, RemoteJob] = {}
        after: str | None = None
        while True:
            params = [("target", self._branch.target), ("limit", str(_PAGE))]
            if after is not None:
                params.append(("next", after))
            page = await self._link.persist(RemoteJobs, "GET", f"{V04}/jobs", params=params)
            for job in page.jobs:
                if (token := (job.metadata or {}).get(self._key)) is not None:
                    found.setdefault(str(token), job)
            times = [at for job in page.jobs if (at := time_ms(job.submitted_at)) is not None]
            if page.next is None or not page.jobs or (times and min(times) < horizon):
                break
            after = page.next
        self._found = found


def _question(target: str, specs: Sequence[JobSpec]) -> list[tuple[str, str]]:
    mitigation = specs[0].settings.get("error_mitigation")
    return [
        ("backend", target),
        ("type", "ionq.circuit.v1"),
        ("qubits", str(max(1, *(spec.stats.qubits for spec in specs)))),
        ("shots", str(specs[0].shots)),
        ("1q_gates", str(max(spec.stats.gates_1q for spec in specs))),
        ("2q_gates", str(max(spec.stats.gates_2q for spec in specs))),
        ("error_mitigation", "true" if mitigation else "false"),
    ]

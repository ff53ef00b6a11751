"""Leases: the right to run an attempt until a time.

They live in the memory of the process that owns the store: at its next start all earlier leases are void at
once (docs/decisions/0003). What outlives the process is the attempt's number, which fences late news.
"""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import msgspec

from orchestrator.backends.abc import Attempt
from orchestrator.model import Job


class Lease(msgspec.Struct, eq=False):
    """One attempt under way.

    Attributes:
        job: The job as last committed.
        until: When the lease ends unless the adapter vouches for the attempt (monotonic seconds).
        starting: Its start is being written, and is known when this is set; until then nobody else may have the job.
        run_until: When the run limit is reached, once execution began; None for no limit.
    """

    attempt: Attempt
    job: Job
    until: float
    run_until: float | None = None
    starting: anyio.Event | None = None


class Leases:
    """Leases of one backend by job id."""

    def __init__(self) -> None:
        self._by_job: dict[str, Lease] = {}

    def __len__(self) -> int:
        return len(self._by_job)

    def __iter__(self) -> Iterator[Lease]:
        return iter(tuple(self._by_job.values()))

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._by_job

    def add(self, lease: Lease) -> None:
        """Grant a lease."""
        self._by_job[lease.attempt.job.id] = lease

    def extend(self, seconds: float) -> None:
        """Make all of them longer."""
        for lease in self._by_job.values():
            lease.until += seconds

    def put_off(self, seconds: float) -> None:
        """Have all run limits reached so much later."""
        for lease in self._by_job.values():
            if lease.run_until is not None:
                lease.run_until += seconds

    def of(self, attempt: Attempt) -> Lease | None:
        """The lease of exactly that attempt, if it still holds."""
        lease = self._by_job.get(attempt.job.id)
        return lease if lease is not None and lease.attempt.number == attempt.number else None

    def end(self, lease: Lease) -> None:
        """Take a lease back, if it is still the one that holds."""
        job_id = lease.attempt.job.id
        if self._by_job.get(job_id) is lease:
            del self._by_job[job_id]

    def of_job(self, job_id: str) -> Lease | None:
        """The lease of a job, whatever its attempt."""
        return self._by_job.get(job_id)

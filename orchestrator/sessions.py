"""Sessions: runs of jobs of one project on one backend, with limits on how many, how long and how much.

What sessions and their jobs do to each other is decided where it is written, in one commit (`storage.sessions`). Here
they are made, looked at and ended; and time is kept, since nothing is committed when it is over.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Final

import structlog

from orchestrator.clock import Clock, NewId
from orchestrator.errors import InvalidRequest, SessionNotFound
from orchestrator.model import Cost, Session, SessionLimits
from orchestrator.storage.abc import EndSession, Store

log = structlog.get_logger()

TICK_S: Final = 1.0
#: Sessions that ended by themselves with more queued jobs than one commit takes wait so long for the rest.
RESYNC_S: Final = 15.0
#: Sessions ended at a time, and told at most.
PAGE: Final = 100
LISTED: Final = 1_000
MINUTE_MS: Final = 60_000
MAX_MINUTES: Final = 525_600
MAX_JOBS: Final = 1_000_000_000
_MAX_UNIT: Final = 16


class Sessions:
    """The sessions of all projects; every call that names no project means the first one.

    Args:
        project: The first project.
        resolve: The full name of a backend.
    """

    def __init__(
        self, store: Store, clock: Clock, new_id: NewId, *, project: str, resolve: Callable[[str], str]
    ) -> None:
        self._store = store
        self._clock = clock
        self._new_id = new_id
        self._project = project
        self._resolve = resolve
        self._next_expiry: int | None = None

    async def create(
        self,
        backend: str,
        *,
        job_count_limit: int | None = None,
        duration_limit_min: int | None = None,
        cost_limit: Cost | None = None,
        creator_id: str | None = None,
        project: str | None = None,
    ) -> Session:
        """Open a session; jobs join it by ``session_id``. Its time counts from now.

        Raises:
            BackendNotFound: Nothing serves that backend.
            InvalidRequest: A limit is out of range.
            StorageError: It could not be stored.
        """
        limits = SessionLimits(
            job_count_limit=job_count_limit, duration_limit_min=duration_limit_min, cost_limit=cost_limit
        )
        _check(limits)
        now = self._clock.now_ms()
        expires_at = None if duration_limit_min is None else now + duration_limit_min * MINUTE_MS
        session = Session(
            id=self._new_id(),
            project_id=project or self._project,
            backend=self._resolve(backend),
            created_at=now,
            creator_id=creator_id,
            limits=limits,
            expires_at=expires_at,
        )
        await self._store.add_session(session)
        self._expect(expires_at)
        return session

    async def get(self, session_id: str, *, project: str | None = None) -> Session:
        """A session as it stands.

        Raises:
            SessionNotFound: Unknown, or of another project.
        """
        session = await self._store.session(project or self._project, session_id)
        if session is None:
            raise SessionNotFound(session_id)
        return session

    async def list(self, *, active: bool | None = None, project: str | None = None) -> list[Session]:
        """Sessions, newest first, at most `LISTED`: all of them, or those that have ended or have not."""
        return await self._store.sessions(project or self._project, active=active, limit=LISTED)

    async def end(self, session_id: str, *, ender_id: str | None = None, project: str | None = None) -> Session:
        """End a session: it takes no more jobs, and its queued jobs are canceled when this returns. What runs, runs on.

        A session that has ended stays as it is. Cancelling this call does not take the end back.

        Raises:
            SessionNotFound: As `get`.
        """
        return await self._end(project or self._project, session_id, ender_id)

    async def _end(self, project: str, session_id: str, ender_id: str | None = None) -> Session:
        while True:
            operation = EndSession(project, session_id, self._clock.now_ms(), ender_id)
            session = await self._store.end_session(operation)
            if not session.closing:
                return session

    # -- time ---------------------------------------------------------------------------

    async def settle(self) -> None:
        """End the sessions whose time is over, and finish what ended with more queued jobs than a commit takes."""
        while due := await self._store.sessions_due(self._clock.now_ms(), limit=PAGE):
            for session in due:
                await self._end(session.project_id, session.id)
        self._next_expiry = None
        self._expect(await self._store.next_expiry())

    def _expect(self, expires_at: int | None) -> None:
        if expires_at is not None:
            self._next_expiry = min(expires_at, self._next_expiry or expires_at)

    async def keep_time(self) -> None:
        """`settle` whenever there is something to settle, until canceled."""
        resync_at = self._clock.monotonic() + RESYNC_S
        while True:
            await self._clock.sleep(TICK_S)
            over = self._next_expiry is not None and self._next_expiry <= self._clock.now_ms()
            if over or self._clock.monotonic() >= resync_at:
                resync_at = self._clock.monotonic() + RESYNC_S
                try:
                    await self.settle()
                except Exception:
                    log.exception("keeping the time of sessions failed")


def _check(limits: SessionLimits) -> None:
    """Refuse limits that nothing can keep to.

    Raises:
        InvalidRequest: Names the limit.
    """
    for name, high in (("job_count_limit", MAX_JOBS), ("duration_limit_min", MAX_MINUTES)):
        value = getattr(limits, name)
        if value is not None and (type(value) is not int or not 1 <= value <= high):
            raise _out_of_range(name, f"{name} must be from 1 to {high:,}")
    cost = limits.cost_limit
    if cost is not None:
        if type(cost.value) not in {int, float} or not isfinite(cost.value) or cost.value <= 0:
            raise _out_of_range("cost_limit.value", "cost_limit.value must be more than 0")
        if not 1 <= len(cost.unit) <= _MAX_UNIT:
            raise _out_of_range("cost_limit.unit", f"cost_limit.unit must have 1 to {_MAX_UNIT} characters")


def _out_of_range(field: str, message: str) -> InvalidRequest:
    name = field.rpartition(".")[2]
    return InvalidRequest(message, code=f"{name}_out_of_range", fields=(f"settings.{field}",))

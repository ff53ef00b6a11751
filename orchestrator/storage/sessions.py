"""Sessions in a batch: what moves and submits do to them, and what they do to jobs. The ledger's, for every store.

Rules kept here, and nowhere else:

* a session takes jobs of its own project and backend, until it has ended or has taken as many as it may;
* it starts with the first of its jobs that starts;
* it ends when asked to, when its jobs have cost what they may, and when the last job it may take has ended; that
  its time is over is for others to notice, but from then on it takes no job;
* when it ends, its queued jobs are canceled in the same commit, up to `CASCADE`; the rest are left to whoever ends it
  again (`Session.closing`). What runs, runs on, also if it has to be started anew.

A session is loaded when a batch first touches it and written back once, so jobs without one cost nothing here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

import msgspec

from orchestrator.errors import SessionNotFound, SessionRefused
from orchestrator.events import Event, EventKind
from orchestrator.lifecycle import TERMINAL
from orchestrator.model import Cost, Job, Session
from orchestrator.storage.abc import Draft, EndSession, Move

replace = msgspec.structs.replace

#: Queued jobs canceled in one commit.
CASCADE: Final = 1_000
USD: Final = "usd"
#: Costs are sums of decimal amounts: compare them without the noise of the last binary digits.
_DIGITS: Final = 9


class SessionTables(Protocol):
    """The part of `ledger.Tables` that sessions need."""

    def load_sessions(self, session_ids: Iterable[str]) -> dict[str, Session]:
        """Sessions by id, whatever their project."""

    def put_sessions(self, sessions: Sequence[Session]) -> None:
        """Add sessions, or replace what may change of those of the same id."""

    def queued_in_session(self, session_id: str, limit: int) -> list[Job]:
        """Leaf jobs of a session that are submitted or ready, oldest first."""


class TouchedSessions:
    """The sessions that one batch touches.

    Attributes:
        exhaustions: Events of those that `ending` found to have spent what they may.
    """

    def __init__(self, tables: SessionTables, now: int) -> None:
        self._tables = tables
        self._now = now
        self._found: dict[str, Session | None] = {}
        self._changed: dict[str, Session] = {}
        self.exhaustions: list[Event] = []

    def _get(self, session_id: str) -> Session | None:
        if session_id not in self._found:
            self._found[session_id] = self._tables.load_sessions((session_id,)).get(session_id)
        return self._found[session_id]

    def _put(self, session: Session) -> None:
        self._found[session.id] = self._changed[session.id] = session

    # -- submits ------------------------------------------------------------------------

    def admit(self, drafts: Sequence[Draft]) -> SessionRefused | None:
        """Take the jobs of one submit into their sessions; all of them, or none and the reason."""
        entering = [draft.job for draft in drafts if draft.job.spec.session_id is not None]
        if not entering:
            return None
        after: dict[str, Session] = {}
        for job in entering:
            if job.parent_id is not None:
                continue
            session_id = job.spec.session_id or ""
            session = after.get(session_id) or self._get(session_id)
            refusal = self._refusal(session, job)
            if session is None or refusal is not None:
                return refusal
            started_at = job.started_at if session.started_at is None else session.started_at
            active = session.active_jobs + (job.status not in TERMINAL)
            after[session_id] = replace(session, jobs=session.jobs + 1, active_jobs=active, started_at=started_at)
        for session in after.values():
            self._put(session)
        return None

    def _refusal(self, session: Session | None, job: Job) -> SessionRefused | None:
        if session is None or session.project_id != job.project_id:
            return SessionRefused("there is no session of this id", "unknown_session")
        if session.ended_at is not None or (session.expires_at is not None and session.expires_at <= self._now):
            return SessionRefused("the session has ended", "session_ended")
        if session.backend != job.spec.backend:
            return SessionRefused(f"the session is one on {session.backend}", "session_backend")
        limit = session.limits.job_count_limit
        if limit is not None and session.jobs >= limit:
            return SessionRefused(f"the session has taken all of its {limit:,} jobs", "session_full")
        return None

    # -- moves --------------------------------------------------------------------------

    def moved(self, session_id: str, move: Move) -> None:
        """A job of a session has moved."""
        session = self._get(session_id)
        if session is None or move.before.status is move.after.status:
            return
        job = move.after
        if job.status in TERMINAL:
            session = _told(session, job)
        elif session.started_at is None and session.ended_at is None and job.started_at is not None:
            session = replace(session, started_at=job.started_at)
        if session is not self._get(session_id):
            self._put(session)

    # -- ends ---------------------------------------------------------------------------

    def end(self, operation: EndSession) -> SessionNotFound | None:
        """End a session, or cancel more of its queued jobs; one that has ended stays as it is."""
        session = self._get(operation.session_id)
        if session is None or session.project_id != operation.project_id:
            return SessionNotFound(operation.session_id)
        if session.ended_at is None:
            session = replace(session, ended_at=operation.at, ender_id=operation.ender_id, closing=True)
        self._put(session)
        return None

    def ending(self) -> list[Job]:
        """The queued jobs that go with sessions that end in this batch, by request or because a limit is reached."""
        queued: list[Job] = []
        for touched in tuple(self._changed.values()):
            spent = _spent(touched)
            over = touched.ended_at is None and (spent is not None or _used_up(touched))
            if over and spent is not None:
                self.exhaustions.append(_exhaustion(touched, spent, self._now))
            session = replace(touched, ended_at=self._now, closing=True) if over else touched
            if session.closing:
                found = self._tables.queued_in_session(session.id, CASCADE)
                session = replace(session, closing=len(found) == CASCADE)
                queued += found
            if session is not touched:
                self._put(session)
        return queued

    def answer(self, session_id: str) -> Session | None:
        """A session as the batch leaves it."""
        return self._get(session_id)

    def write(self) -> None:
        """Write back what has changed."""
        if self._changed:
            self._tables.put_sessions(tuple(self._changed.values()))


def _told(session: Session, job: Job) -> Session:
    """The session after one of its jobs has ended. What a parent took and cost is what its children did."""
    active = session.active_jobs - (job.parent_id is None)
    if job.children:
        return replace(session, active_jobs=active)
    cost, limit = job.outcome.cost, session.limits.cost_limit
    spent = session.spent
    if cost is not None and cost.unit == (USD if limit is None else limit.unit):
        spent += cost.value
    return replace(session, active_jobs=active, used_ms=session.used_ms + (job.outcome.execution_ms or 0), spent=spent)


def _spent(session: Session) -> Cost | None:
    """What its jobs have cost, if that is what they may."""
    limit = session.limits.cost_limit
    spent = round(session.spent, _DIGITS)
    return None if limit is None or spent < limit.value else Cost(value=spent, unit=limit.unit)


def _exhaustion(session: Session, spent: Cost, at: int) -> Event:
    limit = session.limits.cost_limit
    return Event(
        sequence=0,
        kind=EventKind.BUDGET_EXHAUSTED,
        at=at,
        project_id=session.project_id,
        backend=session.backend,
        data={"session_id": session.id, "spent": _plain(spent), "limit": _plain(limit or spent)},
        session_id=session.id,
    )


def _plain(cost: Cost) -> dict[str, float | str]:
    return {"value": cost.value, "unit": cost.unit}


def _used_up(session: Session) -> bool:
    """Whether the last job it may take has ended."""
    limit = session.limits.job_count_limit
    return limit is not None and session.jobs >= limit and not session.active_jobs

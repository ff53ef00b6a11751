"""Checks of sessions: which jobs they take, when they start and end, what goes with them, and their events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from orchestrator.errors import SessionNotFound, SessionRefused, StorageError
from orchestrator.events import EventKind
from orchestrator.lifecycle import Cause, JobStatus
from orchestrator.model import Cost, Failure, Job, Outcome, Session, SessionStatus
from orchestrator.storage.abc import Draft, Idempotency, JobFilter, Submit
from orchestrator.storage.ledger import failure_data
from orchestrator.storage.sessions import CASCADE
from orchestrator.testing.stores.opened import ALL, BACKEND, PROJECT, Opened, refused, replace

K = EventKind
S = JobStatus
OTHER = "project-2"


async def _now(opened: Opened, session: Session) -> Session:
    found = await opened.store.session(session.project_id, session.id)
    assert found is not None
    return found


async def _ended(opened: Opened, job: Job, *, cost: Cost | None = None, execution_ms: int | None = None) -> Job:
    """Start and complete a job that cost something."""
    move = opened.move(await opened.cause(job, Cause.STARTED), Cause.COMPLETED)
    move.after = replace(move.after, outcome=Outcome(cost=cost, execution_ms=execution_ms))
    assert await opened.store.apply([move]) == [True]
    return move.after


async def check_sessions_come_back(opened: Opened) -> None:
    """Every field comes back equal, to its own project alone; ids that are taken and unknown projects are refused."""
    session = await opened.session(
        "s-1",
        backend='qpu "ü"',
        job_count_limit=10**9,
        duration_limit_min=30,
        cost_limit=Cost(value=12.5, unit="credit"),
        creator_id="key",
        expires_at=2**62,
    )
    assert await _now(opened, session) == session
    assert await opened.store.session(OTHER, session.id) is None
    assert await opened.store.session(PROJECT, "s-2") is None
    await refused(StorageError, opened.store.add_session(session))
    await refused(StorageError, opened.store.add_session(replace(session, id="s-2", project_id="unknown")))


async def check_sessions_are_listed(opened: Opened) -> None:
    """Newest first, those of one project, all or by whether they have ended."""
    sessions = [await opened.session(f"s-{number}") for number in range(5)]
    foreign = await opened.session("s-9", project=OTHER)
    ended = [await opened.end(sessions[number]) for number in (1, 3)]
    store = opened.store
    open_ones = [sessions[number] for number in (4, 2, 0)]
    assert await store.sessions(PROJECT, active=True, limit=ALL) == open_ones
    assert await store.sessions(PROJECT, active=False, limit=ALL) == ended[::-1]
    assert [session.id for session in await store.sessions(PROJECT, limit=3)] == ["s-4", "s-3", "s-2"]
    assert await store.sessions(OTHER, limit=ALL) == [foreign]


async def check_sessions_take_their_jobs(opened: Opened) -> None:
    """A session takes jobs of its backend, counts a parent as one, and starts with the first of them that starts."""
    session = await opened.session("s-1")
    plain = await opened.submit(session_id="s-1")
    _, children = await opened.submit_family(S.READY, S.READY, session_id="s-1")
    assert await _now(opened, session) == replace(session, jobs=2, active_jobs=2)
    opened.clock.advance(1)
    began = opened.clock.now_ms()
    await opened.cause(children[0], Cause.STARTED)
    opened.clock.advance(1)
    await opened.cause(plain, Cause.STARTED, Cause.COMPLETED)
    now = await _now(opened, session)
    assert (now.status, now.started_at, now.active_jobs) == (SessionStatus.STARTED, began, 1)


async def check_sessions_refuse_other_jobs(opened: Opened) -> None:
    """Unknown, foreign and ended sessions, those of another backend and those whose time is over store nothing."""
    await opened.session("s-1", backend="qpu.aria-1")
    await opened.session("s-2", project=OTHER)
    await opened.end(await opened.session("s-3"))
    await opened.session("s-4", expires_at=opened.clock.now_ms())
    told = {}
    for session_id in ("unknown", "s-1", "s-2", "s-3", "s-4"):
        try:
            await opened.submit(session_id=session_id)
        except SessionRefused as error:
            told[session_id] = error.code, str(error)
    assert [code for code, _ in told.values()] == [
        "unknown_session",
        "session_backend",
        "unknown_session",
        "session_ended",
        "session_ended",
    ]
    assert told["unknown"] == told["s-2"]
    assert await opened.log() == []
    assert await opened.store.jobs(PROJECT, JobFilter(), limit=ALL) == []


async def check_the_last_job_is_taken_once(opened: Opened) -> None:
    """Of submits that meet, exactly as many get in as there is room, and a submit of several gets in as a whole."""
    session = await opened.session("s-1", job_count_limit=3)
    several = Submit([opened.draft(session_id="s-1") for _ in range(4)])
    await refused(SessionRefused, opened.store.submit(several))
    answers = await asyncio.gather(
        *(opened.submit(session_id="s-1") for _ in range(9)), opened.submit(), return_exceptions=True
    )
    jobs = [answer for answer in answers if isinstance(answer, Job)]
    assert len(jobs) == 4
    assert {getattr(answer, "code", None) for answer in answers if not isinstance(answer, Job)} == {"session_full"}
    assert (await _now(opened, session)).jobs == 3
    assert len(await opened.store.jobs(PROJECT, JobFilter(), limit=ALL)) == 4


async def check_a_replayed_submit_counts_once(opened: Opened) -> None:
    """A key used again answers the first job even when its session is full; a refused submit leaves its key unused."""
    session = await opened.session("s-1", job_count_limit=1)
    first = await opened.submit_keyed("key", "digest", session_id="s-1")
    await refused(SessionRefused, opened.submit_keyed("other", "digest", session_id="s-1"))
    assert await opened.submit_keyed("key", "digest", session_id="s-1") == first
    assert (await _now(opened, session)).jobs == 1
    draft = opened.draft()
    assert await opened.store.submit(Submit([draft], Idempotency("other", "digest"))) == draft.job


async def check_a_full_session_ends_with_its_last_job(opened: Opened) -> None:
    """When it has taken all its jobs and the last of them has ended, the session ends, and none is canceled by that."""
    session = await opened.session("s-1", job_count_limit=2)
    jobs = [await opened.submit(session_id="s-1") for _ in range(2)]
    await opened.complete(jobs[1])
    assert (await _now(opened, session)).active
    opened.clock.advance(1)
    await opened.complete(jobs[0])
    now = await _now(opened, session)
    assert (now.status, now.ended_at, now.ender_id) == (SessionStatus.ENDED, opened.clock.now_ms(), None)
    assert (now.jobs, now.active_jobs, now.closing) == (2, 0, False)
    dry = await opened.session("s-2", job_count_limit=1)
    await opened.submit(S.COMPLETED, session_id="s-2")
    assert not (await _now(opened, dry)).active


async def check_costs_end_a_session(opened: Opened) -> None:
    """What leaves cost in the unit of the limit is summed; at the limit the session ends, queued jobs with it."""
    session = await opened.session("s-1", cost_limit=Cost(value=0.3, unit="usd"))
    jobs = [await opened.submit(session_id="s-1") for _ in range(6)]
    await _ended(opened, jobs[0], cost=Cost(value=0.1), execution_ms=7)
    await _ended(opened, jobs[1], cost=Cost(value=100.0, unit="credit"), execution_ms=5)
    await _ended(opened, jobs[2])
    running = await opened.cause(jobs[3], Cause.STARTED)
    now = await _now(opened, session)
    assert (now.active, now.used_ms, now.spent, now.active_jobs) == (True, 12, 0.1, 3)
    opened.told.clear()
    await _ended(opened, jobs[4], cost=Cost(value=0.2))
    (told,) = [entry for entry in opened.told if entry.event.kind is K.BUDGET_EXHAUSTED]
    assert told.job is None
    course = await opened.store.events(0, limit=ALL, sessions=["s-1"])
    assert course[-2:] == [told.event, opened.told[-1].event]
    assert [event.kind for event in course[-2:]] == [K.BUDGET_EXHAUSTED, K.JOB_CANCELED]
    assert await opened.store.events(0, limit=ALL, project_id=OTHER) == []
    assert (told.event.project_id, told.event.backend, told.event.session_id) == (PROJECT, BACKEND, "s-1")
    cost = {"value": 0.3, "unit": "usd"}
    assert told.event.data == {"session_id": "s-1", "spent": cost, "limit": cost}
    now = await _now(opened, session)
    assert (now.active, now.active_jobs, now.ender_id) == (False, 1, None)
    assert await opened.statuses(jobs[3:]) == [S.STARTED, S.COMPLETED, S.CANCELED]
    await opened.cause(running, Cause.COMPLETED)
    assert (await _now(opened, session)).active_jobs == 0


async def check_refusals_for_their_cost_are_told(opened: Opened) -> None:
    """A job that fails because of what it would cost gets an event of the budget beside its failure's; no other."""
    failure = Failure(code="QuotaExhaustedError", message="too dear")
    other, job = await opened.submit(), await opened.submit()
    await opened.cause(other, Cause.FAILED)
    move = opened.move(job, Cause.FAILED)
    move.after, move.data = replace(move.after, outcome=Outcome(failure=failure)), failure_data(failure)
    opened.told.clear()
    assert await opened.store.apply([move]) == [True]
    failed, refused = [entry.event for entry in opened.told]
    assert (failed.kind, refused.kind) == (K.JOB_FAILED, K.BUDGET_REFUSED)
    assert refused == replace(failed, kind=K.BUDGET_REFUSED, sequence=failed.sequence + 1, before=S.FAILED)
    assert (await opened.kinds(other))[-1] is K.JOB_FAILED
    assert (await opened.store.verify()).problems == ()


async def check_an_end_cancels_what_is_queued(opened: Opened) -> None:
    """Submitted and ready jobs are canceled with the end, in its commit; what runs, runs on, also if put back."""
    session = await opened.session("s-1")
    queued = [await opened.submit(S.SUBMITTED, session_id="s-1"), await opened.submit(session_id="s-1")]
    running = await opened.cause(await opened.submit(session_id="s-1"), Cause.STARTED)
    parent, children = await opened.submit_family(S.READY, S.READY, S.SUBMITTED, session_id="s-1")
    child = await opened.cause(children[1], Cause.STARTED)
    outside = await opened.submit()
    opened.told.clear()
    opened.clock.advance(1)
    ended = await opened.end(session, ender_id="key")
    assert (ended.status, ended.ender_id, ended.active_jobs) == (SessionStatus.ENDED, "key", 2)
    assert ended == await _now(opened, session)
    assert await opened.statuses([*queued, running, parent, *children, outside]) == [
        S.CANCELED,
        S.CANCELED,
        S.STARTED,
        S.STARTED,
        S.CANCELED,
        S.STARTED,
        S.CANCELED,
        S.READY,
    ]
    kinds = [entry.event.kind for entry in opened.told]
    assert kinds == [K.JOB_CANCELED] * 4 + [K.JOB_PROGRESS]
    again = await opened.end(session, ender_id="another")
    assert again == ended
    back = await opened.cause(running, Cause.REQUEUED)
    assert (await opened.store.sessions_due(opened.clock.now_ms(), limit=ALL)) == []
    await opened.complete(back)
    await opened.cause(child, Cause.COMPLETED)
    assert (await opened.now(parent)).status is S.CANCELED
    assert (await _now(opened, session)).active_jobs == 0
    await refused(SessionNotFound, opened.end(replace(session, project_id=OTHER)))
    await refused(SessionNotFound, opened.end(replace(session, id="unknown")))


async def check_an_end_is_bounded(opened: Opened) -> None:
    """One commit cancels so many jobs; the session says that more are left, is due, and the same again takes them."""
    session = await opened.session("s-1")
    drafts = [opened.draft(session_id="s-1") for _ in range(CASCADE + 2)]
    await opened.store.submit(Submit(drafts))
    ended = await opened.end(session)
    assert (ended.closing, ended.active_jobs) == (True, 2)
    assert await opened.store.sessions_due(0, limit=ALL) == [ended]
    rest = await opened.end(session)
    assert (rest.closing, rest.active_jobs, rest.ended_at) == (False, 0, ended.ended_at)
    assert await opened.store.sessions_due(0, limit=ALL) == []


async def check_sessions_fall_due(opened: Opened) -> None:
    """Sessions of all projects are due when they expire, until they have ended; the next expiry is known."""
    assert await opened.store.next_expiry() is None
    late = await opened.session("s-1", expires_at=3_000)
    soon = await opened.session("s-2", expires_at=1_000, project=OTHER)
    await opened.session("s-3")
    assert await opened.store.next_expiry() == 1_000
    assert await opened.store.sessions_due(999, limit=ALL) == []
    assert await opened.store.sessions_due(1_000, limit=ALL) == [soon]
    assert await opened.store.sessions_due(5_000, limit=ALL) == [soon, late]
    assert await opened.store.sessions_due(5_000, limit=1) == [soon]
    await opened.end(soon)
    assert await opened.store.sessions_due(5_000, limit=ALL) == [late]
    assert await opened.store.next_expiry() == 3_000


async def check_events_of_sessions(opened: Opened) -> None:
    """Events are chosen by session, children's too: with other filters, page by page, one session or several."""
    for session_id in ("s-1", "s-2"):
        await opened.session(session_id)
    await opened.session("s-3", project=OTHER)
    jobs = [await opened.submit(session_id=name) for name in ("s-1", None, "s-2", "s-1", None, "s-2")]
    for job in jobs:
        await opened.cause(job, Cause.STARTED)
    parent, children = await opened.submit_family(S.READY, S.READY, session_id="s-1")
    foreign = await opened.submit(session_id="s-3", project=OTHER)
    of = {"s-1": {jobs[0].id, jobs[3].id, parent.id, *(child.id for child in children)}}
    of["s-2"] = {jobs[2].id, jobs[5].id}
    log = await opened.log()

    def wanted(*session_ids: str) -> list[object]:
        return [event for event in log if any(event.job_id in of[session_id] for session_id in session_ids)]

    assert await opened.log(sessions=["s-1"]) == wanted("s-1")
    assert await opened.log(sessions=["s-2", "s-1", "unknown"], project_id=PROJECT) == wanted("s-1", "s-2")
    assert await opened.log(sessions=["s-3"], project_id=PROJECT) == []
    assert {event.job_id for event in await opened.log(sessions=["s-3"], project_id=OTHER)} == {foreign.id}
    assert await opened.log(sessions=["s-1"], jobs=[jobs[0].id, jobs[2].id]) == await opened.log(jobs=[jobs[0].id])
    started = await opened.log(sessions=["s-1", "s-2"], kinds=[K.JOB_STARTED])
    assert [event.job_id for event in started] == [jobs[index].id for index in (0, 2, 3, 5)]
    pages: list[object] = []
    after = 0
    while page := await opened.store.events(after, limit=3, sessions=["s-1", "s-2"]):
        assert len(page) <= 3
        pages += page
        after = page[-1].sequence
    assert pages == wanted("s-1", "s-2")


async def check_jobs_of_sessions_are_listed(opened: Opened) -> None:
    """A session's jobs, newest first, without children, page by page, alone and with other filters."""
    await opened.session("s-1")
    jobs = [await opened.submit(session_id="s-1") for _ in range(4)]
    await opened.submit()
    parent, _ = await opened.submit_family(S.READY, session_id="s-1")
    gone = await opened.cause(jobs.pop(1), Cause.CANCELED)
    await opened.delete(gone)
    started = await opened.cause(jobs[0], Cause.STARTED)
    expected = [parent, jobs[2], jobs[1], started]
    where = JobFilter(session_id="s-1")
    assert await opened.store.jobs(PROJECT, where, limit=ALL) == expected
    assert await opened.store.jobs(PROJECT, where, limit=2, before=parent.id) == expected[1:3]
    assert await opened.store.jobs(OTHER, where, limit=ALL) == []
    narrow = JobFilter(session_id="s-1", statuses=[S.STARTED], backends=[BACKEND])
    assert await opened.store.jobs(PROJECT, narrow, limit=ALL) == [started]


async def check_sessions_are_trimmed(opened: Opened) -> None:
    """Retention takes a session that has ended when its jobs are gone, and their events with them."""
    kept = await opened.session("s-1")
    ended = await opened.session("s-2")
    held = await opened.session("s-3")
    for session in (kept, ended, held):
        await opened.complete(await opened.submit(session_id=session.id))
    running = await opened.cause(await opened.submit(session_id="s-3"), Cause.STARTED)
    for session in (ended, held):
        await opened.end(session)
    opened.clock.advance(1)
    assert await opened.store.trim(opened.clock.now_ms(), ALL) == 3
    left = await opened.store.sessions(PROJECT, limit=ALL)
    assert [session.id for session in left] == ["s-3", "s-1"]
    assert await opened.log(sessions=["s-1", "s-2"]) == []
    await opened.cause(running, Cause.COMPLETED)
    opened.clock.advance(1)
    assert await opened.store.trim(opened.clock.now_ms(), ALL) == 1
    assert [session.id for session in await opened.store.sessions(PROJECT, limit=ALL)] == ["s-1"]
    assert await opened.log(sessions=["s-3"]) == []


async def check_jobs_of_sessions_are_not_claimed_unseen(opened: Opened) -> None:
    """A submit that a session may refuse is not offered to the claim: what begins must have been stored."""
    await opened.session("s-1", job_count_limit=1)
    offered: list[str] = []

    def claim(drafts: Sequence[Draft]) -> Callable[[], None]:
        offered.extend(draft.job.id for draft in drafts)
        return lambda: None

    opened.store.claim = claim
    await opened.submit(session_id="s-1")
    await refused(SessionRefused, opened.submit(session_id="s-1"))
    await refused(SessionRefused, opened.store.submit(Submit([opened.draft(), opened.draft(session_id="s-1")])))
    plain = await opened.submit()
    assert offered == [plain.id]

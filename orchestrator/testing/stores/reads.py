"""Checks of what readers see: listing, paging, projects kept apart, keys, calibrations."""

from __future__ import annotations

from orchestrator.errors import StorageError
from orchestrator.events import Event, EventKind
from orchestrator.lifecycle import Cause, JobStatus
from orchestrator.model import ApiKey, Characterization, Job, Outcome, Project, Standing
from orchestrator.storage import ledger
from orchestrator.storage.abc import JobFilter, Record, Waiting
from orchestrator.testing.stores.opened import ALL, BACKEND, INPUT, PROJECT, Opened, refused, replace

S = JobStatus
OTHER = "project-2"


async def check_listing_is_newest_first(opened: Opened) -> None:
    """Jobs are listed newest first, page by page, each once, without children and without deleted ones."""
    jobs = [await opened.submit() for _ in range(7)]
    parent, _ = await opened.submit_family(S.READY, S.READY)
    gone = await opened.cause(jobs.pop(3), Cause.CANCELED)
    await opened.delete(gone)
    expected = [*jobs, parent][::-1]
    assert await opened.store.jobs(PROJECT, JobFilter(), limit=ALL) == expected
    pages: list[Job] = []
    while page := await opened.store.jobs(PROJECT, JobFilter(), limit=2, before=pages[-1].id if pages else None):
        assert len(page) <= 2
        pages += page
    assert pages == expected


async def check_filters(opened: Opened) -> None:
    """Every filter narrows the listing, alone and with others; one that chooses nothing finds nothing."""
    plain = await opened.submit()
    started = await opened.cause(await opened.submit(), Cause.STARTED)
    await opened.session("session", backend="qpu.aria-1")
    elsewhere = await opened.submit(backend="qpu.aria-1", session_id="session")
    parent, children = await opened.submit_family(S.READY, S.READY)
    cases = [
        (JobFilter(statuses=[S.STARTED]), [started]),
        (JobFilter(statuses=[S.STARTED, S.READY], backends=[BACKEND]), [parent, started, plain]),
        (JobFilter(statuses=[S.COMPLETED]), []),
        (JobFilter(statuses=[]), []),
        (JobFilter(backends=["qpu.aria-1", "nowhere"]), [elsewhere]),
        (JobFilter(session_id="session"), [elsewhere]),
        (JobFilter(session_id="session", backends=[BACKEND]), []),
        (JobFilter(parent_id=parent.id), children[::-1]),
        (JobFilter(parent_id=plain.id), []),
        (JobFilter(ids=[children[0].id, plain.id, plain.id, "unknown"]), [children[0], plain]),
        (JobFilter(ids=[children[0].id, plain.id], parent_id=parent.id), [children[0]]),
        (JobFilter(ids=[plain.id, started.id], statuses=[S.STARTED]), [started]),
        (JobFilter(ids=[]), []),
    ]
    for where, expected in cases:
        found = await opened.store.jobs(PROJECT, where, limit=ALL)
        assert {job.id for job in found} == {job.id for job in expected}, where
        assert [job.id for job in found] == sorted((job.id for job in found), reverse=True), where
    everything = JobFilter(ids=[job.id for job in [plain, started, elsewhere, *children]])
    first = await opened.store.jobs(PROJECT, everything, limit=3)
    rest = await opened.store.jobs(PROJECT, everything, limit=3, before=first[-1].id)
    assert len(first) == 3
    assert len({job.id for job in first + rest}) == 5


async def check_unended(opened: Opened) -> None:
    """Of the named jobs those that have not ended; ended, deleted and unknown ones are none of them."""
    waiting, started, canceled, deleted = [await opened.submit() for _ in range(4)]
    await opened.cause(started, Cause.STARTED)
    await opened.cause(canceled, Cause.CANCELED)
    await opened.delete(await opened.cause(deleted, Cause.CANCELED))
    asked = [job.id for job in (waiting, started, canceled, deleted)]
    assert await opened.store.unended([*asked, "unknown"]) == {waiting.id, started.id}
    assert await opened.store.unended([]) == set()


async def check_active_is_oldest_first(opened: Opened) -> None:
    """Ready jobs of a backend come oldest first, page by page, with their bodies; parents and all others do not."""
    jobs = [await opened.submit(S.SUBMITTED) for _ in range(6)]
    await opened.submit(backend="qpu.aria-1")
    jobs = [await opened.cause(job, Cause.READY, compiled=b"{}") for job in jobs]
    await opened.cause(jobs[2], Cause.STARTED)
    await opened.cause(jobs[4], Cause.CANCELED)
    _, children = await opened.submit_family(S.READY, S.SUBMITTED)
    expected = [(jobs[index], INPUT, b"{}") for index in (0, 1, 3, 5)] + [(children[0], INPUT, None)]
    pages: list[tuple[Job, bytes, bytes | None]] = []
    while page := await opened.store.active(BACKEND, S.READY, after=pages[-1][0].id if pages else None, limit=2):
        assert len(page) <= 2
        pages += page
    assert pages == expected
    assert [job.id for job, *_ in await opened.store.active(BACKEND, S.SUBMITTED, after=None, limit=ALL)] == [
        children[1].id
    ]
    assert await opened.store.active("nowhere", S.READY, after=None, limit=ALL) == []


async def check_stranded(opened: Opened) -> None:
    """All started leaves of all backends, oldest first, up to the limit."""
    jobs = [await opened.submit(backend=backend) for backend in ("b", "a", "b")]
    parent, (child, _) = await opened.submit_family(S.READY, S.READY)
    await opened.submit()
    started = [await opened.cause(job, Cause.STARTED) for job in [*jobs, child]]
    assert (await opened.now(parent)).status is S.STARTED
    assert await opened.store.stranded(after=None, limit=ALL) == started
    assert await opened.store.stranded(after=started[0].id, limit=2) == started[1:3]
    await opened.cause(started[0], Cause.COMPLETED)
    assert await opened.store.stranded(after=None, limit=ALL) == started[1:]


async def check_waiting(opened: Opened) -> None:
    """Leaves that wait, by backend and age: submitted and ready ones with what is predicted, no parents; in pages."""

    async def waiting(limit: int = ALL) -> list[Waiting]:
        found: list[Waiting] = []
        after = ("", "")
        while page := await opened.store.waiting(after=after, limit=limit):
            assert len(page) <= limit
            found += page
            after = page[-1].backend, page[-1].id
        return found

    assert await waiting() == []
    first = await opened.submit(backend="b")
    jobs = [await opened.submit(backend="a"), await opened.submit(S.SUBMITTED, backend="a")]
    parent, children = await opened.submit_family(S.READY, S.SUBMITTED)
    await opened.submit(S.FAILED, backend="c")
    move = opened.move(jobs[1], Cause.READY)
    predicted = move.after = replace(move.after, outcome=Outcome(predicted_execution_ms=7))
    assert await opened.store.apply([move]) == [True]
    expected = [_waiting(job) for job in (jobs[0], predicted, first, *children)]
    expected.sort(key=lambda entry: (entry.backend, entry.id))
    assert [entry.predicted_ms for entry in expected].count(7) == 1
    assert {entry.parent_id for entry in expected} == {None, parent.id}
    for limit in (1, 2, ALL):
        assert await waiting(limit) == expected
    await opened.cause(first, Cause.STARTED)
    assert await waiting() == [entry for entry in expected if entry.id != first.id]


def _waiting(job: Job) -> Waiting:
    predicted_ms = job.outcome.predicted_execution_ms
    return Waiting(job.backend, job.id, job.status, job.project_id, job.parent_id, job.spec.session_id, predicted_ms)


async def check_projects_are_kept_apart(opened: Opened) -> None:
    """To another project a job, its input, result, children and events do not exist."""
    (job,) = await opened.complete(await opened.submit())
    parent, children = await opened.submit_family(S.READY, S.READY)
    foreign = await opened.submit(project=OTHER)
    store = opened.store
    assert await store.job(OTHER, job.id) is None
    assert await store.input(OTHER, job.id) is None
    assert await store.results(OTHER, [job.id]) == {}
    assert await store.children(OTHER, parent.id) == []
    everything = [job.id, parent.id, children[0].id, foreign.id]
    for where in (JobFilter(), JobFilter(ids=everything), JobFilter(ids=everything, statuses=list(S))):
        assert await store.jobs(OTHER, where, limit=ALL) == [foreign]
    assert await store.jobs(OTHER, JobFilter(parent_id=parent.id), limit=ALL) == []
    assert {event.job_id for event in await opened.log(project_id=OTHER)} == {foreign.id}
    assert await opened.log(project_id=OTHER, jobs=[job.id, parent.id]) == []


async def check_event_filters(opened: Opened) -> None:
    """Events are chosen by project, job and kind, alone and together; those of backends are for every project."""
    job = await opened.cause(await opened.submit(), Cause.STARTED)
    await opened.submit(project=OTHER)
    await opened.store.record(Record(Event(sequence=0, kind=EventKind.BACKEND_CHANGED, at=0, backend=BACKEND)))
    events = await opened.log()
    mine, others, general = events[:3], events[3:5], events[5:]
    assert {event.project_id for event in general} == {None}
    assert await opened.log(project_id=PROJECT) == mine + general
    assert await opened.log(project_id=OTHER) == others + general
    assert await opened.log(jobs=[job.id, "unknown"]) == mine
    assert await opened.log(jobs=[job.id], project_id=PROJECT, kinds=[EventKind.JOB_STARTED]) == mine[2:]
    assert await opened.log(kinds=[EventKind.JOB_READY, EventKind.BACKEND_CHANGED]) == [mine[1], others[1], *general]
    assert await opened.log(kinds=[EventKind.JOB_READY], project_id=OTHER) == others[1:]
    assert await opened.log(2) == events[2:]
    assert await opened.log(2, jobs=[job.id]) == mine[2:]
    assert await opened.store.events(1, limit=2, project_id=PROJECT) == mine[1:]
    assert await opened.store.events(0, limit=2) == events[:2]


async def check_projects_and_keys(opened: Opened) -> None:
    """Projects and keys come back equal and in order; a key of the same id is replaced; one taken twice is refused."""
    store = opened.store
    projects = [Project(id=f"p-{number}", name=f"Größe '{number}'", created_at=number) for number in range(3)]
    for project in projects:
        await store.put_project(project)
    assert await store.projects() == projects
    await refused(StorageError, store.put_project(replace(projects[0], id="p-9")))
    await refused(StorageError, store.put_project(replace(projects[0], name="new")))
    keys = [
        ApiKey(id=f"k-{number}", project_id="p-1", name="ci", digest=f"{number:064x}", created_at=5)
        for number in range(2)
    ]
    for key in keys:
        await store.put_key(key)
    revoked = replace(keys[0], revoked_at=9)
    await store.put_key(revoked)
    assert await store.keys() == [revoked, keys[1]]
    await refused(StorageError, store.put_key(replace(keys[1], id="k-9")))
    await refused(StorageError, store.put_key(replace(keys[1], id="k-9", digest="0", project_id="unknown")))
    assert await store.projects() == projects
    assert await store.keys() == [revoked, keys[1]]


async def check_characterizations(opened: Opened) -> None:
    """Calibrations of a backend come newest first, from `start` and before `end`, paged, with their number in all."""
    items = [
        Characterization(
            id=f"c-{number}",
            backend=BACKEND,
            recorded_at=number * 10,
            qubits=number,
            connectivity=[],
            fidelity={},
            timing={"t1": 1e-300},
        )
        for number in range(5)
    ]
    elsewhere = replace(items[0], id="c-9", backend="qpu.aria-1")
    for item in [*items, elsewhere]:
        event = Event(sequence=0, kind=EventKind.BACKEND_CALIBRATED, at=0, backend=item.backend)
        await opened.store.record(Record(event, item))
    items.reverse()
    characterizations = opened.store.characterizations
    assert await characterizations(BACKEND) == (items, 5)
    assert sorted(await opened.store.calibrated()) == ["qpu.aria-1", BACKEND]
    assert await characterizations(BACKEND, limit=2, offset=1) == (items[1:3], 5)
    assert await characterizations(BACKEND, start=10, end=30) == (items[2:4], 2)
    assert await characterizations("nowhere") == ([], 0)
    assert await opened.store.characterization("c-9") == elsewhere
    assert await opened.store.characterization("unknown") is None


async def check_standings(opened: Opened) -> None:
    """Where a backend stands is written with the event that tells of it; the latest is kept, by backend."""
    assert await opened.store.standings() == []
    first = Standing(backend="b", status="unavailable", reason="Größe 'x'", paused="")
    for item in (first, Standing(backend="a"), replace(first, paused="laser"), replace(first, paused=None)):
        await opened.store.record(ledger.change(item, 7))
        assert item in await opened.store.standings()
        assert (await opened.log())[-1].data == {"status": item.status, "reason": item.reason}
    assert await opened.store.standings() == [Standing(backend="a"), replace(first, paused=None)]


async def check_nothing_is_found(opened: Opened) -> None:
    """An empty store answers every question with nothing."""
    store = opened.store
    assert await store.job(PROJECT, "unknown") is None
    assert await store.input(PROJECT, "unknown") is None
    assert await store.results(PROJECT, ["unknown"]) == {}
    assert await store.results(PROJECT, []) == {}
    assert await store.jobs(PROJECT, JobFilter(), limit=ALL) == []
    assert await store.children(PROJECT, "unknown") == []
    assert await opened.log() == []
    assert (store.last_sequence(), await store.horizon()) == (0, 0)
    assert await store.trim(opened.clock.now_ms(), ALL) == 0

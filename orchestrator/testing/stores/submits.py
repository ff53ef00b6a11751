"""Checks of submits, idempotency and records."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from orchestrator.errors import IdempotencyMismatch, StorageError
from orchestrator.events import Event, EventKind
from orchestrator.lifecycle import Cause, JobStatus
from orchestrator.model import Characterization, Failure, JobSpec, Noise, Outcome, Stats
from orchestrator.storage.abc import Draft, Idempotency, JobFilter, Record, Submit
from orchestrator.storage.ledger import moved
from orchestrator.testing.stores.opened import ALL, BACKEND, INPUT, PROJECT, Opened, refused, replace

K = EventKind
S = JobStatus

#: Strings that stores are known to break.
AWKWARD = 'it\'s "quoted" \\ \x1f \u2028 \u2029 \U0001f9ff \ufeff ünïcode %s :name ?1 $.x ' + "long " * 3000
LARGEST = 2**63 - 1


async def check_submit_answers_what_it_stored(opened: Opened) -> None:
    """A submit answers the first draft's job, and the store then has it, with its input."""
    draft = opened.draft()
    assert await opened.store.submit(Submit([draft])) == draft.job
    assert await opened.now(draft.job) == draft.job
    assert await opened.store.input(PROJECT, draft.job.id) == (INPUT, None)


async def check_submit_records_the_way_to_its_status(opened: Opened) -> None:
    """A job may start anywhere: the log tells each step of the way, in one commit."""
    ways = {
        S.SUBMITTED: [K.JOB_SUBMITTED],
        S.READY: [K.JOB_SUBMITTED, K.JOB_READY],
        S.FAILED: [K.JOB_SUBMITTED, K.JOB_FAILED],
        S.CANCELED: [K.JOB_SUBMITTED, K.JOB_CANCELED],
        S.COMPLETED: [K.JOB_SUBMITTED, K.JOB_READY, K.JOB_STARTED, K.JOB_COMPLETED],
    }
    for status, kinds in ways.items():
        job = await opened.submit(status)
        events = await opened.log(jobs=[job.id])
        assert [event.kind for event in events] == kinds
        assert [event.before for event in events] == [None, *(event.after for event in events[:-1])]
        assert events[-1].after is status
    failed = [event for event in await opened.log() if event.kind is K.JOB_FAILED]
    assert failed[0].data == {"failure": {"code": "SimulationError", "message": "it broke"}}


async def check_a_claimed_job_begins_in_its_commit(opened: Opened) -> None:
    """`Store.claim` is offered what is about to be stored; what it makes of a draft is stored, answered and told."""
    offered: list[str] = []

    def claim(drafts: Sequence[Draft]) -> Callable[[], None]:
        for draft in drafts:
            offered.append(draft.job.id)
            begun = moved(draft.job, Cause.STARTED, opened.clock.now_ms())
            draft.job = replace(begun, attempt=1)
        return lambda: None

    opened.store.claim = claim
    draft, keyed = opened.draft(S.READY), opened.draft(S.READY)
    job = await opened.store.submit(Submit([draft]))
    assert (job.status, job.attempt) == (S.STARTED, 1)
    assert await opened.now(job) == job
    events = await opened.log(jobs=[job.id])
    assert [event.kind for event in events] == [K.JOB_SUBMITTED, K.JOB_READY, K.JOB_STARTED]
    assert [event.attempt for event in events] == [0, 0, 1]
    assert (await opened.store.submit(Submit([keyed], Idempotency("key", "digest")))).status is S.READY
    assert offered == [job.id]


async def check_a_failed_write_takes_its_claims_back(opened: Opened) -> None:
    """A draft that could not be stored is as it was, and whoever claimed it is told."""
    taken = await opened.submit(S.READY)
    claimed: list[str] = []

    def claim(drafts: Sequence[Draft]) -> Callable[[], None]:
        before = [(draft, draft.job) for draft in drafts]
        for draft in drafts:
            claimed.append(draft.job.id)
            draft.job = moved(draft.job, Cause.STARTED, opened.clock.now_ms(), attempt=1)

        def unclaim() -> None:
            for draft, job in before:
                claimed.remove(job.id)
                draft.job = job

        return unclaim

    opened.store.claim = claim
    again = Draft(taken, INPUT)
    await refused(StorageError, opened.store.submit(Submit([again])))
    assert claimed == []
    assert again.job is taken


async def check_every_field_survives(opened: Opened) -> None:
    """Every field of a job comes back equal, through submit and through a move: awkward text, large numbers, None."""
    spec = JobSpec(
        backend=AWKWARD,
        name=AWKWARD,
        metadata={AWKWARD: AWKWARD, "": ""},
        shots=1_000_000,
        noise=Noise(model="aria-1", seed=2**31 - 1),
        settings={"nested": {"list": [1, -1.5e-300, None, True, AWKWARD, {"deep": []}]}, "large": LARGEST},
        session_id=AWKWARD,
        submitter_id="",
        seed=LARGEST,
        stats=Stats(qubits=36, circuits=1, gates_1q=LARGEST, gates_2q=0),
        registers={"c": [0, None, 2]},
    )
    await opened.session(AWKWARD, backend=AWKWARD)
    job = replace(opened.draft().job, spec=spec, attempt=LARGEST - 1, submitted_at=-1, ready_at=LARGEST)
    await opened.store.submit(Submit([Draft(job, INPUT)]))
    assert await opened.now(job) == job
    outcome = Outcome(
        failure=Failure(code=AWKWARD, message=AWKWARD),
        predicted_execution_ms=0,
        execution_ms=LARGEST,
        native_gates_1q=1,
        native_gates_2q=None,
        characterization_id=AWKWARD,
        warnings=(AWKWARD, ""),
    )
    move = opened.move(job, Cause.STARTED, data={AWKWARD: [AWKWARD, LARGEST, 0.1, None]})
    move.after = replace(move.after, outcome=outcome, failed_attempts=LARGEST)
    assert await opened.store.apply([move]) == [True]
    assert await opened.now(job) == move.after
    last = (await opened.log(jobs=[job.id]))[-1]
    assert (last.data, last.attempt, last.backend) == (move.data, LARGEST, AWKWARD)


async def check_bodies_survive(opened: Opened) -> None:
    """Inputs, compiled circuits and results come back byte-equal, whatever their size."""
    for size in (0, 1, 4095, 4096, 4097, 300_000):
        body = ('{"name":"' + ("é\U0001f9ff\\u2028'\"" * size)[:size] + '"}').encode()
        job = await opened.submit(S.SUBMITTED, body=body)
        job = await opened.cause(job, Cause.READY, compiled=body + b" ")
        assert await opened.store.input(PROJECT, job.id) == (body, body + b" ")
        await opened.cause(job, Cause.STARTED, Cause.COMPLETED, result=b" " + body)
        assert await opened.store.results(PROJECT, [job.id]) == {job.id: b" " + body}


async def check_idempotency_replays(opened: Opened) -> None:
    """A key used again with the same body makes nothing and answers the first job as it stands now."""
    first = await opened.submit_keyed("key", "digest")
    last = opened.store.last_sequence()
    assert await opened.submit_keyed("key", "digest") == first
    assert opened.store.last_sequence() == last
    started = await opened.cause(first, Cause.STARTED)
    assert await opened.submit_keyed("key", "digest") == started
    assert await opened.store.jobs(PROJECT, JobFilter(), limit=ALL) == [started]


async def check_idempotency_refuses_another_body(opened: Opened) -> None:
    """A key used again with another body is refused, and makes nothing."""
    first = await opened.submit_keyed("key", "digest")
    await refused(IdempotencyMismatch, opened.submit_keyed("key", "other"))
    assert await opened.store.jobs(PROJECT, JobFilter(), limit=ALL) == [first]


async def check_idempotency_is_scoped(opened: Opened) -> None:
    """The same key in another project, or another key, is another job."""
    jobs = [
        await opened.submit_keyed("key", "digest"),
        await opened.submit_keyed("key", "other", project="project-2"),
        await opened.submit_keyed("Key", "digest"),
        await opened.submit_keyed("key ", "digest"),
    ]
    assert len({job.id for job in jobs}) == len(jobs)


async def check_idempotency_at_once(opened: Opened) -> None:
    """Submits with one key at the same moment make one job; those with another body are refused, the rest agree."""
    digests = ["digest"] * 5 + ["other"] * 3
    answers = await asyncio.gather(*(opened.submit_keyed("key", digest) for digest in digests), return_exceptions=True)
    jobs = await opened.store.jobs(PROJECT, JobFilter(), limit=ALL)
    assert len(jobs) == 1
    assert answers[:5] == jobs * 5
    assert all(isinstance(answer, IdempotencyMismatch) for answer in answers[5:])


async def check_idempotency_of_families(opened: Opened) -> None:
    """A replayed family answers its parent."""
    idempotency = Idempotency("key", "digest")
    parent = await opened.store.submit(Submit(opened.family(S.READY, S.READY), idempotency))
    assert await opened.store.submit(Submit(opened.family(S.READY, S.READY), idempotency)) == parent
    assert len(await opened.store.children(PROJECT, parent.id)) == 2


async def check_refused_submit_leaves_nothing(opened: Opened) -> None:
    """A submit that fails half-way is taken back as a whole, and fails alone among those that ran with it."""
    taken = opened.draft()
    await opened.store.submit(Submit([taken]))
    fresh = opened.draft()
    bad = Submit([fresh, taken], Idempotency("key", "digest"))
    good = [Submit([opened.draft()]) for _ in range(4)]
    answers = await asyncio.gather(
        *(opened.store.submit(each) for each in [*good[:2], bad, *good[2:]]), return_exceptions=True
    )
    assert isinstance(answers.pop(2), StorageError)
    assert answers == [each.drafts[0].job for each in good]
    assert await opened.store.job(PROJECT, fresh.job.id) is None
    assert await opened.store.input(PROJECT, fresh.job.id) is None
    assert await opened.log(jobs=[fresh.job.id]) == []
    await opened.submit_keyed("key", "another digest")


async def check_record(opened: Opened) -> None:
    """An event without a job is numbered like all others and stored with its calibration, or neither is."""
    await opened.submit()
    last = opened.store.last_sequence()
    item = Characterization(
        id="c-1",
        backend=BACKEND,
        recorded_at=opened.clock.now_ms(),
        qubits=2,
        connectivity=[(0, 1)],
        fidelity={"spam": {"median": 0.99, "stderr": None}},
        timing={"t1": 100.0},
    )
    event = Event(sequence=0, kind=K.BACKEND_CALIBRATED, at=1, backend=BACKEND, data={"characterization": "c-1"})
    await opened.store.record(Record(event, item))
    assert await opened.log(last) == [replace(event, sequence=last + 1)]
    assert await opened.store.characterization("c-1") == item
    await refused(StorageError, opened.store.record(Record(event, item)))
    assert opened.store.last_sequence() == last + 1
    await opened.store.record(Record(replace(event, kind=K.BACKEND_CHANGED)))
    assert opened.told[-1].event.sequence == last + 2
    assert opened.told[-1].job is None

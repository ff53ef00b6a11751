"""A random walk of operations on a store, held against a pure model; needs hypothesis.

The model is a dictionary of what each job should be, made of the life cycle's table and `derive_parent` alone.

    class MyMachine(StoreMachine):
        def make(self, clock: ManualClock) -> Store:
            return MyStore(clock)

    TestMyMachine = MyMachine.TestCase
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from orchestrator.lifecycle import ACTIVE, TABLE, TERMINAL, Cause, JobStatus, derive_parent
from orchestrator.model import Job
from orchestrator.storage.abc import JobFilter, Move, Store, Submit
from orchestrator.storage.ledger import deletion
from orchestrator.testing.clock import ManualClock
from orchestrator.testing.stores.opened import ALL, PROJECT, Opened

T = TypeVar("T")

STARTS = st.sampled_from([JobStatus.SUBMITTED, JobStatus.READY, JobStatus.READY, JobStatus.FAILED])
NUMBERS = st.integers(0, 10_000)
STEPS = st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=6)


class StoreMachine(RuleBasedStateMachine):
    """Submits, moves, stale moves, deletions and trims, one or many in one write.

    Attributes:
        known: Each leaf as the model has it; what is gone by trimming is gone here.
        stale: Earlier versions of leaves: moves made from them have to be refused.
        families: Ids of the children of each parent.
        hidden: Ids of deleted jobs.
    """

    def make(self, clock: ManualClock) -> Store:
        """A new store, not yet opened; override this."""
        raise NotImplementedError

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.clock = ManualClock()
        self.opened = Opened(self.make(self.clock), self.clock)
        self.known: dict[str, Job] = {}
        self.stale: list[Job] = []
        self.families: dict[str, list[str]] = {}
        self.hidden: set[str] = set()
        self.run(self.opened.__aenter__())

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end on the machine's own loop."""
        return self.runner.run(coroutine)

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.run(self.opened.__aexit__(None, None, None))
            self.runner.close()

    # -- the model ----------------------------------------------------------------------

    def expect(self, move: Move) -> bool:
        """Whether a move has to apply; if so the model makes it."""
        job = self.known.get(move.before.id)
        if job is None or job.id in self.hidden:
            return False
        if (job.status, job.attempt) != (move.before.status, move.before.attempt):
            return False
        self.stale.append(job)
        self.known[job.id] = move.after
        if move.after.status is JobStatus.FAILED and job.parent_id is not None:
            self.cancel(self.families[job.parent_id])
        return True

    def cancel(self, children: list[str]) -> None:
        """What follows for the siblings of a failed child."""
        for child_id in children:
            child = self.known[child_id]
            if child.status in ACTIVE:
                self.stale.append(child)
                self.known[child_id] = self.opened.move(child, Cause.CANCELED).after

    def status(self, job_id: str) -> JobStatus:
        """Where a leaf or a parent should stand."""
        children = self.families.get(job_id)
        if children is None:
            return self.known[job_id].status
        statuses = [self.known[child_id].status for child_id in children]
        return derive_parent({status: statuses.count(status) for status in statuses})

    def roots(self) -> list[str]:
        """Ids of all jobs that are no children."""
        return [job_id for job_id, job in self.known.items() if job.parent_id is None] + list(self.families)

    # -- the walk -----------------------------------------------------------------------

    @rule(statuses=st.lists(STARTS, min_size=1, max_size=4))
    def submit(self, statuses: list[JobStatus]) -> None:
        """Leaves, each in a submit of its own, all at once."""
        drafts = [self.opened.draft(status) for status in statuses]

        async def all_at_once() -> None:
            await asyncio.gather(*(self.opened.store.submit(Submit([draft])) for draft in drafts))

        self.run(all_at_once())
        self.known |= {draft.job.id: draft.job for draft in drafts}

    @rule(statuses=st.lists(STARTS, min_size=1, max_size=4))
    def submit_family(self, statuses: list[JobStatus]) -> None:
        """A parent; if a child failed at once, so did the parent, and its other children were canceled with it."""
        if JobStatus.FAILED in statuses:
            statuses = [JobStatus.FAILED if status is JobStatus.FAILED else JobStatus.CANCELED for status in statuses]
        parent, children = self.run(self.opened.submit_family(*statuses))
        self.families[parent.id] = [child.id for child in children]
        self.known |= {child.id: child for child in children}

    @precondition(lambda self: self.known)
    @rule(steps=STEPS, apart=st.booleans())
    def move(self, steps: list[tuple[int, int]], apart: bool) -> None:
        """Legal moves of leaves as they are known, in one apply or in as many at once."""
        moves: list[Move] = []
        planned = dict(self.known)
        for which, what in steps:
            job = planned[sorted(planned)[which % len(planned)]]
            if job.status in ACTIVE:
                moves.append(self.some_move(job, what))
                planned[job.id] = moves[-1].after
        self.apply(moves, apart)

    @precondition(lambda self: self.stale)
    @rule(steps=STEPS, apart=st.booleans())
    def move_stale(self, steps: list[tuple[int, int]], apart: bool) -> None:
        """Moves made from what a job once was: fenced, unless it came back to where it stood."""
        self.apply([self.some_move(self.stale[which % len(self.stale)], what) for which, what in steps], apart)

    def some_move(self, job: Job, what: int) -> Move:
        """One of the moves the table knows for an active job."""
        causes = [cause for status, cause in TABLE if status is job.status]
        return self.opened.move(job, causes[what % len(causes)])

    def apply(self, moves: list[Move], apart: bool) -> None:
        """Apply in one write, or each in its own; the model decides what the answers are.

        Writes that meet may settle in any order, so nothing is asked of the siblings of a child that fails here.
        """
        failing: set[str] = set()
        kept: list[Move] = []
        for move in moves:
            parent_id = move.before.parent_id
            if parent_id is None or parent_id not in failing:
                kept.append(move)
            if parent_id is not None and move.after.status is JobStatus.FAILED:
                failing.add(parent_id)
        moves = kept

        async def write() -> list[bool]:
            if not apart:
                return await self.opened.store.apply(moves)
            answers = await asyncio.gather(*(self.opened.store.apply([move]) for move in moves))
            return [flag for (flag,) in answers]

        answers = self.run(write())
        assert answers == [self.expect(move) for move in moves]

    @precondition(lambda self: self.known)
    @rule(number=NUMBERS)
    def delete(self, number: int) -> None:
        """Deletion of an ended root hides its family."""
        ended = [job_id for job_id in sorted(self.roots()) if self.status(job_id) in TERMINAL]
        if ended:
            job_id = ended[number % len(ended)]
            job = self.run(self.opened.store.job(PROJECT, job_id))
            assert (job is None) == (job_id in self.hidden)
            if job is not None:
                assert self.run(self.opened.store.apply([deletion(job, self.clock.now_ms())])) == [True]
                self.hidden |= {job_id, *self.families.get(job_id, ())}

    @rule()
    def trim(self) -> None:
        """Retention takes all that has ended."""
        self.clock.advance(1)
        gone = [job_id for job_id in self.roots() if self.status(job_id) in TERMINAL]
        removed = self.run(self.opened.store.trim(self.clock.now_ms(), ALL))
        family = [child_id for job_id in gone for child_id in self.families.pop(job_id, ())]
        assert removed == len(gone) + len(family)
        for job_id in (*gone, *family):
            self.known.pop(job_id, None)

    # -- what always holds --------------------------------------------------------------

    @invariant()
    def agrees(self) -> None:
        """The store lists what the model knows, and its log folds to its tables."""
        if not hasattr(self, "opened"):
            return
        ids = [*self.known, *self.families]
        found = self.run(self.opened.store.jobs(PROJECT, JobFilter(ids=ids), limit=ALL))
        assert {job.id: job.status for job in found} == {
            job_id: self.status(job_id) for job_id in ids if job_id not in self.hidden
        }
        for job in found:
            if not job.children:
                assert job.attempt == self.known[job.id].attempt
        assert self.run(self.opened.store.verify()).problems == ()
        told = [entry.event.sequence for entry in self.opened.told]
        assert told == list(range(1, self.opened.store.last_sequence() + 1))

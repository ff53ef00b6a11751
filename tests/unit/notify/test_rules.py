"""Which events concern which hooks."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.events import Event, EventKind
from orchestrator.hooks import Hook
from orchestrator.lifecycle import JobStatus
from orchestrator.model import Job, JobSpec
from orchestrator.notify.rules import Rules
from orchestrator.storage.abc import Committed


def committed(
    sequence: int = 1,
    kind: str = "job.failed",
    project: str | None = "p",
    backend: str = "qpu.aria-1",
    parent: str | None = None,
    **spec: Any,
) -> Committed:
    job = None
    if project is not None:
        spec = {"backend": backend, **spec}
        job = Job(
            id="j",
            project_id=project,
            spec=JobSpec(**spec),
            status=JobStatus.FAILED,
            submitted_at=0,
            parent_id=parent,
        )
    event = Event(sequence=sequence, kind=EventKind(kind), at=5, job_id="j", project_id=project, backend=backend)
    return Committed(event, job)


def hook(hook_id: str = "h", project: str = "p", **members: Any) -> Hook:
    return Hook(id=hook_id, project_id=project, channel="c", target={}, created_at=0, **members)


def rules(*hooks: Hook) -> Rules:
    made = Rules()
    made.load(hooks, "epoch")
    return made


@pytest.mark.parametrize(
    ("members", "entry", "matches"),
    [
        ({}, committed(), True),
        ({}, committed(kind="job.completed"), False),
        ({}, committed(project="other"), False),
        ({}, committed(parent="parent"), False),
        ({"children": True}, committed(parent="parent"), True),
        ({"kinds": (EventKind.BUDGET_REFUSED,)}, committed(kind="budget.refused"), True),
        ({"kinds": (EventKind.BUDGET_REFUSED,)}, committed(kind="budget.refused", project="other"), False),
        ({"kinds": (EventKind.BUDGET_EXHAUSTED,)}, Committed(committed(kind="budget.exhausted").event, None), True),
        ({"backend": "qpu.aria-1"}, committed(), True),
        ({"backend": "aria-1"}, committed(), True),
        ({"backend": "simulator"}, committed(), False),
        ({"tag": "team"}, committed(metadata={"team": "ions"}), True),
        ({"tag": "team"}, committed(), False),
        ({"tag": "team=ions"}, committed(metadata={"team": "ions"}), True),
        ({"tag": "team=ions"}, committed(metadata={"team": "atoms"}), False),
        ({"tag": "team="}, committed(metadata={"team": "ions"}), False),
        ({"tag": "a=b=c"}, committed(metadata={"a": "b=c"}), True),
        ({"name": "vqe-*"}, committed(name="vqe-17"), True),
        ({"name": "vqe-*"}, committed(name="my vqe-17"), False),
        ({"name": "vqe-*"}, committed(name="VQE-17"), False),
        ({"name": "*"}, committed(), True),
        ({"name": "a?c"}, committed(name="abc\n"), False),
        ({"kinds": (EventKind.BACKEND_CALIBRATED,)}, committed(kind="backend.calibrated", project=None), True),
        (
            {"kinds": (EventKind.BACKEND_CALIBRATED,), "name": "*"},
            committed(kind="backend.calibrated", project=None),
            False,
        ),
        ({"disabled_at": 1}, committed(), False),
    ],
)
def test_filters(members: dict[str, Any], entry: Committed, matches: bool) -> None:
    """A hook is concerned by the events of its kinds and project that pass all of its filters."""
    made = rules(hook(**members))
    assert bool(made.route([entry])) is matches
    assert made.concerned([entry]) == ({"h"} if matches else set())


def test_deliveries_carry_one_stable_id() -> None:
    """A delivery's id follows from the log, the event and the hook, and from nothing else."""
    entries = [committed(sequence) for sequence in (4, 5)]
    found = rules(hook("h-1"), hook("h-2")).route(entries)
    assert [(each.hook_id, each.event.sequence) for each in found] == [("h-1", 4), ("h-2", 4), ("h-1", 5), ("h-2", 5)]
    assert len({each.id for each in found}) == 4
    assert list(found) == list(rules(hook("h-2"), hook("h-1")).route(entries))


def test_changes_count_from_the_next_batch() -> None:
    """A hook that was put is routed to, a dropped one is not."""
    made = rules()
    assert made.route([committed()]) == ()
    made.put(hook("h-1"))
    made.put(hook("h-2", project="other"))
    assert [each.hook_id for each in made.route([committed()])] == ["h-1"]
    assert made.of("other") == [hook("h-2", project="other")]
    made.drop("h-1")
    assert made.route([committed()]) == []


KINDS = st.sampled_from([kind for kind in EventKind if kind.startswith("job.")])
PROJECTS = st.sampled_from(["a", "b", "c"])


@given(
    chosen=st.lists(st.tuples(PROJECTS, st.sets(KINDS, min_size=1)), max_size=6),
    log=st.lists(st.tuples(PROJECTS, KINDS), max_size=30),
)
def test_routes_what_matches_and_nothing_else(
    chosen: list[tuple[str, set[EventKind]]], log: list[tuple[str, EventKind]]
) -> None:
    """Each hook gets the events of its own project and kinds, each once, in order, and none of another's."""
    hooks = [hook(f"h{number}", project, kinds=tuple(kinds)) for number, (project, kinds) in enumerate(chosen)]
    entries = [committed(number, kind, project) for number, (project, kind) in enumerate(log, 1)]
    found = rules(*hooks).route(entries)
    for each in hooks:
        expected = [
            entry.event.sequence
            for entry in entries
            if entry.event.project_id == each.project_id and entry.event.kind in each.kinds
        ]
        assert [item.event.sequence for item in found if item.hook_id == each.id] == expected

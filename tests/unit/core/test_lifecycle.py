"""The state machine, against a list written by hand, and its page in the docs."""

from __future__ import annotations

import re
from collections import Counter
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import IllegalTransition
from orchestrator.events import EventKind
from orchestrator.lifecycle import ACTIVE, TABLE, TERMINAL, Cause, JobStatus, derive_parent, mermaid, path, transition

DOCS = Path(__file__).parents[3] / "docs" / "lifecycle.md"

#: Every legal pair, by hand: status, cause, status after. Pairs that find the job already there stand on the right.
LEGAL = """
submitted ready     ready        | submitted submitted submitted
ready     started   started      | ready     ready     ready
started   requeued  ready        | ready     requeued  ready
started   completed completed    | started   started   started
submitted failed    failed       | completed completed completed
ready     failed    failed       | failed    failed    failed
started   failed    failed       | canceled  canceled  canceled
submitted canceled  canceled     |
ready     canceled  canceled     |
started   canceled  canceled     |
"""
AFTER = {tuple(row[:2]): row[2] for line in re.split(r"[|\n]", LEGAL) if (row := line.split())}
PAIRS = list(product(JobStatus, Cause))

statuses = st.sampled_from(JobStatus)


@pytest.mark.parametrize(("status", "cause"), PAIRS)
def test_every_pair(status: JobStatus, cause: Cause) -> None:
    """A pair of the list leads where the list says; every other pair is illegal and names itself."""
    expected = AFTER.get((str(status), str(cause)))
    if expected is not None:
        assert transition(status, cause) is JobStatus(expected)
    else:
        with pytest.raises(IllegalTransition) as caught:
            transition(status, cause)
        assert (caught.value.status, caught.value.cause) == (status, cause)


def test_terminal_statuses() -> None:
    """Three statuses end a job: nothing moves it from there."""
    assert {"completed", "failed", "canceled"} == TERMINAL
    assert set(JobStatus) == ACTIVE | TERMINAL
    for status, cause in PAIRS:
        if status in TERMINAL and (str(status), str(cause)) in AFTER:
            assert transition(status, cause) is status


def test_every_cause_has_an_event() -> None:
    """Each cause is recorded under its own kind."""
    assert {f"job.{cause}" for cause in Cause} <= set(EventKind)


# -- paths ----------------------------------------------------------------------------------

#: The way between two statuses, by hand; "-" is before the submit. Pairs that are not here have no way.
WAYS = {
    ("-", "submitted"): "submitted",
    ("-", "ready"): "submitted ready",
    ("-", "started"): "submitted ready started",
    ("-", "completed"): "submitted ready started completed",
    ("-", "failed"): "submitted failed",
    ("-", "canceled"): "submitted canceled",
    ("submitted", "ready"): "ready",
    ("submitted", "started"): "ready started",
    ("submitted", "completed"): "ready started completed",
    ("submitted", "failed"): "failed",
    ("submitted", "canceled"): "canceled",
    ("ready", "started"): "started",
    ("ready", "completed"): "started completed",
    ("ready", "failed"): "failed",
    ("ready", "canceled"): "canceled",
    ("started", "ready"): "requeued",
    ("started", "completed"): "completed",
    ("started", "failed"): "failed",
    ("started", "canceled"): "canceled",
}


@pytest.mark.parametrize(("before", "after"), list(product([None, *JobStatus], JobStatus)))
def test_every_path(before: JobStatus | None, after: JobStatus) -> None:
    """The way between two statuses is the listed one; where none is listed, there is none but standing still."""
    way = WAYS.get((before or "-", after))
    if before is after:
        assert path(before, after) == ()
    elif way is not None:
        assert path(before, after) == tuple(map(Cause, way.split()))
    else:
        with pytest.raises(IllegalTransition):
            path(before, after)


# -- parents --------------------------------------------------------------------------------


@given(st.lists(statuses, min_size=1, max_size=6))
def test_parent_against_the_rules(children: list[JobStatus]) -> None:
    """A parent's status is the first rule that holds, whatever the order of its children."""
    rules = {
        "failed": any(child == "failed" for child in children),
        "completed": all(child == "completed" for child in children),
        "canceled": all(child in {"completed", "canceled"} for child in children),
        "started": any(child in {"started", "completed", "canceled"} for child in children),
        "ready": any(child == "ready" for child in children),
        "submitted": True,
    }
    expected = next(status for status, holds in rules.items() if holds)
    assert derive_parent(Counter(children)) == expected
    assert derive_parent({status: children.count(status) for status in JobStatus}) == expected


@given(st.lists(statuses, min_size=1, max_size=5), st.data())
def test_parent_always_has_a_way(children: list[JobStatus], data: st.DataObject) -> None:
    """However many legal steps the children take at once, the parent gets there by legal steps."""
    before = derive_parent(Counter(children))
    for _ in range(data.draw(st.integers(1, 8))):
        index = data.draw(st.integers(0, len(children) - 1))
        causes = [cause for status, cause in TABLE if status is children[index]]
        if causes:
            children[index] = transition(children[index], data.draw(st.sampled_from(causes)))
    after = derive_parent(Counter(children))
    if before in TERMINAL:
        return  # an ended parent is left alone; its active children were canceled with it
    for cause in path(before, after):
        before = transition(before, cause)
    assert before is after


def test_parent_needs_children() -> None:
    """No children, no status."""
    with pytest.raises(ValueError, match="at least one child"):
        derive_parent({JobStatus.READY: 0})


# -- the page -------------------------------------------------------------------------------


def test_page_shows_the_table() -> None:
    """The diagram in the docs is the one generated from the table."""
    blocks = re.findall(r"```mermaid\n(.*?)\n```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks == [mermaid()]


def test_diagram_draws_every_edge() -> None:
    """The diagram has one arrow for each entry of the table, the entrance, and one exit for each terminal status."""
    arrows = mermaid().splitlines()[1:]
    assert len(arrows) == len(TABLE) + 1 + len(TERMINAL)


def test_page_explains_every_word() -> None:
    """Every status and every event of a job has its line in the docs."""
    text = DOCS.read_text(encoding="utf-8")
    for status in JobStatus:
        assert f"\n| `{status}` |" in text
    for cause in Cause:
        assert f"\n| `job.{cause}` |" in text
    for kind in EventKind:
        assert not kind.startswith("job.") or f"`{kind}`" in text

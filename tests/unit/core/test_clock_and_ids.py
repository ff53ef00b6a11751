"""Clocks, ids and cursors."""

from __future__ import annotations

import asyncio
import random
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.clock import Clock, SystemClock, uuid7_factory
from orchestrator.errors import InvalidCursor
from orchestrator.events import CAUSE_OF, KIND_OF, Cursor
from orchestrator.testing.clock import START_MS, ManualClock

# -- ids ------------------------------------------------------------------------------------


@given(st.lists(st.floats(-100, 100), max_size=50), st.integers(0, 2**32))
def test_ids_ascend_whatever_the_wall_clock_does(jumps: list[float], seed: int) -> None:
    """Ids of one factory are valid version 7 UUIDs in ascending order, also when the clock stands or goes back."""
    clock = ManualClock()
    new_id = uuid7_factory(clock, random.Random(seed))
    ids = [new_id()]
    for jump in jumps:
        clock.jump_wall(jump)
        ids += [new_id(), new_id()]
    assert ids == sorted(set(ids))
    assert all(uuid.UUID(each).version == 7 and uuid.UUID(each).variant == uuid.RFC_4122 for each in ids)
    assert all(str(uuid.UUID(each)) == each for each in ids)


def test_ids_outlast_their_counter() -> None:
    """More ids within a millisecond than the counter holds still ascend."""
    new_id = uuid7_factory(ManualClock(), random.Random(1))
    ids = [new_id() for _ in range(10_000)]
    assert ids == sorted(set(ids))


def test_ids_carry_their_time() -> None:
    """The first 48 bits are the Unix time in milliseconds."""
    assert uuid.UUID(uuid7_factory(ManualClock())()).int >> 80 == START_MS


def test_same_seed_same_ids() -> None:
    """Ids are reproducible with a generator, and differ without."""
    first, again = (uuid7_factory(ManualClock(), random.Random(7)) for _ in range(2))
    assert [first() for _ in range(5)] == [again() for _ in range(5)]
    assert uuid7_factory(ManualClock())() != uuid7_factory(ManualClock())()


# -- cursors --------------------------------------------------------------------------------


@given(st.from_regex(r"[^:]+", fullmatch=True), st.integers(0, 10**18 - 1))
def test_cursors_round_trip(epoch: str, sequence: int) -> None:
    """A cursor reads back what it wrote."""
    cursor = Cursor(epoch, sequence)
    assert Cursor.parse(str(cursor)) == cursor


@given(st.text(st.sampled_from("ab:019-+_ .\u0663\u00b2\n"), max_size=24) | st.text())
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    """No text breaks the parser: it is refused, or means exactly one place."""
    try:
        cursor = Cursor.parse(text)
    except InvalidCursor:
        return
    epoch, digits = text.split(":")
    assert (cursor.epoch, cursor.sequence) == (epoch, int(digits))
    assert cursor.sequence >= 0


@pytest.mark.parametrize(
    "text", ["", ":", "a:", ":1", "a", "a:-1", "a:1:2", "a:1.0", "a:\u0663", "a:" + "9" * 19, "a: 1"]
)
def test_wrong_cursors_are_refused(text: str) -> None:
    """What is not ``epoch:sequence`` in ASCII digits is refused."""
    with pytest.raises(InvalidCursor):
        Cursor.parse(text)


def test_kinds_and_causes_are_inverse() -> None:
    """Each cause has one kind of event, and back."""
    assert {kind: cause for cause, kind in KIND_OF.items()} == CAUSE_OF


# -- clocks ---------------------------------------------------------------------------------


async def test_system_clock_moves_on() -> None:
    """The system's clock never goes back, and a sleep of no length returns."""
    clock: Clock = SystemClock()
    before = clock.monotonic()
    await clock.sleep(0)
    assert clock.monotonic() >= before
    assert abs(clock.now_ms() - SystemClock().now_ms()) < 60_000


async def test_manual_clock_wakes_in_order() -> None:
    """Sleepers wake in the order of their deadlines, equal ones as they came, and none early."""
    clock, woken = ManualClock(), list[str]()

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(name)

    tasks = [asyncio.create_task(sleeper(name, s)) for name, s in (("c", 3), ("a", 1), ("b", 2), ("b2", 2), ("z", 9))]
    await clock.until_sleeping(5)
    clock.advance(2.5)
    await asyncio.gather(*(task for task, name in zip(tasks, "cabbz", strict=True) if name in "ab"))
    assert woken == ["a", "b", "b2"]
    assert (clock.sleeping, clock.monotonic(), clock.now_ms()) == (2, 2.5, START_MS + 2500)
    await clock.advanced(10)
    assert woken == ["a", "b", "b2", "c", "z"]


async def test_manual_clock_lets_loops_tick() -> None:
    """`advanced` stops at every deadline: a loop that sleeps one second sees ten of them in ten."""
    clock, seen = ManualClock(), list[float]()

    async def loop() -> None:
        while True:
            await clock.sleep(1)
            seen.append(clock.monotonic())

    task = asyncio.create_task(loop())
    await clock.until_sleeping()
    await clock.advanced(10)
    assert seen == [float(second) for second in range(1, 11)]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert clock.sleeping == 0


async def test_wall_jumps_wake_nobody() -> None:
    """The wall jumps both ways without moving monotonic time; monotonic time cannot go back."""
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(5))
    await clock.until_sleeping()
    clock.jump_wall(3600)
    assert clock.now_ms() == START_MS + 3_600_000
    clock.jump_wall(-7200)
    await clock.advanced(4.9)
    assert not task.done()
    assert clock.monotonic() == pytest.approx(4.9)
    await clock.advanced(0.2)
    assert task.done()
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance(-1)

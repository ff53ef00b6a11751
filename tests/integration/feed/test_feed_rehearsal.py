"""A fiftieth of the rehearsal in `benchmarks.feed_rehearsal`, and that it would notice."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import feed_rehearsal
from benchmarks.feed_rehearsal import Log


async def test_readers_of_a_killed_server_miss_nothing(tmp_path: Path) -> None:
    """Reconnecting at random from cursors, across kills: no gap, no duplicate, no inversion, the same bytes."""
    report = await feed_rehearsal.rehearse(tmp_path, events=2_000, readers=4, kills=2, seed=1)
    assert report.problems == []
    assert report.figures


def frame(sequence: int, text: str = "") -> tuple[bytes, bytes]:
    payload = b'{"type":"event","cursor":"e:%d","kind":"%s"}' % (sequence, text.encode())
    return bytes((0x81, len(payload))) + payload, payload


@pytest.mark.parametrize(
    ("sequence", "text", "fault"),
    [
        (4, "", None),
        (5, "", "a gap: 5 after 3"),
        (3, "", "a duplicate: 3 after 3"),
        (2, "", "an inversion: 2 after 3"),
        (4, "other", "event 4 is not what it was"),
    ],
)
def test_a_fault_is_noticed(sequence: int, text: str, fault: str | None) -> None:
    """The rehearsal's readers tell what does not continue the log, and bytes that changed."""
    log = Log()
    for known in range(1, 6):
        assert log.check(known - 1, *frame(known)) == known
    chunk = frame(sequence, text)[0]
    assert log.alike(3, chunk, 5) == (fault is None)
    assert log.alike(3, frame(4)[0] + frame(5)[0], 5) == 2
    assert log.alike(3, frame(4)[0] + frame(5)[0], 4) == 1
    assert log.alike(3, frame(4)[0][:-1], 5) == 0
    log.check(3, *frame(sequence, text))
    assert [problem.startswith(fault or "") for problem in log.problems] == [True] * (fault is not None)

"""A fiftieth of the rehearsal in `benchmarks.feed_rehearsal`."""

from __future__ import annotations

from pathlib import Path

from benchmarks import feed_rehearsal


async def test_readers_of_a_killed_server_miss_nothing(tmp_path: Path) -> None:
    """Reconnecting at random from cursors, across kills: no gap, no duplicate, no inversion, the same bytes."""
    report = await feed_rehearsal.rehearse(tmp_path, events=2_000, readers=2, kills=2, seed=1)
    assert report.problems == []
    assert report.figures

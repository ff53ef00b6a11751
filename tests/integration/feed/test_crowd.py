"""A tenth of the rehearsal in `benchmarks.crowd`."""

from __future__ import annotations

from pathlib import Path

from benchmarks import crowd


async def test_those_who_never_read_harm_nobody(tmp_path: Path) -> None:
    """Memory and delays stay, nobody else is cut, and at SIGTERM everybody is told 1001 and the process ends."""
    report = await crowd.rehearse(tmp_path, readers=45, stalled=5, seconds=1.0)
    assert report.problems == []

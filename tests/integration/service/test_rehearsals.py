"""The rehearsals, at about a fiftieth of their number."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    "arguments",
    [
        ("kill", "--kills", "4"),
        ("cancel", "--times", "200"),
        ("remote", "--kills", "4"),
        ("remote", "--kills", "4", "--plain"),
        ("latency", "--jobs", "3", "--most", "100"),
    ],
    ids=lambda arguments: "-".join((arguments[0], *arguments[3:])),
)
def test_a_rehearsal_keeps_its_promise(arguments: tuple[str, ...]) -> None:
    """Killed, nothing acknowledged is lost (D1) or bought twice (E3); canceled anywhere, nothing is left (D6)."""
    command = [sys.executable, "-m", "benchmarks.rehearse", "--seed", "7", *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ended.stdout.splitlines()[-1:] == ["kept"], ended.stdout + ended.stderr
    assert ended.returncode == 0

"""The rehearsals, at about a fiftieth of their number."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("arguments", [("kill", "--kills", "4"), ("cancel", "--times", "200")], ids=lambda a: a[0])
def test_a_rehearsal_keeps_its_promise(arguments: tuple[str, ...]) -> None:
    """Killed at any moment nothing acknowledged is lost (D1); canceled anywhere nothing is left behind (D6)."""
    command = [sys.executable, "-m", "benchmarks.rehearse", "--seed", "7", *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ended.stdout.splitlines()[-1:] == ["kept"], ended.stdout + ended.stderr
    assert ended.returncode == 0

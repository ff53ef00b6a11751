"""``orchestrator watch`` of a whole project on a terminal, over the death of its server."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator import Circuit, Gate
from orchestrator.client import SyncClient
from tests.integration.cli.conftest import environment

if TYPE_CHECKING:
    from tests.integration.cli.conftest import Run, Serve

ONE = Circuit(qubits=1, gates=(Gate("h", (0,)),))
KEY = "a-key-over-several-lives"
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_LIMIT_S = 30.0


class Terminal:
    """A command on a terminal of its own, 100 columns wide."""

    def __init__(self, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        size = {"COLUMNS": "100", "LINES": "30", "TERM": "xterm-256color"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "orchestrator.cli", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment(**size),
        )
        os.close(slave)
        self._shown = ""

    def until(self, *texts: str) -> None:
        """Read until all of these were drawn on one line, from what has not been read yet."""
        deadline = time.monotonic() + _LIMIT_S
        while True:
            *lines, rest = self._shown.split("\n")
            for number, line in enumerate(lines):
                if all(text in line for text in texts):
                    self._shown = "\n".join([*lines[number + 1 :], rest])
                    return
            assert time.monotonic() < deadline, self._shown
            self._shown += _ESCAPES.sub("", os.read(self._master, 65_536).decode(errors="replace"))

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(_LIMIT_S)
        os.close(self._master)


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    opened: list[Terminal] = []
    yield opened
    for terminal in opened:
        terminal.end()


def test_a_project_is_watched_over_a_restart(
    run: Run, serve: Serve, terminals: list[Terminal], tmp_path: Path, free_tcp_port: int
) -> None:
    """Jobs appear by name and end on the table; when the server dies it says so, and then goes on."""
    options = ("--port", str(free_tcp_port), "--log-level", "ERROR")
    server = serve(None, *options, ORCHESTRATOR_BOOTSTRAP_KEY=KEY)
    terminal = Terminal("watch", "--url", server.url, "--key", KEY)
    terminals.append(terminal)
    terminal.until("no jobs")
    with SyncClient(server.url, KEY) as client:
        client.wait(client.submit(ONE, name="before the kill"), timeout_s=_LIMIT_S)
        terminal.until("before the kill", "simulator", "completed")
        terminal.until("1 completed")
        assert server.stop(signal.SIGKILL)[0] == -signal.SIGKILL
        terminal.until("reconnecting ...", "1 completed")
        server = serve(server.data, *options, ORCHESTRATOR_BOOTSTRAP_KEY=KEY)
        client.wait(client.submit(ONE, name="after the kill"), timeout_s=_LIMIT_S)
    terminal.until("after the kill", "completed")
    terminal.until("2 completed")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.process.wait(_LIMIT_S) in {130, -signal.SIGINT, 1}
    assert server.stop()[0] == 0

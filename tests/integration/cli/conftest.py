"""The command line as people run it: processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

_PROGRAM = [sys.executable, "-m", "orchestrator.cli"]
_LIMIT_S = 60.0


def environment(**variables: str) -> dict[str, str]:
    """The environment without what would point commands elsewhere; simulated devices wait for nothing."""
    unwanted = ("ORCHESTRATOR_", "IONQ_", "COLUMNS")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    return {**clean, "ORCHESTRATOR_PLUGINS__TRAPPED_ION__TIME_SCALE": "0", "PYTHONUTF8": "1", **variables}


@dataclass
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def document(self) -> Any:
        """The only line of output, as JSON."""
        (line,) = self.lines
        return json.loads(line)

    @property
    def documents(self) -> list[Any]:
        return [json.loads(line) for line in self.lines]


Run = Callable[..., Done]


@pytest.fixture(scope="session")
def run() -> Run:
    """Runs a command to its end."""

    def command(*arguments: str, text: str | None = None, **variables: str) -> Done:
        done = subprocess.run(
            [*_PROGRAM, *arguments],
            input=text,
            capture_output=True,
            encoding="utf-8",
            timeout=_LIMIT_S,
            env=environment(**variables),
            check=False,
        )
        assert "Traceback" not in done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    return command


@dataclass
class Server:
    """A running ``orchestrator serve``.

    Attributes:
        lines: What it printed until it could be used.
    """

    process: subprocess.Popen[str]
    data: Path
    lines: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.lines[0]

    @property
    def key(self) -> str:
        return next(line for line in self.lines if "IONQ_API_KEY" in line).partition("=")[2]

    def ask(self, path: str, key: str | None = None) -> tuple[int, Any]:
        """Status and decoded body of a GET."""
        request = Request(self.url + path, headers={} if key is None else {"Authorization": f"apiKey {key}"})  # noqa: S310
        try:
            with urlopen(request, timeout=_LIMIT_S) as response:  # noqa: S310
                return response.status, json.load(response)
        except HTTPError as error:
            with error:
                return error.code, json.load(error)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str, str]:
        """Signal it; answers exit code and what it printed since, on both streams."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=10.0)
        return self.process.returncode, out, err


Serve = Callable[..., Server]


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Starts servers; those that still run at the end are killed."""
    started: list[Server] = []

    def start(data: Path | None = None, *options: str, **variables: str) -> Server:
        folder = data or tmp_path_factory.mktemp("served") / "data"
        process = subprocess.Popen(
            [*_PROGRAM, "serve", "--port", "0", "--data", str(folder), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            env=environment(**variables),
        )
        server = Server(process, folder)
        started.append(server)
        assert process.stdout is not None
        while not (server.lines and "IONQ_REMOTE_HOST" in server.lines[-1]):
            line = process.stdout.readline()
            assert line, process.communicate(timeout=10.0)[1]
            server.lines.append(line.rstrip("\n"))
        return server

    yield start
    for server in started:
        if server.process.poll() is None:
            server.process.kill()
        server.process.communicate(timeout=10.0)


@pytest.fixture(scope="session")
def server(serve: Serve) -> Server:
    """A server that several tests share; none stops it."""
    return serve()

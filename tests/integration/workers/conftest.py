"""A pool per test, on both event loops, a clock moved by hand and a pipe that workers report on."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from orchestrator.clock import SystemClock


class ManualClock(SystemClock):
    """Monotonic time moves when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._moved = anyio.Event()

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            await self._moved.wait()

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self._moved.set()
        self._moved = anyio.Event()


class Mailbox:
    """The reading end of a named pipe that a worker opens; it ends when the last process holding it is gone."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._path = path
        self.address = json.dumps(str(path)).encode()
        self._descriptor = self._open()

    def _open(self) -> int:
        return os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)

    async def pid(self) -> int:
        """Wait until a worker reports."""
        return int(await self._read())

    async def ended(self) -> None:
        """Wait until nobody holds the pipe, at most the 2 s a worker may outlive its end; then it can be used again."""
        with anyio.fail_after(2):
            assert await self._read() == b""
        spent, self._descriptor = self._descriptor, self._open()  # opened first: there is always a reader
        os.close(spent)

    async def _read(self) -> bytes:
        await anyio.wait_readable(self._descriptor)
        return os.read(self._descriptor, 100)

    def close(self) -> None:
        os.close(self._descriptor)


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Workers are fed by callbacks of the loop, so both loops have to keep the promises."""
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture(autouse=True)
def _importable_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)


@pytest.fixture
def mailbox(tmp_path: Path) -> Iterator[Mailbox]:
    box = Mailbox(tmp_path / "mailbox")
    yield box
    box.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()

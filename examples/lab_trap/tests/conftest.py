"""Instruments: the program, in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

Start = Callable[..., dict[str, Any]]


@pytest.fixture
def anyio_backend() -> str:
    """The orchestrator runs on asyncio."""
    return "asyncio"


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    """Starts an instrument with options of its command line; answers the settings that lead to it."""
    with ExitStack() as stack:

        def started(**options: float) -> dict[str, Any]:
            given = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "lab_trap.instrument", "--port=0", *given],
                    stdout=subprocess.PIPE,
                    encoding="utf-8",
                )
            )
            stack.callback(process.terminate)
            assert process.stdout is not None
            return {"host": "127.0.0.1", "port": int(process.stdout.readline().rpartition(":")[2])}

        yield started

"""The end of a server process: one limit for all of it."""

from __future__ import annotations

import os
import time

import pytest

from orchestrator.cli.ending import CLOSING_S, THREADS_S, Ending


async def test_what_closing_took_is_not_given_to_threads_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closed at the last moment, the process ends at the limit, not a wait for threads later."""
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    monkeypatch.setattr("orchestrator.cli.ending._tell", lambda *_, **__: None)
    with Ending(-CLOSING_S) as ending:  # the time is over at once
        pass
    began = time.monotonic()
    ending._limit()
    assert time.monotonic() - began < THREADS_S / 2
    assert codes[0] == 0

"""No log lines while checks run: they break things on purpose, and findings tell what came of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog


class _Silence:
    """How many hold it, and the configuration to go back to; checks may run on several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self._before: dict[str, Any] = {}

    def begin(self) -> None:
        with self._lock:
            self._holders += 1
            if self._holders == 1:
                self._before = structlog.get_config()
                structlog.configure(processors=[_dropped], cache_logger_on_first_use=False)

    def end(self) -> None:
        with self._lock:
            self._holders -= 1
            if not self._holders:
                structlog.configure(**self._before)


_silence = _Silence()


@contextmanager
def quiet() -> Iterator[None]:
    """Drop what is logged with structlog while the block runs."""
    _silence.begin()
    try:
        yield
    finally:
        _silence.end()


def _dropped(*_: Any) -> structlog.typing.EventDict:
    raise structlog.DropEvent

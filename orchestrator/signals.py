"""Signals heard on a thread: also while the event loop stands still, or the main thread is in foreign code.

Theory of operation
-------------------
Python's handlers run in the main thread, when it comes back to the interpreter; asyncio's when the loop turns. What
happens at once, in C, is that the signal's number is written to a descriptor (`signal.set_wakeup_fd`). A thread reads
it there, and passes it on to the loop's own descriptor, which it has taken the place of.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from signal import SIGINT, SIGTERM
from types import FrameType
from typing import Any, Final, Self

__all__ = ["SIGINT", "SIGTERM", "Hearing", "heard"]

#: Time for the thread to be gone.
_JOIN_S: Final = 1.0


def _by_the_thread(number: int, frame: FrameType | None) -> None:
    """Does nothing in the main thread, instead of what the interpreter or the kernel would do."""


def heard(number: signal.Signals) -> bool:
    """Whether a `Hearing` hears that signal."""
    return signal.getsignal(number) is _by_the_thread


class Hearing:
    """Hears signals while it is entered, which only the main thread can do, with its loop running.

    Args:
        on_signal: Called in the thread, with each signal.
    """

    def __init__(self, numbers: Sequence[signal.Signals], on_signal: Callable[[signal.Signals], object]) -> None:
        self._numbers = frozenset(numbers)
        self._on_signal = on_signal
        self._before: dict[signal.Signals, Any] = {}
        self._thread = threading.Thread(target=self._hear, name="signals", daemon=True)

    def __enter__(self) -> Self:
        self._ours, self._theirs = socket.socketpair()
        self._theirs.setblocking(False)
        self._next = signal.set_wakeup_fd(self._theirs.fileno(), warn_on_full_buffer=False)
        for number in self._numbers:
            self._before[number] = signal.signal(number, _by_the_thread)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._next)
        self._theirs.close()
        self._thread.join(_JOIN_S)
        self._ours.close()

    def _hear(self) -> None:
        while numbers := self._ours.recv(64):
            for number in numbers:
                if number in self._numbers:
                    self._on_signal(signal.Signals(number))
            with suppress(OSError):  # it is full: the loop is woken anyway; or there is none
                os.write(self._next, numbers)

"""Importing what entry points name, plugins of every kind: whatever a module does when it is imported ends there.

Each is imported on a daemon thread of its own. One that hangs is left behind when its time is up: its module stays
half imported for the life of the process, and nobody else waits for it.
"""

from __future__ import annotations

import asyncio
import difflib
import sys
import threading
from collections.abc import Collection
from concurrent.futures import Future
from contextlib import suppress
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

import anyio

from orchestrator.foreign import Escaped, reason_of

#: The limit of those who have no setting at hand.
IMPORT_LIMIT_S: Final = 30.0


class NotLoaded(Exception):
    """An entry point could not be imported, or names nothing; `str` is the reason, for people."""


def installed(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group, by name."""
    return {point.name: point for point in entry_points(group=group)}


def unknown(name: str, known: Collection[str]) -> str:
    """The reason for refusing a name that is not installed, with the nearest one: projects are named with dashes."""
    near = difflib.get_close_matches(name.replace("-", "_"), known, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"not installed{hint}; installed: {', '.join(sorted(known)) or 'none'}"


def load(point: EntryPoint, limit_s: float = IMPORT_LIMIT_S) -> Any:
    """What the entry point names; the calling thread waits.

    Args:
        limit_s: Longest import, seconds; 0 for no limit.

    Raises:
        NotLoaded: It cannot be imported, hangs at that, or is not there.
    """
    importing = _Import(point)
    with suppress(TimeoutError):
        importing.future.exception(limit_s or None)
    return importing.answer(limit_s)


async def loading(point: EntryPoint, limit_s: float = IMPORT_LIMIT_S) -> Any:
    """As `load`; the event loop turns meanwhile. Cancelling leaves the import behind."""
    importing, through = _Import(point), asyncio.Event()
    loop = asyncio.get_running_loop()

    def tell(_: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(through.set)

    importing.future.add_done_callback(tell)
    with anyio.move_on_after(limit_s or None):
        await through.wait()
    return importing.answer(limit_s)


class _Import:
    """One import, begun."""

    def __init__(self, point: EntryPoint) -> None:
        self.future: Future[Any] = Future()
        self._thread = threading.Thread(target=self._run, args=(point,), name=f"import {point.name}", daemon=True)
        self._thread.start()

    def _run(self, point: EntryPoint) -> None:
        try:
            found = point.load()
        except Exception as error:
            self.future.set_exception(error)
        except BaseException as error:
            self.future.set_exception(Escaped(error))
        else:
            self.future.set_result(found)

    def answer(self, limit_s: float) -> Any:
        """What came of it so far."""
        if not self.future.done():
            raise NotLoaded(f"it hangs at import: not through after {limit_s:g} s{self._place()}")
        try:
            return self.future.result()
        except Exception as error:
            raise NotLoaded(reason_of(error)) from error

    def _place(self) -> str:
        """The line of the plugin's own module that does not come to an end."""
        frame, place = sys._current_frames().get(self._thread.ident or 0), ""
        while frame is not None:
            if frame.f_code.co_name == "<module>":
                place = f", at {frame.f_code.co_filename}:{frame.f_lineno}"
            frame = frame.f_back
        return place

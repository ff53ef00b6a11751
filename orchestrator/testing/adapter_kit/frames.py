"""Telling an adapter's own code from everybody else's, by the files that frames come from."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path
from typing import Final

import anyio

import orchestrator
from orchestrator.foreign import Escaped, legible

_HOUSE: Final = str(Path(orchestrator.__file__).parent)
#: Files of the runtime: the standard library and what the event loop is made of, not all that is installed.
_RUNTIME: Final = (sysconfig.get_paths()["stdlib"], str(Path(anyio.__file__).parent))
_INSTALLED: Final = ("site-packages", "dist-packages")
#: The loop's own step: frames before it are of whoever runs the loop.
_STEP: Final = ("asyncio/events.py", "_run")


def own(frame: traceback.FrameSummary) -> bool:
    """Whether a frame is of code that neither the orchestrator nor the runtime brought."""
    file = frame.filename
    if file.startswith(("<", _HOUSE)) or any(part in file for part in ("/_pytest/", "/pluggy/")):
        return False
    return (any(part in file for part in _INSTALLED) and not file.startswith(_RUNTIME[1])) or not file.startswith(
        _RUNTIME
    )


def told(stack: traceback.StackSummary) -> str:
    """The innermost place in an adapter's own code, as ``file:line (function)``; empty if there is none."""
    steps = [place for place, frame in enumerate(stack) if (frame.filename[-17:], frame.name) == _STEP]
    inner = stack[steps[-1] + 1 :] if steps else stack
    for frame in reversed(inner):
        if own(frame):
            return f"{Path(frame.filename).name}:{frame.lineno} ({frame.name})"
    return ""


def told_of(error: BaseException) -> str:
    """An exception in one line, with the place in the adapter's own code that it comes from."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    place = told(traceback.extract_tb(error.__traceback__))
    said = legible(error)
    text = said if isinstance(error, Escaped) else f"{type(error).__name__}: {said}" if said else type(error).__name__
    return f"{text}, at {place}" if place else text

"""Code of others (adapters, in-process hooks, channels): whatever it raises, and however it ignores a cancel.

`contained` is for what it raises, `apart` for what is awaited: nobody has to wait for a coroutine that does not end
when it is told to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Final, TypeVar

import anyio
import structlog

from orchestrator import signals

log = structlog.get_logger()

T = TypeVar("T")

#: Time for a coroutine to end once it was canceled; after that it is left behind.
GRACE_S: Final = 1.0
#: Characters of what foreign code says.
_LONGEST: Final = 2_000


class Escaped(Exception):
    """Foreign code raised what no ``except Exception`` catches, such as `SystemExit`."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(f"{type(error).__name__}: {legible(error)}")
        self.name = type(error).__name__


class _Contained:
    """See `contained`; without state, so that one serves all (it stands on the way of every submit)."""

    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, Exception | GeneratorExit):
            return
        if isinstance(error, KeyboardInterrupt) and not signals.heard(signals.SIGINT):
            return
        if isinstance(error, asyncio.CancelledError):
            task = asyncio.current_task()
            if task is None or task.cancelling():
                return
        raise Escaped(error) from error


_CONTAINED: Final = _Contained()


def contained() -> AbstractContextManager[None]:
    """Foreign code inside: whatever it raises leaves as an `Exception`.

    What is not its own passes: Ctrl-C (unless `signals` hears that, when a `KeyboardInterrupt` can only be made up),
    and a cancel that somebody asked of this task. A `CancelledError` that nobody asked for, of a task of the foreign
    code's own, is an error like any other.
    """
    return _CONTAINED


def name_of(error: Exception) -> str:
    """The name of what was raised, for people."""
    return error.name if isinstance(error, Escaped) else type(error).__name__


def reason_of(error: Exception) -> str:
    """What was raised and what it says, for people; taken out of groups that hold nothing else."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return str(error) if isinstance(error, Escaped) else f"{type(error).__name__}: {legible(error)}"


def legible(value: object, longest: int = _LONGEST) -> str:
    """The words of foreign code, cut to what can be stored and shown: they may hold anything, or be none at all."""
    try:
        with contained():
            said = str(value)
    except Exception:
        return f"({type(value).__name__} that cannot be told)"
    return said[:longest].encode("utf-8", "replace").decode().replace("\0", " ")


async def apart(run: Callable[[], Awaitable[T]], what: str, *, grace_s: float | None = None, **whose: object) -> T:
    """Await foreign code, contained, in a task of its own, which is left behind if it does not end when canceled.

    Canceled, this cancels the task as anyio does, again and again. After a grace it says so in the log and goes on
    being canceled without it: the task is spared further cancels, which would only keep the loop busy, and
    `asyncio.run` does not wait for it either.

    Args:
        what: The member that is awaited, for the log; `whose` it is.
        grace_s: Another one than `GRACE_S`.

    Raises:
        Exception: What the code raised, as `contained` has it; `Escaped` also where it canceled its own task.
    """
    asked, spared = anyio.CancelScope(), anyio.CancelScope()

    async def contain() -> T | None:
        with asked, spared, contained():
            return await run()
        return None

    task = asyncio.create_task(contain(), name=f"{what} of foreign code")
    try:
        await asyncio.wait((task,))
    except asyncio.CancelledError:
        asked.cancel()
        with anyio.move_on_after(GRACE_S if grace_s is None else grace_s, shield=True):
            await asyncio.wait((task,))
        if task.done():
            _ = task.cancelled() or task.exception()  # nobody wants to know any more
        else:
            spared.shield = True
            asyncio._unregister_task(task)
            log.warning("foreign code does not end when it is canceled, and is left behind", what=what, **whose)
        raise
    try:
        return task.result()  # type: ignore[return-value]
    except asyncio.CancelledError as error:  # of its own doing: nobody canceled this
        raise Escaped(error) from error

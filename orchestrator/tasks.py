"""Tasks with an owner: those of an object that is entered with ``async with``, and an alarm beside a wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio
import anyio.abc

from orchestrator.clock import Clock

T = TypeVar("T")


@asynccontextmanager
async def background() -> AsyncGenerator[anyio.abc.TaskGroup]:
    """A task group for the length of a block; its tasks are canceled at the block's end.

    What the block raises arrives as itself: the owner's error, `SystemExit` too, is not the tasks' affair and
    shall not come in an exception group.
    """
    failure: BaseException | None = None
    async with anyio.create_task_group() as tasks:
        try:
            yield tasks
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException as error:
            failure = error
        finally:
            tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


class OutOfTime(TimeoutError):
    """What `within` allowed was not enough."""


async def within(clock: Clock, seconds: float, wait: Callable[[], Awaitable[T]]) -> T:
    """Wait for something so long on an injected clock, then cancel it.

    Raises:
        OutOfTime: It took longer.
    """
    with anyio.CancelScope() as scope:
        async with background() as tasks:

            async def alarm() -> None:
                await clock.sleep(seconds)
                scope.cancel()

            tasks.start_soon(alarm)
            return await wait()
    raise OutOfTime(f"it took longer than {seconds:g} s")

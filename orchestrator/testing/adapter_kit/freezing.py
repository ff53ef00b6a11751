"""Stopping an adapter at any of its awaits.

Theory of operation
-------------------
What an adapter's author wrote runs in tasks that `Freezer.stepped` began, or in tasks begun by those: a context
variable marks them, and the loop's task factory wraps each in a coroutine that passes every step on. So every
suspension of the adapter's code is seen and counted. At the one that `arm` names, the *frost* begins: whatever wakes
an adapter's task, it does not go on before the `thaw`. What is thrown into it (a cancellation, a failed future) does
arrive.

A cancel, a lost lease or a stop can thus be made to happen at each await of an adapter, one after the other, without
luck and without sleeping.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from types import GeneratorType
from typing import Any, Final, TypeVar

T = TypeVar("T")

_INSIDE: Final[ContextVar[bool]] = ContextVar("inside_an_adapter", default=False)


class Freezer:
    """See the module; for the event loop it is made on, whose task factory it replaces.

    Attributes:
        count: Suspensions since `arm` that counted.
    """

    def __init__(self) -> None:
        self.count = 0
        self._at = 0
        self._counting = True
        self._frost: asyncio.Event | None = None
        self._waiting: list[asyncio.Future[None]] = []
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._loop.set_task_factory(self._task)

    def arm(self, at: int = 1, *, handed: bool = False) -> asyncio.Event:
        """Freeze at the suspension number `at` from now; the event tells that it has come.

        Args:
            handed: Count from when the adapter has been handed an attempt.
        """
        self.count, self._at = 0, at
        self._counting = not handed
        self._closed = False
        self._frost = asyncio.Event()
        return self._frost

    def thaw(self) -> None:
        """Let everything go on, and freeze no more."""
        self._at, self._closed = 0, False
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def stepped(self, work: Awaitable[T]) -> T:
        """Run an adapter's coroutine so that it can be frozen, and all that it begins."""
        token = _INSIDE.set(True)
        try:
            return await _Stepped(work, self)
        finally:
            _INSIDE.reset(token)

    def handed(self) -> None:
        """Called when the adapter was handed an attempt."""
        self._counting = True

    def suspended(self) -> None:
        """Called at each suspension of the adapter's code."""
        self.count += self._counting
        if self.count == self._at and self._frost is not None and not self._frost.is_set():
            self._closed = True
            self._frost.set()

    def held(self) -> Generator[Any, None, None]:
        """Suspends as long as the frost lasts."""
        while self._closed:
            future: asyncio.Future[None] = self._loop.create_future()
            self._waiting.append(future)
            yield from future.__await__()

    def _task(
        self,
        loop: asyncio.AbstractEventLoop,
        work: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        context: Context | None = None,
        **options: Any,
    ) -> asyncio.Task[T]:
        inside = (context or copy_context()).get(_INSIDE, False)
        coroutine = _through(work, self) if inside and isinstance(work, Coroutine) else work
        return asyncio.Task(coroutine, loop=loop, context=context, **options)


async def _through(work: Coroutine[Any, Any, T], freezer: Freezer) -> T:
    return await _Stepped(work, freezer)


class _Stepped(Awaitable[T]):
    def __init__(self, work: Awaitable[T], freezer: Freezer) -> None:
        self.work = work
        self._freezer = freezer

    def __await__(self) -> Generator[Any, None, T]:
        steps = self.work.__await__()
        thrown: BaseException | None = None
        while True:
            try:
                waits_for = steps.send(None) if thrown is None else steps.throw(thrown)
            except StopIteration as end:
                answer: T = end.value
                return answer
            self._freezer.suspended()
            thrown = None
            try:
                yield waits_for
                yield from self._freezer.held()
            except BaseException as error:  # nothing is swallowed: it is thrown on, where it belongs
                thrown = error


def stepped(awaited: Any) -> Any:
    """What a wrapped coroutine really waits for; anything else as it is."""
    if isinstance(awaited, GeneratorType) and awaited.gi_frame is not None:
        wrapper = awaited.gi_frame.f_locals.get("self")
        if isinstance(wrapper, _Stepped):
            return wrapper.work
    return awaited

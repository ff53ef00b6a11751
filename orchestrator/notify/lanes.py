"""What a hook's lane remembers, and how it waits."""

from __future__ import annotations

from typing import Final

import anyio

from orchestrator.clock import Clock

#: Longest sleep before the wall clock is looked at again: it may jump, deadlines of deliveries are wall times.
_NAP_S: Final = 60.0


class Lane:
    """The state of one hook's lane.

    Attributes:
        more: There are new deliveries since the outbox was last read.
        woken: Set to end a wait: things are no longer what they were when it began.
        idle: Set unless an attempt is being made.
        gathering_ms: Until then notifications are gathered for a digest, wall time.
    """

    def __init__(self, hook_id: str) -> None:
        self.hook_id = hook_id
        self.more = False
        self.woken = anyio.Event()
        self.idle = anyio.Event()
        self.idle.set()
        self.gathering_ms = 0

    async def until(self, due_ms: int, clock: Clock) -> None:
        """Sleep until a wall time, or until woken."""
        async with anyio.create_task_group() as tasks:

            async def sleep() -> None:
                while (left_ms := due_ms - clock.now_ms()) > 0:
                    await clock.sleep(min(left_ms / 1000, _NAP_S))
                self.woken.set()

            tasks.start_soon(sleep)
            await self.woken.wait()
            tasks.cancel_scope.cancel()

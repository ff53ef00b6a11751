"""The loops of one line, each run again when it breaks: its adapter's `serve`, its preparer, its heartbeats.

A crash stays here: no other line notices. A `serve` that returns has crashed too: it serves until it is canceled. The
pause before the next run is that of retries, longer each time; attempts that were in hand are failed ones, so what
makes an adapter crash fails in the end. An adapter that crashes again and again is shown as unavailable, with the
reason, until it has served for a while or has completed a job.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import anyio
import structlog

from orchestrator.backends.standing import Hold
from orchestrator.dispatch.line import Line
from orchestrator.dispatch.preparing import Preparer
from orchestrator.foreign import GRACE_S, apart, reason_of

log = structlog.get_logger()

#: Crashes in a row after which people are told.
CRASHES: Final = 3
#: Time for `serve` to end when it is canceled: longer than its own parts have, so that they are the ones left behind.
SERVE_GRACE_S: Final = 2 * GRACE_S
#: Time for the loops to end when they are stopped; an adapter that takes longer is left to itself.
STOP_LIMIT_S: Final = 5.0


class Supervisor:
    """See the module. `run` once, `stop` at most once."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self._settings = line.settings
        self._clock = line.clock
        self._preparer = Preparer(line)
        self._scope = anyio.CancelScope()
        self._ended = anyio.Event()
        self._served_at = math.inf

    async def run(self) -> None:
        """Run all loops until canceled, or stopped."""
        try:
            with self._scope:
                async with anyio.create_task_group() as loops:
                    loops.start_soon(self._again, "serve", self._serve)
                    loops.start_soon(self._again, "prepare", self._preparer.run)
                    loops.start_soon(self._renew)
        finally:
            self._ended.set()

    async def stop(self) -> None:
        """Cancel the loops and wait for their end, within a limit."""
        self._scope.cancel()
        with anyio.move_on_after(STOP_LIMIT_S, shield=True):
            await self._ended.wait()
            return
        log.error("adapter does not stop", backend=self.line.backend)

    async def _again(self, what: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run, and run again with backoff."""
        crashes = 0
        while True:
            begun = self._clock.monotonic()
            reason = f"{what} returned, where it goes on until it is canceled"
            try:
                await run()
            except Exception as error:
                log.exception("adapter crashed", what=what, backend=self.line.backend)
                reason = reason_of(error)
            crashes = 1 if self._clock.monotonic() - begun > self._settings.retry_cap_s else crashes + 1
            if what == "serve" and crashes >= CRASHES:
                await self.line.hold(Hold.FAILING, f"its adapter crashes again and again: {reason}")
            pause_s = self.line.backoff(crashes)
            log.warning(
                "adapter is run again after a pause",
                what=what,
                backend=self.line.backend,
                reason=reason,
                in_a_row=crashes,
                pause_s=round(pause_s, 3),
            )
            await self._clock.sleep(pause_s)

    async def _serve(self) -> None:
        line = self.line
        line.holds.lift(Hold.UNAVAILABLE)  # said by a run of `serve` that is over
        self._served_at = self._clock.monotonic()
        try:
            serve = partial(line.adapter.serve, line.capabilities, line, line)
            await apart(serve, "serve", grace_s=SERVE_GRACE_S, backend=line.backend)
        except Exception:
            await line.interrupt("the adapter crashed", counts=True)
            raise
        else:
            await line.interrupt("the adapter stopped serving", counts=True)
        finally:
            self._served_at = math.inf

    async def _renew(self) -> None:
        """Ask for signs of life, every third of a lease; an adapter that hangs here loses its own leases only."""
        while True:
            try:
                await self.line.renew()
            except Exception:
                log.exception("adapter raised in heartbeat", backend=self.line.backend)
            if self._clock.monotonic() - self._served_at > self._settings.retry_cap_s:
                await self.line.lift(Hold.FAILING)
            await self._clock.sleep(self._settings.lease_s / 3)

"""The channels of one orchestrator: found by entry point, opened when the first hook needs them.

Only configured names load. One that is missing or broken is reported by name and reason, and takes nothing else
down: its hooks wait.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import anyio
import structlog

from orchestrator.clock import Clock
from orchestrator.errors import ChannelUnavailable
from orchestrator.foreign import apart, contained, reason_of
from orchestrator.loading import IMPORT_LIMIT_S, NotLoaded, installed, loading, unknown
from orchestrator.notify.abc import Channel, ChannelContext

log = structlog.get_logger()

GROUP: Final = "orchestrator.channels"
CLOSE_LIMIT_S: Final = 2.0


class Channels:
    """Channels by name.

    Args:
        names: Channels that may be used.
        tables: Their settings by name.
        given: Channels to use instead of installed ones of the same name; not yet opened.
        import_limit_s: Longest import of an installed one; 0 for no limit.

    Attributes:
        problems: Channels that could not be used, and why.
    """

    def __init__(
        self,
        names: Sequence[str],
        tables: Mapping[str, Mapping[str, Any]],
        clock: Clock,
        *,
        given: Sequence[Channel] = (),
        import_limit_s: float = IMPORT_LIMIT_S,
    ) -> None:
        self.problems: dict[str, ChannelUnavailable] = {}
        self._given = {channel.name: channel for channel in given}
        self._names = tuple(dict.fromkeys((*self._given, *names)))
        self._tables = tables
        self._clock = clock
        self._import_limit_s = import_limit_s
        self._opened: dict[str, Channel] = {}
        self._lock = anyio.Lock()
        for name in tables:
            if name not in self._names:
                log.warning("a channel has settings but is not enabled", channel=name)

    @property
    def names(self) -> tuple[str, ...]:
        """Channels that may be used."""
        return self._names

    async def get(self, name: str) -> Channel:
        """A channel, opened.

        Raises:
            ChannelUnavailable: It is not enabled, not installed or broken.
        """
        found = self._opened.get(name)
        if found is not None:
            return found
        async with self._lock:
            if name not in self._opened:
                try:
                    self._opened[name] = await self._open(name)
                except ChannelUnavailable as problem:
                    self.problems[name] = problem
                    raise
                self.problems.pop(name, None)
            return self._opened[name]

    async def _open(self, name: str) -> Channel:
        channel = await self._made(name)
        context = ChannelContext(clock=self._clock, settings=self._tables.get(name, {}))
        try:
            await apart(partial(channel.open, context), "open", channel=name)
        except Exception as error:
            log.exception("channel failed to open", channel=name)
            raise ChannelUnavailable(name, reason_of(error)) from error
        return channel

    async def _made(self, name: str) -> Channel:
        if name not in self._names:
            raise ChannelUnavailable(name, f"not enabled; enabled: {', '.join(self._names) or 'none'}")
        if name in self._given:
            return self._given[name]
        points = installed(GROUP)
        if name not in points:
            raise ChannelUnavailable(name, unknown(name, points))
        try:
            factory = await loading(points[name], self._import_limit_s)
            with contained():
                made = factory()
        except NotLoaded as problem:
            raise ChannelUnavailable(name, str(problem)) from problem
        except Exception as error:
            log.exception("channel failed to load", channel=name)
            raise ChannelUnavailable(name, reason_of(error)) from error
        if not isinstance(made, Channel):
            raise ChannelUnavailable(name, "its entry point does not make a Channel")
        return made

    async def aclose(self) -> None:
        """Close all channels, the last opened first; shielded, with a time limit each."""
        while self._opened:
            name, channel = self._opened.popitem()
            try:
                with anyio.move_on_after(CLOSE_LIMIT_S, shield=True):
                    await apart(channel.aclose, "aclose", channel=name)
            except Exception:
                log.exception("channel failed to close", channel=name)

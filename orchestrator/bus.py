"""In-process publish/subscribe of what was committed.

The bus only wakes people up; the truth is the event log. `publish` never waits: a listener is a plain function
called on the event loop with each commit, in log order, and has to be quick. A listener that raises is logged
and does not harm the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from orchestrator.storage.abc import Committed

log = structlog.get_logger()

Listener = Callable[[Sequence[Committed]], None]


class Bus:
    """Listeners in the order they subscribed."""

    def __init__(self) -> None:
        self._listeners: tuple[Listener, ...] = ()

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` after each commit; answers the function that ends that."""
        self._listeners = (*self._listeners, listener)

        def unsubscribe() -> None:
            self._listeners = tuple(known for known in self._listeners if known is not listener)

        return unsubscribe

    def publish(self, entries: Sequence[Committed]) -> None:
        """Tell all listeners of one commit."""
        for listener in self._listeners:
            try:
                listener(entries)
            except Exception:
                log.exception("a listener of the bus raised")

"""Tickets: how a browser page opens a feed, since its websocket cannot send the key in a header.

The page's server, or the page itself, posts with the key and gets a ticket that opens one feed, once, soon. A
ticket in a URL is worth nothing by the time somebody reads the URL in a log.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from orchestrator.clock import Clock

if TYPE_CHECKING:
    from orchestrator.accounts import Principal

VALID_S: Final = 30.0
#: Tickets held at most for one key; a further one ends the oldest.
PER_KEY: Final = 1_000


@dataclass(frozen=True, slots=True)
class _Ticket:
    principal: Principal
    until: float


class Tickets:
    """Tickets that were not used yet, oldest first."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tickets: dict[str, _Ticket] = {}

    def issue(self, principal: Principal) -> str:
        """A new ticket for what `principal` may see."""
        now = self._clock.monotonic()
        for text in [text for text, ticket in self._tickets.items() if ticket.until <= now]:
            del self._tickets[text]
        own = [text for text, ticket in self._tickets.items() if ticket.principal.key_id == principal.key_id]
        if len(own) >= PER_KEY:
            del self._tickets[own[0]]
        text = secrets.token_urlsafe(32)
        self._tickets[text] = _Ticket(principal, now + VALID_S)
        return text

    def redeem(self, text: str) -> Principal | None:
        """Who the ticket stands for, this once; None if it is unknown, used, too old, or its key was revoked."""
        ticket = self._tickets.pop(text, None)
        return ticket.principal if ticket is not None and self._clock.monotonic() < ticket.until else None

    def revoked(self, key_id: str) -> None:
        """A key died, and its tickets with it."""
        for text in [text for text, ticket in self._tickets.items() if ticket.principal.key_id == key_id]:
            del self._tickets[text]

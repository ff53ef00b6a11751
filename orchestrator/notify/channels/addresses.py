"""Mail addresses: exactly one, in the plain form that every mail server reads the same way."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from orchestrator.errors import SettingsError

_ATOM: Final = r"[A-Za-z0-9!#$&'*+/=?^_`{|}~-]+"
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN: Final = rf"{_LABEL}(?:\.{_LABEL})*"
_ADDRESS: Final = re.compile(rf"({_ATOM}(?:\.{_ATOM})*)@({_DOMAIN})")
_ONLY_DOMAIN: Final = re.compile(_DOMAIN)


def parsed(text: object) -> tuple[str, str]:
    """Local part and domain (in lower case) of one address; no names, comments, quotes, routes or lists.

    Raises:
        ValueError: It is anything else; the message does not repeat it.
    """
    found = _ADDRESS.fullmatch(text) if isinstance(text, str) and len(text) <= 254 else None
    if found is None or len(found[1]) > 64:
        raise ValueError("one plain address such as ada@example.org is wanted (other letters as punycode)")
    return found[1], found[2].lower()


class Recipients:
    """Who may be written to: the operator's list of addresses and of domains.

    A mail server that writes to whatever address somebody names is a weapon, so nobody may be written to who does not
    stand here. A domain stands for itself alone, not for names below it.

    Args:
        entries: ``ada@example.org`` or ``@example.org``.

    Raises:
        SettingsError: An entry is neither.
    """

    def __init__(self, entries: Iterable[str]) -> None:
        self._addresses: set[tuple[str, str]] = set()
        self._domains: set[str] = set()
        for entry in entries:
            if entry.startswith("@") and _ONLY_DOMAIN.fullmatch(entry[1:]):
                self._domains.add(entry[1:].lower())
                continue
            try:
                local, domain = parsed(entry)
            except ValueError as error:
                raise SettingsError(f"channels.email: recipients: {error}") from error
            self._addresses.add((local.lower(), domain))

    def permit(self, local: str, domain: str) -> bool:
        """Whether an address, as `parsed` gives it, stands on the list."""
        return domain in self._domains or (local.lower(), domain) in self._addresses

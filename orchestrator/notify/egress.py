"""Where outgoing requests may go: nowhere but to public addresses, unless the operator lists others.

A hook's URL comes from a user and is fetched from inside the operator's network, so it must not become a way in.
Two lines hold that:

* `EgressPolicy.checked` reads the URL once, strictly, and refuses what is wrong on its face. It tells the user early,
  and leaves no spelling over which two parsers could disagree.
* `EgressPolicy.socket` is the wall. aiohttp asks it for the socket of every connection, with the very address it
  is about to connect to: whatever the resolver said this time (rebinding), and literals, which no resolver sees.

Redirects are not followed at all; that is the caller's part (`allow_redirects=False`).
"""

from __future__ import annotations

import re
import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from orchestrator.errors import InvalidRequest, SettingsError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_URL: Final = 2048

#: What `is_global` calls global although it leads elsewhere: addresses that carry an IPv4 address inside (mapped,
#: compatible, 6to4, Teredo, both NAT64 prefixes), deprecated site-local ones, relay anycast, protocol assignments.
_DECEPTIVE: Final[tuple[Network, ...]] = tuple(
    ip_network(text)
    for text in (
        "192.0.0.0/24",
        "192.88.99.0/24",
        "::/96",
        "::ffff:0:0/96",
        "::ffff:0:0:0/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2001::/23",
        "2002::/16",
        "3fff::/20",
        "fec0::/10",
    )
)

#: The only IPv6 addresses that are assigned for the public Internet (RFC 4291, IANA registry).
_IPV6_UNICAST: Final = IPv6Network("2000::/3")

_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
_NUMERIC_LABEL: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PRINTABLE: Final = re.compile(r"[!-\[\]-~]+")  # printable ASCII but no space and no backslash
_AUTHORITY_END: Final = re.compile(r"[/?#]")
_LOCAL_NAMES: Final = ("localhost", "local", "internal", "intranet", "lan", "home.arpa")


class EgressSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where requests may go.

    Attributes:
        allow_http: Permit ``http://`` beside ``https://``.
        allow_private: Networks that may be reached although they are not public, such as ``10.1.2.0/24``.
        ports: Permitted ports, each a number or a range such as ``8000-9000``.
    """

    allow_http: bool = False
    allow_private: tuple[str, ...] = ()
    ports: tuple[int | str, ...] = (80, 443, "8000-9000")


class AddressRefused(OSError):
    """A connection to an address outside the permitted networks was about to be made."""

    def __init__(self) -> None:
        super().__init__("the address is not public")


class EgressPolicy:
    """Decides on URLs and on addresses.

    Raises:
        SettingsError: A network or a port range cannot be read.
    """

    def __init__(self, settings: EgressSettings) -> None:
        self._schemes = {"https", "http"} if settings.allow_http else {"https"}
        try:
            self._private = tuple(ip_network(text) for text in settings.allow_private)
            self._ports = tuple(_range(entry) for entry in settings.ports)
        except ValueError as error:
            raise SettingsError(f"allow_private or ports: {error}") from error

    def permits(self, text: str) -> bool:
        """Whether an IP address, without a zone, may be connected to."""
        try:
            address = ip_address(text)
        except ValueError:
            return False
        if "%" in text:
            return False
        return any(address in network for network in self._private) or is_public(address)

    def checked(self, text: object, field: str = "url") -> URL:
        """Read a URL.

        Raises:
            InvalidRequest: ``url_not_allowed``; the message says why, the member is `field`.
        """
        reason = None
        url = None
        if not isinstance(text, str) or not 0 < len(text) <= MAX_URL or not _PRINTABLE.fullmatch(text):
            reason = f"a URL has 1 to {MAX_URL} printable ASCII characters (write other names in punycode)"
        else:
            try:
                url = URL(text)
                reason = self._objection(text, url)
            except ValueError:
                reason = "not a URL"
        if url is None or reason is not None:
            raise InvalidRequest(f"{field}: {reason}", code="url_not_allowed", fields=(field,))
        return url

    def _objection(self, text: str, url: URL) -> str | None:
        host, port = url.raw_host, url.port
        authority = _AUTHORITY_END.split(text.partition("://")[2], maxsplit=1)[0]
        if url.scheme not in self._schemes:
            return f"the scheme must be {' or '.join(sorted(self._schemes))}"
        if not host or port is None:
            return "the host is missing"
        if "@" in authority:
            return "a URL must not carry a user name or password"
        if not any(port in ports for ports in self._ports):
            return f"port {port} is not permitted"
        if "[" in authority and ":" not in host:
            return "only an IPv6 address stands in brackets"
        return self._objection_to_host(host)

    def _objection_to_host(self, host: str) -> str | None:
        if ":" in host or "%" in host:
            return None if self.permits(host) else "the address is not public"
        labels = host.split(".")
        if _NUMERIC_LABEL.fullmatch(labels[-1]):  # every system's resolver has its own idea of 0x7f.1 and 017700000001
            try:
                IPv4Address(host)
            except ValueError:
                return "an IPv4 address is written as four decimal numbers"
            return None if self.permits(host) else "the address is not public"
        if not _NAME.fullmatch(host):
            return "the host is not a name or an address (a trailing dot is not permitted)"
        local = len(labels) == 1 or any(host == name or host.endswith(f".{name}") for name in _LOCAL_NAMES)
        return "the host names a private network" if local and not self._private else None

    def socket(self, addr_info: aiohttp.AddrInfoType) -> socket.socket:
        """The socket for a connection to `addr_info`; aiohttp's ``socket_factory``.

        Raises:
            AddressRefused: The address is not permitted; no socket was made.
        """
        family, kind, protocol, _, sockaddr = addr_info
        scoped = len(sockaddr) == 4 and sockaddr[3] != 0
        if family not in {socket.AF_INET, socket.AF_INET6} or scoped or not self.permits(str(sockaddr[0])):
            raise AddressRefused
        return socket.socket(family=family, type=kind, proto=protocol)

    def connector(self, resolver: AbstractResolver | None = None) -> aiohttp.TCPConnector:
        """A connector that reaches permitted addresses only.

        Names are resolved anew for each connection, and a connection serves one request: a hook sends now and
        then, and a connection the receiver has dropped meanwhile would cost an attempt.
        """
        return aiohttp.TCPConnector(
            resolver=resolver or ThreadedResolver(),
            use_dns_cache=False,
            force_close=True,
            socket_factory=self.socket,
        )


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public Internet, and to nothing that is reached through it."""
    if any(address in network for network in _DECEPTIVE) or not address.is_global:
        return False
    if address.is_multicast or address.is_reserved or address.is_unspecified:
        return False
    return isinstance(address, IPv4Address) or address in _IPV6_UNICAST


def _range(entry: int | str) -> range:
    first, _, last = str(entry).partition("-")
    ports = range(int(first), int(last or first) + 1)
    if not ports or ports[0] < 1 or ports[-1] > 65_535:
        raise ValueError(f"{entry!r} is not a range of ports")
    return ports

"""Nothing leads to an address that is not public."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from orchestrator.errors import InvalidRequest, SettingsError
from orchestrator.notify.egress import AddressRefused, EgressPolicy, EgressSettings, is_public

PRIVATE_V4 = (
    "127.0.0.1",
    "10.1.2.3",
    "172.16.9.9",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",  # noqa: S104 - not bound to
    "192.0.0.8",
)
OPEN = EgressSettings(allow_http=True, ports=("1-65535",))


def spellings(text: str) -> Iterator[str]:
    """Hosts by which one program or another reaches an IPv4 address."""
    address = IPv4Address(text)
    a, b, c, d = address.packed
    number = int(address)
    high, low = number >> 16, number & 0xFFFF
    yield from (text, f"{text}.", str(number), hex(number), hex(number).upper(), f"0{number:o}", f"0x{number:032x}")
    yield from (
        f"{a}.{number & 0xFFFFFF}",
        f"{a}.{b}.{c << 8 | d}",
        f"0x{a:x}.{b}.{c}.{d}",
        f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
    )
    yield from (f"{a:04d}.{b:04d}.{c:04d}.{d:04d}", f"0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}", f"{a + 256}.{b}.{c}.{d}")
    yield text.replace(".", "\u3002")
    yield text.replace(".", "\uff0e")
    yield text.translate({48 + digit: 0xFF10 + digit for digit in range(10)})
    yield text.translate({48 + digit: 0x2460 + digit - 1 for digit in range(1, 10)})
    yield text.replace(".", "%2e")
    yield "".join(f"%{ord(character):02x}" for character in text)
    yield from (f"user@{text}", f"example.org@{text}", f"example.org%40{text}", f"user:word@{text}", f"@{text}")
    yield from (f"example.org\\@{text}", f"{text}\t", f" {text}", f"{text}%00.example.org", f"{text}\r\nX: y")
    yield from (f"[::ffff:{text}]", f"[::ffff:{high:x}:{low:x}]", f"[::{text}]", f"[::ffff:0:{text}]")
    yield from (f"[2002:{high:x}:{low:x}::1]", f"[64:ff9b::{text}]", f"[64:ff9b:1::{high:x}:{low:x}]")
    yield from (f"[2001:0:{high:x}:{low:x}::1]", f"[{text}]", f"[::ffff:{text}%25eth0]")


OTHERS = (
    "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::1%25lo]", "[::1%lo]", "[fe80::1]", "[fe80::1%251]", "[fc00::1]",
    "[fd00:ec2::254]", "[fec0::1]", "[ff02::1]", "[2001:db8::1]", "[3fff::1]", "[100::1]", "[5f00::1]", "[2001:2::1]",
    "[2001:20::1]",
    "localhost", "LOCALHOST", "a.localhost", "localhost.", "printer.local", "db.internal", "intranet", "router.lan",
    "192.88.99.1", "198.18.0.1", "203.0.113.5", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "1.2.3.4.5", "1.2.3", "0", "0x", "127.1", "1.1.1.1.", "[v1.x]", "[::1", "::1", "", ".", "a..b", "-a.org",
)  # fmt: skip

REFUSED = [*(host for text in PRIVATE_V4 for host in spellings(text)), *OTHERS]


def test_number_of_spellings() -> None:
    """The list below is long enough to mean something."""
    assert len(set(REFUSED)) >= 300


@pytest.mark.parametrize("host", REFUSED, ids=lambda host: host.encode("unicode_escape").decode())
def test_spellings_are_refused(host: str) -> None:
    """No spelling of an address that is not public passes the reading of the URL."""
    with pytest.raises(InvalidRequest) as caught:
        EgressPolicy(OPEN).checked(f"http://{host}/hook", "target.url")
    assert caught.value.code == "url_not_allowed"
    assert caught.value.fields == ("target.url",)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/hook", "https://example.org:8443/a?b=c", "https://xn--bcher-kva.example.org/",
        "https://8.8.8.8/", "https://[2606:4700::1111]/x", "https://hooks.example.co.uk", "https://example.org/a@b",
        "https://a_b.example.org/", "https://EXAMPLE.org/", "https://8.8.8.8.example.org/",
    ],
)  # fmt: skip
def test_public_urls_pass(url: str) -> None:
    """Ordinary public URLs are accepted, and reading one twice gives the same."""
    policy = EgressPolicy(EgressSettings())
    assert policy.checked(str(policy.checked(url))) == policy.checked(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/", "ftp://example.org/", "file:///etc/passwd", "gopher://example.org/", "//example.org/",
        "https:example.org", "https:///x", "https://example.org:22/", "https://example.org:0/", "https://example.org:99999/",
        "javascript:x", "https://exa mple.org/", "https://example.org/ü", "https://user:word@example.org/", "x", "",
        "https://example.org/" + "a" * 3000, None, 7, ["https://example.org/"],
    ],
)  # fmt: skip
def test_other_schemes_ports_and_kinds_are_refused(url: object) -> None:
    """By default nothing but https to a permitted port is a URL."""
    with pytest.raises(InvalidRequest):
        EgressPolicy(EgressSettings()).checked(url)


@pytest.mark.parametrize(
    "text", ["127.0.0.1", "::1", "fe80::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "224.0.0.1", "x", "", "::1%lo"]
)
def test_no_socket_for_other_addresses(text: str) -> None:
    """The wall at connect time makes no socket, however the address was come by."""
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    address: tuple[str, int] | tuple[str, int, int, int] = (text, 80, 0, 0) if ":" in text else (text, 80)
    with pytest.raises(AddressRefused):
        EgressPolicy(OPEN).socket((family, socket.SOCK_STREAM, 6, "", address))


def test_no_socket_of_other_kinds() -> None:
    """Neither a scoped address nor one of another family gets a socket."""
    policy = EgressPolicy(OPEN)
    with pytest.raises(AddressRefused):
        policy.socket((socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2606:4700::1111", 80, 0, 2)))
    with pytest.raises(AddressRefused):
        policy.socket((socket.AF_UNIX, socket.SOCK_STREAM, 0, "", ("8.8.8.8", 80)))


def test_public_addresses_get_a_socket() -> None:
    """The wall has a door."""
    EgressPolicy(OPEN).socket((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", 443))).close()


def test_listed_networks_are_permitted() -> None:
    """The operator may list networks; their neighbours and their disguises stay refused."""
    policy = EgressPolicy(EgressSettings(allow_http=True, allow_private=("10.1.2.0/24",), ports=(8000, "9000-9002")))
    assert policy.permits("10.1.2.77")
    assert not policy.permits("10.1.3.1")
    assert not policy.permits("::ffff:10.1.2.77")
    assert policy.checked("http://10.1.2.77:9001/").port == 9001
    assert policy.checked("http://lab:8000/").host == "lab"
    with pytest.raises(InvalidRequest):
        policy.checked("http://10.1.2.77:8001/")


def test_every_ipv4_network_of_the_registry() -> None:
    """The special-purpose networks of IANA are not public, up to their edges; what lies beside them is."""
    special = {
        "0.0.0.0": "0.255.255.255",  # noqa: S104 - not bound to
        "10.0.0.0": "10.255.255.255", "100.64.0.0": "100.127.255.255",
        "127.0.0.0": "127.255.255.255", "169.254.0.0": "169.254.255.255", "172.16.0.0": "172.31.255.255",
        "192.0.0.0": "192.0.0.255", "192.0.2.0": "192.0.2.255", "192.88.99.0": "192.88.99.255",
        "192.168.0.0": "192.168.255.255", "198.18.0.0": "198.19.255.255", "198.51.100.0": "198.51.100.255",
        "203.0.113.0": "203.0.113.255", "224.0.0.0": "255.255.255.255",
    }  # fmt: skip
    for first, last in special.items():
        assert not is_public(IPv4Address(first))
        assert not is_public(IPv4Address(last))
    for first in (
        "11.0.0.0",
        "100.128.0.0",
        "128.0.0.1",
        "169.255.0.0",
        "172.32.0.0",
        "192.0.1.0",
        "198.20.0.0",
        "223.255.255.255",
    ):
        assert is_public(IPv4Address(first))
    assert is_public(IPv6Address("2a00:1450::1"))
    assert not is_public(ip_address("4000::1"))


@pytest.mark.parametrize(
    "settings",
    [
        EgressSettings(ports=("80-70",)),
        EgressSettings(ports=(0,)),
        EgressSettings(ports=("x",)),
        EgressSettings(allow_private=("10.0.0.1/8",)),
        EgressSettings(allow_private=("lan",)),
    ],
)
def test_wrong_settings_are_refused(settings: EgressSettings) -> None:
    """A network or a range that cannot be read does not open the wall by accident."""
    with pytest.raises(SettingsError):
        EgressPolicy(settings)

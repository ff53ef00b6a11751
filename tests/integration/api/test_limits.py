"""Slow, many and broken clients, with bytes over raw sockets."""

from __future__ import annotations

from contextlib import suppress

import anyio
import anyio.abc
import pytest

from orchestrator.api.limits import Limits
from tests.contract.harness import Service, launched

SHORT = Limits(head_s=0.1, body_s=0.1)
HEAD = b"GET /healthz HTTP/1.1\r\nHost: test\r\n"


async def dial(service: Service) -> anyio.abc.SocketStream:
    port = int(service.bound.url.rpartition(":")[2])
    return await anyio.connect_tcp("127.0.0.1", port)


async def everything(stream: anyio.abc.SocketStream) -> bytes:
    """What the server says until it closes."""
    received = b""
    with anyio.fail_after(10):
        while True:
            try:
                received += await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return received


@pytest.mark.parametrize("first", [b"", b"GET /x", HEAD])
async def test_a_head_that_does_not_complete_is_cut(first: bytes) -> None:
    """Silence and a dripped head end the connection in the time a head may take."""
    async with launched(limits=SHORT) as service, await dial(service) as stream:
        if first:
            await stream.send(first)

        async def drip() -> None:
            with suppress(anyio.BrokenResourceError):
                while first:
                    await stream.send(b"x")
                    await anyio.sleep(0.02)

        async with anyio.create_task_group() as group:
            group.start_soon(drip)
            assert await everything(stream) == b""
            group.cancel_scope.cancel()


async def test_a_second_head_is_timed_too() -> None:
    """After an answer the next head has its own time; a quiet kept-alive connection has none of ours."""
    async with launched(limits=SHORT) as service, await dial(service) as stream:
        await stream.send(HEAD + b"\r\n")
        assert b" 200 OK" in await stream.receive()
        await stream.send(b"GET /heal")
        assert await everything(stream) == b""


async def test_a_dripped_body_is_refused_in_time() -> None:
    """A body that does not arrive answers 408, which the vendor's routes call 400."""
    async with launched(limits=SHORT) as service, await dial(service) as stream:
        client = await service.client()
        key = client.session.headers["Authorization"].encode()
        await stream.send(
            b"POST /v0.4/jobs HTTP/1.1\r\nHost: t\r\nAuthorization: " + key + b"\r\nContent-Length: 50\r\n\r\n{"
        )
        with anyio.fail_after(5):
            answer = await stream.receive()
        assert b" 400 " in answer
        assert b"body_timeout" in answer


async def test_connections_are_capped() -> None:
    """Beyond the cap: 503 with Retry-After, and room again when one leaves."""
    async with launched(limits=Limits(connections=2)) as service:
        first, second = await dial(service), await dial(service)
        async with first:
            async with second, await dial(service) as third:
                answer = await everything(third)
                assert answer.startswith(b"HTTP/1.1 503")
                assert b"Retry-After" in answer
            await first.send(HEAD + b"\r\n")
            assert b"200 OK" in await first.receive()
            async with await dial(service) as fourth:
                await fourth.send(HEAD + b"Connection: close\r\n\r\n")
                assert b"200 OK" in await everything(fourth)


async def test_connections_of_one_address_are_capped() -> None:
    """One address cannot take all connections."""
    async with launched(limits=Limits(per_address=1)) as service, await dial(service), await dial(service) as second:
        assert b"503" in await everything(second)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x00\x01\x02\x03\r\n\r\n", b"400"),
        (b"GET\r\n\r\n", b"400"),
        (b"GET /healthz HTTP/1.1\r\nHost: t\r\nContent-Length: x\r\n\r\n", b"400"),
        (b"GET /healthz HTTP/1.1\r\nHost: t\r\nX: " + b"y" * 10_000 + b"\r\n\r\n", b"400"),
        (b"GET /healthz HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b"400"),
        (b"GET /healthz HTTP/2.0\r\nHost: t\r\n\r\n", b"505"),
        (b"GET /v0.4/backends HTTP/3.0\r\nHost: t\r\n\r\n", b"400"),
        (b"GET /healthz HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n", b"200"),
        (b"GET /healthz HTTP/1.0\r\n\r\n", b"200"),
    ],
)
async def test_bytes_that_are_hardly_http(service: Service, sent: bytes, status: bytes) -> None:
    """Refusals in the form of all errors; nothing answers 5xx but an unknown version of HTTP."""
    async with await dial(service) as stream:
        await stream.send(sent)
        with anyio.fail_after(10):
            answer = await everything(stream) if status != b"200" else await stream.receive()
    assert answer.split(b" ", 2)[1] == status
    assert (b'"statusCode"' in answer) == (status != b"200")

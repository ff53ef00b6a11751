"""Webhooks against real receivers."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from standardwebhooks.webhooks import Webhook

from orchestrator.clock import SystemClock
from orchestrator.errors import InvalidRequest
from orchestrator.events import EventKind
from orchestrator.model import Failure
from orchestrator.notify.abc import Attempted, ChannelContext, Verdict
from orchestrator.notify.channels import webhook
from orchestrator.notify.channels.webhook import WebhookChannel
from orchestrator.testing.channel_checks import HOSTILE_NAMES, Bench, notification
from orchestrator.testing.channel_suite import ChannelConformance
from tests.receiver import Receiver, receiving

SETTINGS = {"allow_http": True, "allow_private": ["127.0.0.0/8"], "ports": ["1-65535"]}


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


@asynccontextmanager
async def channel(
    settings: dict[str, Any] | None = None, resolver: AbstractResolver | None = None, clock: Any = None
) -> AsyncIterator[WebhookChannel]:
    made = WebhookChannel(resolver)
    context = ChannelContext(clock=clock or SystemClock(), settings=SETTINGS if settings is None else settings)
    await made.open(context)
    try:
        yield made
    finally:
        await made.aclose()


class TestWebhookChannel(ChannelConformance):
    """The channel keeps the contract."""

    @pytest.fixture
    def bench(self, receiver: Receiver) -> Bench:
        return Bench(
            WebhookChannel,
            settings=SETTINGS,
            good=[{"url": receiver.url}, {"url": receiver.url, "secrets": ["whsec_" + "A" * 32, "whsec_" + "B" * 32]}],
            bad=[
                {"url": "http://10.0.0.1/"},
                {"url": receiver.url, "secret": "whsec_short"},
                {"url": receiver.url, "secrets": "whsec_short"},
                {"url": receiver.url, "secrets": [f"whsec_{letter * 32}" for letter in "ABCDE"]},
            ],
        )


async def test_body_and_signature(receiver: Receiver) -> None:
    """The receiver verifies the message with the convention's own library and reads event and job."""
    async with channel() as hooks:
        target = hooks.check({"url": receiver.url})
        sent = notification(EventKind.JOB_COMPLETED, name="Bell pair")
        assert await hooks.deliver(target, [sent]) == Attempted(verdict=Verdict.DELIVERED, detail="HTTP 204")
    (_, headers, body), *rest = receiver.requests
    assert not rest
    told = Webhook(target["secret"]).verify(body, headers)
    assert headers["webhook-id"] == sent.id
    assert headers["content-type"] == "application/json"
    assert "cookie" not in headers
    assert (told["version"], told["type"], told["timestamp"]) == (1, "job.completed", "2026-01-01T00:00:00.001Z")
    assert told["data"]["event"]["from"] == "started"
    assert told["data"]["event"]["job_id"] == told["data"]["job"]["id"]
    assert told["data"]["job"]["name"] == "Bell pair"
    assert told["data"]["link"] == sent.link


async def test_long_bodies_are_cut(receiver: Receiver) -> None:
    """Whatever a job carries, a body has 64 KiB at most, and says that something is missing."""
    told = notification(failure=Failure(code="SimulationError", message="m" * 50_000))
    assert told.job is not None
    spec = msgspec.structs.replace(told.job.spec, metadata={f"key-{number}": "é" * 40_000 for number in range(10)})
    long = dataclasses.replace(told, job=msgspec.structs.replace(told.job, spec=spec))
    async with channel() as hooks:
        target = hooks.check({"url": receiver.url})
        await hooks.deliver(target, [long, told])
    (_, headers, cut), (_, _, whole) = receiver.requests
    assert len(cut) <= 65_536
    data = Webhook(target["secret"]).verify(cut, headers)["data"]
    assert data["truncated"]
    assert set(data["job"]["metadata"]) == set(spec.metadata or ())
    assert len(data["job"]["failure"]["message"]) == 1_000
    assert "truncated" not in json.loads(whole)["data"]


async def test_same_id_and_body_again(receiver: Receiver) -> None:
    """A repeated attempt has the same id and body, a time of its own, and a signature that fits it."""
    async with channel() as hooks:
        target = hooks.check({"url": receiver.url})
        receiver.says(500)
        assert (await hooks.deliver(target, [notification()])).verdict is Verdict.RETRY
        receiver.says(200)
        assert (await hooks.deliver(target, [notification()])).verdict is Verdict.DELIVERED
    (_, first, first_body), (_, second, second_body) = receiver.requests
    assert first["webhook-id"] == second["webhook-id"]
    assert first_body == second_body
    for headers in (first, second):
        Webhook(target["secret"]).verify(first_body, headers)


async def test_rotation(receiver: Receiver) -> None:
    """Both secrets of a rotation sign, newest first."""
    secrets = ["whsec_" + "A" * 32, "whsec_" + "B" * 32]
    async with channel() as hooks:
        await hooks.deliver(hooks.check({"url": receiver.url, "secrets": secrets}), [notification()])
    _, headers, body = receiver.requests[0]
    for secret in secrets:
        Webhook(secret).verify(body, headers)
    newest = headers["webhook-signature"].split(" ")[0]
    Webhook(secrets[0]).verify(body, {**headers, "webhook-signature": newest})


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.DELIVERED), (202, Verdict.DELIVERED), (299, Verdict.DELIVERED), (301, Verdict.RETRY),
        (304, Verdict.RETRY), (308, Verdict.RETRY), (400, Verdict.RETRY), (401, Verdict.RETRY), (404, Verdict.RETRY),
        (410, Verdict.GONE), (429, Verdict.RETRY), (500, Verdict.RETRY), (503, Verdict.RETRY),
    ],
)  # fmt: skip
async def test_statuses(receiver: Receiver, status: int, verdict: Verdict) -> None:
    """Any 2xx delivers, 410 means gone, all else may work later."""
    receiver.says(status)
    async with channel() as hooks:
        answer = await hooks.deliver(hooks.check({"url": receiver.url}), [notification()])
    assert answer.verdict is verdict
    assert str(status) in answer.detail
    assert len(receiver.requests) == 1


async def test_retry_after_is_passed_on(receiver: Receiver) -> None:
    """A receiver that is busy says when to come again; one that redirects is not listened to."""
    async with channel() as hooks:
        target = hooks.check({"url": receiver.url})
        for status, expected in ((429, 30.0), (503, 30.0), (301, None)):
            receiver.says(status, Retry_After="30")
            assert (await hooks.deliver(target, [notification()])).retry_after_s == expected


async def test_redirects_are_not_followed(receiver: Receiver) -> None:
    """A redirect to anywhere is a failed attempt; only the first request is made."""
    receiver.says(307, Location=f"http://127.0.0.1:{receiver.port}/inside")
    async with channel() as hooks:
        answer = await hooks.deliver(hooks.check({"url": receiver.url}), [notification()])
    assert answer.verdict is Verdict.RETRY
    assert [path for path, _, _ in receiver.requests] == ["/hook"]


async def test_slow_receivers(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A receiver that does not answer costs the time limit and is tried again."""
    monkeypatch.setattr(webhook, "TOTAL_S", 0.1)
    release = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        await release.wait()
        return web.Response()

    receiver.answer = answer
    async with channel() as hooks:
        result = await hooks.deliver(hooks.check({"url": receiver.url}), [notification()])
    release.set()
    assert result.verdict is Verdict.RETRY
    assert "no answer" in result.detail


async def test_endless_answers(receiver: Receiver) -> None:
    """No more than a bounded part of an answer is read, and its status counts."""
    sent = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(headers={"content-encoding": "gzip"})
        await response.prepare(request)
        try:
            while sent < 64 * 2**20:
                await response.write(b"x" * 65_536)
                sent += 65_536
        except ConnectionError:
            pass
        return response

    receiver.answer = answer
    async with channel() as hooks:
        result = await hooks.deliver(hooks.check({"url": receiver.url}), [notification()])
    assert result.verdict is Verdict.DELIVERED
    assert sent < 32 * 2**20


async def test_nobody_listens() -> None:
    """A refused connection is tried again."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with channel() as hooks:
        answer = await hooks.deliver(hooks.check({"url": f"http://127.0.0.1:{port}/"}), [notification()])
    assert answer == Attempted(verdict=Verdict.RETRY, detail="could not connect")


@pytest.mark.parametrize(
    "reply", [b"", b"SMTP ready\r\n\r\n", b"HTTP/1.1 200 OK\r\nx: " + b"y" * 99_999, b"HTTP/1.1 999999 x\r\n\r\n"]
)
async def test_nonsense_is_tried_again(reply: bytes) -> None:
    """Whatever a receiver sends that is not HTTP, the attempt ends in order."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server, channel() as hooks:
        port = server.sockets[0].getsockname()[1]
        answer = await hooks.deliver(hooks.check({"url": f"http://127.0.0.1:{port}/"}), [notification()])
    assert answer.verdict is Verdict.RETRY


class Rebinding(AbstractResolver):
    """Every name is a public address when looked at, and another one when connected to."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked += 1
        return [
            ResolveResult(
                hostname=host, host=address, port=port, proto=0, flags=0,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
            )
            for address in self.addresses
        ]  # fmt: skip

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(
    "addresses", [("127.0.0.1",), ("::ffff:127.0.0.1",), ("::1", "127.0.0.1"), ("169.254.1.1", "127.0.0.1")]
)
async def test_rebinding(receiver: Receiver, addresses: tuple[str, ...]) -> None:
    """A name that turns out to be inside is refused at the connection; not one byte arrives."""
    resolver = Rebinding(*addresses)
    settings = {"allow_http": True, "ports": ["1-65535"]}
    async with channel(settings, resolver) as hooks:
        target = hooks.check({"url": f"http://rebind.example.org:{receiver.port}/"})
        for _ in range(2):
            answer = await hooks.deliver(target, [notification()])
            assert answer == Attempted(verdict=Verdict.RETRY, detail="the address is not public")
    assert resolver.asked == 2
    assert receiver.requests == []


async def test_literals_meet_the_wall_too(receiver: Receiver) -> None:
    """Even if a URL passed the reading, a literal address, which no resolver sees, is refused at the connection."""
    hooks = WebhookChannel()
    await hooks.open(ChannelContext(clock=SystemClock(), settings={"allow_http": True, "ports": ["1-65535"]}))
    try:
        for host in ("127.0.0.1", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "localhost", "127.1"):
            answer = await hooks._post(f"http://{host}:{receiver.port}/", b"{}", {})
            assert answer.verdict is Verdict.RETRY, host
    finally:
        await hooks.aclose()
    assert receiver.requests == []


async def test_settings_that_changed(receiver: Receiver) -> None:
    """A stored target that the settings no longer permit is rejected without a connection."""
    async with channel() as hooks:
        target = hooks.check({"url": receiver.url})
    async with channel({}) as hooks:
        answer = await hooks.deliver(target, [notification()])
    assert answer.verdict is Verdict.REJECTED
    assert target["secret"] not in answer.detail
    assert receiver.requests == []


async def test_the_environment_changes_nothing(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxies named by the environment are not used."""
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{receiver.port}")
    monkeypatch.delenv("no_proxy", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with channel() as hooks:
        answer = await hooks.deliver(hooks.check({"url": f"http://127.0.0.1:{port}/"}), [notification()])
    assert answer.verdict is Verdict.RETRY
    assert receiver.requests == []


async def test_names_stay_data(receiver: Receiver) -> None:
    """Whatever a job is called, it arrives unchanged as a value and nowhere else."""
    async with channel() as hooks:
        target = hooks.check({"url": receiver.url})
        for name in HOSTILE_NAMES:
            await hooks.deliver(target, [notification(name=name)])
    assert [json.loads(body)["data"]["job"]["name"] for _, _, body in receiver.requests] == list(HOSTILE_NAMES)
    assert len({tuple(sorted(headers)) for _, headers, _ in receiver.requests}) == 1


def test_a_secret_is_never_repeated_in_errors() -> None:
    """A refusal of a secret does not echo it."""
    with pytest.raises(InvalidRequest) as caught:
        WebhookChannel().check({"url": "https://example.org/", "secret": "hunter2"})
    assert "hunter2" not in str(caught.value)

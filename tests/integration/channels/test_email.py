"""Mail over a real mail server, with all its moods."""

from __future__ import annotations

import asyncio
import dataclasses
import ssl
import struct
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
import trustme
from aiosmtpd.smtp import SMTP

from orchestrator.clock import Clock, SystemClock
from orchestrator.errors import InvalidRequest, SettingsError
from orchestrator.events import EventKind
from orchestrator.lifecycle import JobStatus
from orchestrator.model import Failure, Result
from orchestrator.notify.abc import Attempted, ChannelContext, Notification, Part, Verdict
from orchestrator.notify.channels.email import EmailChannel
from orchestrator.testing.channel_checks import HOSTILE_NAMES, Bench, notification
from orchestrator.testing.channel_suite import ChannelConformance
from orchestrator.testing.clock import ManualClock
from tests.mail import MailServer, mail_server

TO = {"to": "ada@example.org"}
BELL = Result(qubits=2, probabilities={0: 0.5, 3: 0.5}, counts={0: 500, 3: 500})


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with mail_server() as made:
        yield made


def settings(port: int, /, **more: Any) -> dict[str, Any]:
    return {
        "host": "127.0.0.1", "port": port, "security": "none", "sender": "cloud@example.org",
        "recipients": ["ada@example.org", "@lab.example.org"], "limit_s": 5.0,
    } | more  # fmt: skip


@asynccontextmanager
async def channel(table: dict[str, Any], clock: Clock | None = None) -> AsyncIterator[EmailChannel]:
    made = EmailChannel()
    await made.open(ChannelContext(clock=clock or SystemClock(), settings=table))
    try:
        yield made
    finally:
        await made.aclose()


class TestEmailChannel(ChannelConformance):
    """The channel keeps the contract."""

    @pytest.fixture
    def bench(self, server: MailServer) -> Bench:
        return Bench(
            EmailChannel,
            settings=settings(server.port),
            good=[TO, {"to": "grace.hopper+jobs@lab.example.org"}],
            bad=[{"to": text} for text in WRONG],
        )


WRONG: list[Any] = [
    "",
    "ada",
    "@example.org",
    "ada@",
    "ada@example.org,eve@example.org",
    "ada@example.org, eve@example.org",
    "ada@example.org;eve@example.org",
    "ada@example.org eve@example.org",
    "Ada <ada@example.org>",
    "<ada@example.org>",
    "ada@example.org\r\nBcc: eve@example.org",
    "ada@example.org\n",
    "\nada@example.org",
    "ada@example.org\x00",
    '"ada"@example.org',
    "ada(comment)@example.org",
    "ada@[127.0.0.1]",
    "eve%example.net@example.org@",
    "ada@example.org>",
    ".ada@example.org",
    "ada..b@example.org",
    "ada@-example.org",
    "ada@example..org",
    "ada@exämple.org",
    "ådа@example.org",
    "eve@example.org",
    "ada@sub.lab.example.org",
    "ada@lab.example.org.evil.net",
    "@hop:ada@example.org",
    7,
    None,
    ["ada@example.org"],
    ["ada@example.org", "eve@example.org"],
    "a" * 65 + "@lab.example.org",
    {"a": "b"},
]


@pytest.mark.parametrize("text", WRONG, ids=repr)
async def test_one_permitted_address(server: MailServer, text: Any) -> None:
    """A target is exactly one plain address that the operator has listed; a stored one is held to that again."""
    async with channel(settings(server.port)) as mails:
        with pytest.raises(InvalidRequest) as caught:
            mails.check({"to": text})
        assert caught.value.code == "invalid_address"
        assert (await mails.deliver({"to": text}, [notification()])).verdict is Verdict.REJECTED
    assert server.attempts == 0


async def test_a_completed_job(server: MailServer) -> None:
    """The mail has text, HTML and the histogram inside, a link, and headers that tell machines what it is."""
    done = notification(EventKind.JOB_COMPLETED, result=BELL)
    async with channel(settings(server.port)) as mails:
        answer = await mails.deliver(mails.check(TO), [done])
    assert answer == Attempted(verdict=Verdict.DELIVERED, detail="250 2.0.0 queued as 1A2B")
    (mail,) = server.kept
    assert server.envelopes == [("cloud@example.org", ["ada@example.org"])]
    assert mail["message-id"] == f"<{done.id}@example.org>"
    assert mail["auto-submitted"] == "auto-generated"
    assert mail["subject"] == "Job completed: Bell pair"
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert html is not None
    assert " 50.0 %" in text.get_content()
    assert done.link in text.get_content()
    assert done.link in html.get_content()
    (picture,) = [part for part in mail.walk() if part.get_content_type() == "image/png"]
    assert f"cid:{picture['content-id'].strip('<>')}" in html.get_content()
    assert "http" not in html.get_content().replace(str(done.link), "")
    png = picture.get_content()
    width, height, depth, colours = struct.unpack(">IIBB", png[16:26])
    start = png.index(b"IDAT") + 4
    size = int.from_bytes(png[start - 8 : start - 4])
    assert len(zlib.decompress(png[start : start + size])) == height * (1 + 3 * width)
    assert (depth, colours) == (8, 2)


def family(kind: EventKind, *parts: Part, **ended: int) -> Notification:
    """A notification of a multi-circuit job."""
    told = notification(kind, name="sweep")
    assert told.job is not None
    job = msgspec.structs.replace(told.job, children=sum(ended.values()))
    counts = {JobStatus(status): number for status, number in ended.items()}
    return dataclasses.replace(told, job=job, parts=parts, ended=counts)


def part(number: int, kind: EventKind, result: Result | None = None) -> Part:
    child = notification(kind, number=number, name=None).job
    assert child is not None
    return Part(msgspec.structs.replace(child, child_index=number), result)


async def test_a_job_of_several_circuits(server: MailServer) -> None:
    """The mail tells how its circuits ended, and of the first few each one's histogram or failure."""
    first, second = part(0, EventKind.JOB_COMPLETED, BELL), part(1, EventKind.JOB_COMPLETED, BELL)
    third = part(2, EventKind.JOB_FAILED)
    told = [
        (family(EventKind.JOB_COMPLETED, first, second, completed=1_048), 2, "1,048: 1,048 completed", "1,046"),
        (family(EventKind.JOB_FAILED, first, third, completed=1, failed=1, canceled=9), 1, "11: 1 completed", "9"),
    ]
    async with channel(settings(server.port)) as mails:
        for notified, *_ in told:
            await mails.deliver(mails.check(TO), [notified])
    for mail, (_, pictures, counts, rest) in zip(server.kept, told, strict=True):
        text, html = mail.get_body(("plain",)), mail.get_body(("html",))
        assert text is not None
        assert html is not None
        shown = [each["content-id"].strip("<>") for each in mail.walk() if each.get_content_type() == "image/png"]
        assert len(set(shown)) == pictures
        assert all(f"cid:{cid}" in html.get_content() for cid in shown)
        assert text.get_content().count(" 50.0 %") == 2 * pictures
        for body in (text.get_content(), html.get_content()):
            assert "Circuit 1" in body
            assert f"{rest} more circuits" in body
            assert counts in body
            assert ("no memory" in body) == ("Circuit 3" in body) == (pictures == 1)


async def test_a_failed_job(server: MailServer) -> None:
    """The mail says code and message."""
    failure = Failure(code="NotEnoughQubits", message="31 qubits are wanted,\n25 are there <&>")
    async with channel(settings(server.port)) as mails:
        await mails.deliver(mails.check(TO), [notification(failure=failure)])
    (mail,) = server.kept
    assert mail["subject"] == "Job failed (NotEnoughQubits): Bell pair"
    for kind, escaped in (("plain", "25 are there <&>"), ("html", "25 are there &lt;&amp;&gt;")):
        body = mail.get_body((kind,))
        assert body is not None
        assert "NotEnoughQubits" in body.get_content()
        assert escaped in body.get_content()


async def test_digest(server: MailServer) -> None:
    """Several notifications make one mail that tells each, with what came out or why nothing did, and its link; its
    Message-ID follows from theirs, in any order.
    """
    several = [notification(EventKind.JOB_COMPLETED, number=1, name="first", result=BELL)]
    several += [notification(number=number, name=f"job {number}") for number in range(2, 70)]
    async with channel(settings(server.port)) as mails:
        await mails.deliver(mails.check(TO), several)
        await mails.deliver(mails.check(TO), list(reversed(several)))
        await mails.deliver(mails.check(TO), several[1:])
    first, again, other = server.kept
    assert first["message-id"] == again["message-id"] != other["message-id"]
    assert first["subject"] == "Ion trap lab: 69 jobs: 68 failed, 1 completed"
    for kind, entry in (("plain", "SimulationError: no memory"), ("html", "SimulationError</span>&nbsp; no memory")):
        body = first.get_body((kind,))
        assert body is not None
        told = body.get_content()
        assert "and 19 more" in told
        assert "00 50.0 %, 11 50.0 %" in told
        assert told.count(entry) == 49
        assert [str(each.link) in told for each in several] == [True] * 50 + [False] * 19


MOODS = [
    ("MAIL 421 4.3.2 shutting down", Verdict.RETRY),
    ("MAIL 530 5.7.0 authenticate first", Verdict.RETRY),
    ("MAIL 550 5.7.1 not you", Verdict.REJECTED),
    ("RCPT 450 4.2.0 greylisted", Verdict.RETRY),
    ("RCPT 550 5.1.1 no such user", Verdict.REJECTED),
    ("DATA 451 4.3.0 later", Verdict.RETRY),
    ("DATA 554 5.6.0 not this", Verdict.REJECTED),
    ("drop before", Verdict.RETRY),
    ("drop after", Verdict.RETRY),
]


@pytest.mark.parametrize(("mood", "verdict"), MOODS, ids=[mood for mood, _ in MOODS])
async def test_moods(server: MailServer, mood: str, verdict: Verdict) -> None:
    """Refusals for now and broken connections are tried again, refusals for good are not."""
    server.moods = [mood]
    async with channel(settings(server.port)) as mails:
        answer = await mails.deliver(mails.check(TO), [notification()])
    assert answer.verdict is verdict
    assert mood.split()[1] in answer.detail or "broke" in answer.detail


async def test_exactly_one_mail(server: MailServer) -> None:
    """Refused, greylisted, dropped, then accepted: the mail is there once, under its id."""
    server.moods = ["MAIL 421 busy", "RCPT 451 greylisted", "DATA 451 later", "drop before"]
    async with channel(settings(server.port)) as mails:
        target = mails.check(TO)
        verdicts = [(await mails.deliver(target, [notification()])).verdict for _ in range(5)]
    assert verdicts == [Verdict.RETRY] * 4 + [Verdict.DELIVERED]
    assert [mail["message-id"] for mail in server.kept] == ["<msg_epoch_1_hook@example.org>"]


async def test_a_duplicate_is_recognisable(server: MailServer) -> None:
    """If the server kept the mail but its answer was lost, the repetition has the same Message-ID."""
    server.moods = ["drop after"]
    async with channel(settings(server.port)) as mails:
        target = mails.check(TO)
        assert (await mails.deliver(target, [notification()])).verdict is Verdict.RETRY
        assert (await mails.deliver(target, [notification()])).verdict is Verdict.DELIVERED
    assert len({mail["message-id"] for mail in server.kept}) == 1


async def test_hanging_up_after_the_answer(server: MailServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the mail is acknowledged, a connection that breaks changes nothing."""

    async def smtp_quit(self: SMTP, arg: str) -> None:
        assert isinstance(self.transport, asyncio.Transport)
        self.transport.abort()

    monkeypatch.setattr(SMTP, "smtp_QUIT", smtp_quit)
    async with channel(settings(server.port)) as mails:
        assert (await mails.deliver(mails.check(TO), [notification()])).verdict is Verdict.DELIVERED


async def test_a_server_that_is_silent() -> None:
    """A server that says nothing costs the limit; one that is not there, nothing."""
    async with await asyncio.start_server(_silent, "127.0.0.1", 0) as silent:
        port = silent.sockets[0].getsockname()[1]
        async with channel(settings(port, limit_s=0.1)) as mails:
            assert (await mails.deliver(mails.check(TO), [notification()])).verdict is Verdict.RETRY
    async with channel(settings(port)) as mails:
        answer = await mails.deliver(mails.check(TO), [notification()])
    assert answer.verdict is Verdict.RETRY
    assert "could not connect" in answer.detail


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


HEADERS = {
    "from", "to", "subject", "date", "message-id", "references", "auto-submitted", "x-auto-response-suppress",
    "mime-version", "content-type",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=lambda name: name[:24].encode("unicode_escape").decode())
async def test_no_header_is_injected(server: MailServer, name: str) -> None:
    """Whatever a job, a project or a failure is called: the same headers, one recipient, lines of legal length."""
    failure = Failure(code=name, message=name)
    hostile = notification(name=name, failure=failure)
    async with channel(settings(server.port, sender_name=name or "x")) as mails:
        await mails.deliver(mails.check(TO), [hostile])
        await mails.deliver(mails.check(TO), [hostile, notification(number=2, name=name)])
    assert [recipients for _, recipients in server.envelopes] == [["ada@example.org"]] * 2
    for mail in server.kept:
        assert {header.lower() for header in mail.keys()} <= HEADERS  # noqa: SIM118 - messages are no mappings
        assert len(mail.keys()) == len(set(mail.keys()))
        assert mail["to"] == "ada@example.org"
        assert [address.addr_spec for address in mail["from"].addresses] == ["cloud@example.org"]
        assert len(mail["subject"]) < 200
        assert not any(char in mail["subject"] for char in "\r\n\x0b\x0c\x1c\x85\u2028\u2029\u202e\u2066")
        assert "=?" not in mail["subject"]
        assert not mail.defects
        html = mail.get_body(("html",))
        assert html is not None
        assert "<script" not in html.get_content()
        assert "<img" not in html.get_content()
    assert max(len(line) for line in server.lines) <= 998
    assert not any(line.lower().startswith((b"bcc:", b"cc:")) for line in server.lines)


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def context(authority: trustme.CA) -> ssl.SSLContext:
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(made)
    return made


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


async def test_starttls_and_login(context: ssl.SSLContext, ca_file: str, tmp_path: Path) -> None:
    """Over STARTTLS, logged in with a password from a file."""
    secret = tmp_path / "password"
    secret.write_text("correct horse\n")
    options = {"tls_context": context, "require_starttls": True, "auth_required": True}
    async with mail_server(**options) as server:
        table = settings(server.port, security="starttls", ca_file=ca_file, username="cloud", password_file=str(secret))
        async with channel(table) as mails:
            assert (await mails.deliver(mails.check(TO), [notification()])).verdict is Verdict.DELIVERED
    assert server.encrypted == [True]
    assert server.users == [b"cloud"]


async def test_tls(context: ssl.SSLContext, ca_file: str) -> None:
    """Over TLS from the first byte."""
    async with (
        mail_server(implicit_tls=context) as server,
        channel(settings(server.port, security="tls", ca_file=ca_file)) as mails,
    ):
        assert (await mails.deliver(mails.check(TO), [notification()])).verdict is Verdict.DELIVERED
    assert len(server.kept) == 1


@pytest.mark.parametrize("security", ["tls", "starttls"])
async def test_no_mail_without_the_encryption_asked_for(server: MailServer, security: str) -> None:
    """A server that cannot encrypt gets no mail; it may learn to."""
    async with channel(settings(server.port, security=security)) as mails:
        assert (await mails.deliver(mails.check(TO), [notification()])).verdict is Verdict.RETRY
    assert server.attempts == 0


async def test_certificates_are_checked(context: ssl.SSLContext) -> None:
    """A certificate nobody vouches for ends the conversation."""
    async with (
        mail_server(tls_context=context) as server,
        channel(settings(server.port, security="starttls")) as mails,
    ):
        assert (await mails.deliver(mails.check(TO), [notification()])).verdict is Verdict.RETRY
    assert server.attempts == 0


async def test_rates(server: MailServer) -> None:
    """Mails of a project and to a recipient are counted; who is over waits, and is told how long."""
    clock = ManualClock()
    async with channel(settings(server.port, per_project_per_hour=4, per_recipient_per_hour=2), clock) as mails:
        ada, grace, alan = TO, {"to": "grace@lab.example.org"}, {"to": "alan@lab.example.org"}
        for target, verdict in ((ada, "delivered"), (ada, "delivered"), (ada, "retry"), (grace, "delivered"),
                                (alan, "delivered"), (alan, "retry")):  # fmt: skip
            answer = await mails.deliver(target, [notification()])
            assert answer.verdict == verdict
        assert answer.retry_after_s == pytest.approx(900)
        clock.advance(900)
        assert (await mails.deliver(alan, [notification()])).verdict is Verdict.DELIVERED
    assert len(server.kept) == 5


async def test_cancelled_while_parting(server: MailServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cancellation after the server's acknowledgement does not turn a sent mail into an unsent one."""
    parting = asyncio.Event()
    original: Callable[[SMTP, str], Any] = SMTP.smtp_QUIT

    async def smtp_quit(self: SMTP, arg: str) -> None:
        parting.set()
        await asyncio.sleep(0)
        await original(self, arg)

    monkeypatch.setattr(SMTP, "smtp_QUIT", smtp_quit)
    answers: list[Attempted] = []
    async with channel(settings(server.port)) as mails, anyio.create_task_group() as tasks:

        async def deliver() -> None:
            answers.append(await mails.deliver(mails.check(TO), [notification()]))

        tasks.start_soon(deliver)
        await parting.wait()
        tasks.cancel_scope.cancel()
    assert [answer.verdict for answer in answers] == [Verdict.DELIVERED]


@pytest.mark.parametrize(
    "more",
    [
        {"sender": "nobody"}, {"sender": "a@b.org, c@d.org"}, {"recipients": ["*"]}, {"recipients": ["@"]},
        {"username": "cloud", "password": "word"}, {"security": "ssl"}, {"port": 70_000},
        {"password": "a", "password_file": "b"}, {"security": "tls", "ca_file": "missing.pem"},
        {"password_file": "missing"}, {"recipient": []},
    ],
    ids=str,
)  # fmt: skip
async def test_wrong_settings(more: dict[str, Any]) -> None:
    """Settings that are wrong or dangerous are refused when the channel opens, without telling the password."""
    with pytest.raises(SettingsError) as caught:
        async with channel(settings(25, **more)):
            pass
    assert "word'" not in str(caught.value)


async def test_without_settings() -> None:
    """Unconfigured, the channel opens, refuses hooks and keeps what it is given for later."""
    async with channel({}) as mails:
        with pytest.raises(InvalidRequest, match="no mail server"):
            mails.check(TO)
        assert (await mails.deliver(TO, [notification()])).verdict is Verdict.RETRY

"""Mails of a real server that is killed when its mail server has acknowledged one, and nothing of that is kept yet."""

from __future__ import annotations

import asyncio
import email
import email.policy
import signal
import threading
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from orchestrator import Circuit, Gate
from orchestrator.client import SyncClient

if TYPE_CHECKING:
    from tests.integration.cli.conftest import Run, Serve, Server

WIDE = Circuit(qubits=40, gates=tuple(Gate("h", (qubit,)) for qubit in range(40)))
SETTINGS = """
[channels.email]
host = "127.0.0.1"
port = {port}
security = "none"
sender = "cloud@example.org"
recipients = ["ada@example.org"]
digest_s = 1
"""
_LIMIT_S = 30.0


class PostOffice:
    """Acknowledges each mail once it is let; then, at the sender's farewell, kills the sender if one is named."""

    def __init__(self) -> None:
        self.mails: Queue[EmailMessage] = Queue()
        self.victim: Server | None = None
        self._let = threading.Semaphore(0)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.put(mail)
        assert await asyncio.to_thread(self._let.acquire, timeout=_LIMIT_S)
        return "250 2.0.0 queued"

    async def handle_QUIT(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.victim is not None:
            self.victim.process.send_signal(signal.SIGKILL)
        return "221 Bye"

    def received(self) -> EmailMessage:
        return self.mails.get(timeout=_LIMIT_S)

    def acknowledge(self, victim: Server | None = None) -> None:
        """Acknowledge the mail that waits for it, and wait for the victim's end."""
        self.victim = victim
        self._let.release()
        if victim is not None:
            assert victim.process.wait(_LIMIT_S) == -signal.SIGKILL
            self.victim = None


@pytest.fixture
def office(free_tcp_port: int) -> Iterator[tuple[PostOffice, int]]:
    made = PostOffice()
    controller = Controller(made, hostname="127.0.0.1", port=free_tcp_port)
    controller.start()
    yield made, free_tcp_port
    controller.stop()


def told(mail: EmailMessage) -> str:
    body = mail.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


def test_an_acknowledged_digest_comes_again_as_the_very_same(
    run: Run, serve: Serve, office: tuple[PostOffice, int], tmp_path: Path
) -> None:
    """Killed between the acknowledgement and its record, of a mail about one job and of a digest, with more to tell
    meanwhile: what was acknowledged comes again under its Message-ID with the same jobs, and no job under two.
    """
    posts, port = office
    settings = tmp_path / "settings.toml"
    settings.write_text(SETTINGS.format(port=port))
    options = ("--config", str(settings), "--log-level", "ERROR")
    variables = {"ORCHESTRATOR_BOOTSTRAP_KEY": "a-key-over-several-lives"}

    def fail(server: Server, name: str) -> None:
        with SyncClient(server.url, variables["ORCHESTRATOR_BOOTSTRAP_KEY"]) as client:
            job_id = client.submit(WIDE, name=name)
            assert client.wait(job_id, timeout_s=_LIMIT_S).status == "failed"

    server = serve(None, *options, **variables)
    assert run("hooks", "add", "email", "to=ada@example.org", "--data", str(server.data)).code == 0
    fail(server, "first")
    mails = [posts.received()]
    fail(server, "second")
    fail(server, "third")
    posts.acknowledge(server)

    server = serve(server.data, *options, **variables)
    mails.append(posts.received())
    posts.acknowledge()
    mails.append(posts.received())
    fail(server, "fourth")
    posts.acknowledge(server)

    server = serve(server.data, *options, **variables)
    mails.append(posts.received())
    posts.acknowledge()
    mails.append(posts.received())
    posts.acknowledge()
    assert server.stop()[0] == 0
    assert posts.mails.empty()

    ids = [mail["Message-ID"] for mail in mails]
    assert ids == [ids[0], ids[0], ids[2], ids[2], ids[4]]
    assert len(set(ids)) == 3
    jobs = [{name for name in ("first", "second", "third", "fourth") if name in told(mail)} for mail in mails]
    assert jobs == [{"first"}, {"first"}, {"second", "third"}, {"second", "third"}, {"fourth"}]
    assert told(mails[2]) == told(mails[3])
    assert run("verify", "--data", str(server.data)).code == 0

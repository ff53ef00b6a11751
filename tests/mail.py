"""A mail server for tests: aiosmtpd, with moods."""

from __future__ import annotations

import asyncio
import email
import email.policy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


class MailServer:
    """Keeps the mails it acknowledged. `moods` says what becomes of the next ones, one entry each.

    An entry is an answer to a command (``"RCPT 451 4.7.1 greylisted"``), ``"drop before"`` or ``"drop after"``: the
    connection is cut without an answer before or after the mail was kept.
    """

    def __init__(self) -> None:
        self.kept: list[EmailMessage] = []
        self.envelopes: list[tuple[str | None, list[str]]] = []
        self.lines: list[bytes] = []
        self.moods: list[str] = []
        self.attempts = 0
        self.users: list[bytes] = []
        self.encrypted: list[bool] = []
        self.port = 0

    def _answer(self, command: str) -> str | None:
        if self.moods and self.moods[0].startswith(command):
            return self.moods.pop(0).removeprefix(command).strip()
        return None

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.attempts += 1
        self.encrypted.append(session.ssl is not None)
        answer = self._answer("MAIL")
        if answer is None:
            envelope.mail_from = address
        return answer or "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = self._answer("RCPT")
        if answer is None:
            envelope.rcpt_tos.append(address)
        return answer or "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        answer = self._answer("DATA")
        if answer is not None:
            return answer
        drop = self._answer("drop")
        if drop != "before":
            assert isinstance(envelope.content, bytes)
            parsed = email.message_from_bytes(envelope.content, policy=email.policy.default)
            assert isinstance(parsed, EmailMessage)
            self.kept.append(parsed)
            self.envelopes.append((envelope.mail_from, list(envelope.rcpt_tos)))
            self.lines += envelope.content.split(b"\r\n")
        if drop is not None:
            assert isinstance(server.transport, asyncio.Transport)
            server.transport.abort()
        return "250 2.0.0 queued as 1A2B"

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        good = isinstance(data, LoginPassword) and data.password == b"correct horse"
        if good:
            self.users.append(data.login)
        return AuthResult(success=good, handled=good)


@asynccontextmanager
async def mail_server(**options: Any) -> AsyncIterator[MailServer]:
    made = MailServer()
    loop = asyncio.get_running_loop()
    tls = options.pop("implicit_tls", None)
    server = await loop.create_server(
        lambda: SMTP(made, hostname="mail.test", loop=loop, authenticator=made.authenticate, **options),
        "127.0.0.1",
        0,
        ssl=tls,
    )
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await server.wait_closed()

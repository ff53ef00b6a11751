"""One mail, one conversation with the mail server, one verdict.

The server's answer to the end of the mail decides. Before it nothing was sent: a refusal of the connection, of the
log-in or for now (4xx) is worth another attempt, a refusal of this mail (5xx) is not. After it the mail is sent,
whatever happens to the connection. If the connection breaks while waiting for that answer nobody can know, and the
mail is sent again under the same Message-ID.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP as WIRE
from typing import Final, Literal

import aiosmtplib
import anyio

from orchestrator.notify.abc import Attempted, Verdict
from orchestrator.notify.channels.wording import clean

_QUIT_S: Final = 2.0
#: "Authentication required": the configuration's fault, not the mail's.
_AUTHENTICATE: Final = 530


@dataclass(frozen=True, kw_only=True)
class Server:
    """A mail server and how to talk to it.

    Attributes:
        security: ``starttls`` insists on the upgrade; ``none`` is for a relay on this machine.
        limit_s: Longest conversation.
    """

    host: str
    port: int
    security: Literal["tls", "starttls", "none"]
    local_hostname: str
    limit_s: float
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None

    def connection(self) -> aiosmtplib.SMTP:
        """A connection, not yet made."""
        return aiosmtplib.SMTP(
            hostname=self.host,
            port=self.port,
            use_tls=self.security == "tls",
            start_tls=self.security == "starttls",
            tls_context=self.tls,
            username=self.username,
            password=self.password,
            local_hostname=self.local_hostname,
            timeout=self.limit_s,
        )


async def send(server: Server, message: EmailMessage, *, sender: str, recipient: str) -> Attempted:
    """Hand a mail over."""
    connection = server.connection()
    try:
        with anyio.move_on_after(server.limit_s):
            return await _conversation(connection, message.as_bytes(policy=WIRE), sender, recipient)
        return Attempted(verdict=Verdict.RETRY, detail=f"the mail server took longer than {server.limit_s:g} s")
    finally:
        connection.close()


async def _conversation(connection: aiosmtplib.SMTP, content: bytes, sender: str, recipient: str) -> Attempted:
    try:
        await connection.connect()
    except aiosmtplib.SMTPResponseException as error:
        return _answer(Verdict.RETRY, error.code, error.message)
    except (aiosmtplib.SMTPException, OSError) as error:
        return Attempted(verdict=Verdict.RETRY, detail=f"could not connect: {type(error).__name__}")
    try:
        _, answer = await connection.sendmail(sender, recipient, content)
    except aiosmtplib.SMTPRecipientsRefused as error:
        refused = error.recipients[0]
        return _answer(_verdict(refused.code), refused.code, refused.message)
    except aiosmtplib.SMTPHeloError as error:
        return _answer(Verdict.RETRY, error.code, error.message)
    except aiosmtplib.SMTPResponseException as error:
        return _answer(_verdict(error.code), error.code, error.message)
    except (aiosmtplib.SMTPException, OSError) as error:
        return Attempted(verdict=Verdict.RETRY, detail=f"the connection broke: {type(error).__name__}")
    await _leave(connection)
    return _answer(Verdict.DELIVERED, 250, answer)


async def _leave(connection: aiosmtplib.SMTP) -> None:
    """Part politely; neither a failure nor a cancellation may make a sent mail look unsent."""
    with anyio.move_on_after(_QUIT_S, shield=True):
        try:
            await connection.quit()
        except (aiosmtplib.SMTPException, OSError):
            return  # it hung up first


def _verdict(code: int) -> Verdict:
    return Verdict.REJECTED if 500 <= code < 600 and code != _AUTHENTICATE else Verdict.RETRY


def _answer(verdict: Verdict, code: int, text: str) -> Attempted:
    return Attempted(verdict=verdict, detail=clean(f"{code} {text}", 200))

"""The e-mail channel: plain text and HTML with the histogram, over SMTP."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from email.headerregistry import Address
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

import anyio
import anyio.to_thread
import msgspec

from orchestrator.clock import SystemClock
from orchestrator.errors import InvalidRequest, SettingsError
from orchestrator.notify.abc import Attempted, Channel, ChannelContext, Notification, Verdict
from orchestrator.notify.channels import mail, smtp
from orchestrator.notify.channels.addresses import Recipients, parsed
from orchestrator.notify.channels.rate import Rate
from orchestrator.notify.channels.tables import read_settings, refuse_unknown
from orchestrator.notify.channels.wording import clean

#: Beside the conversation: drawing the picture, and parting from the server.
_SLACK_S: Final = 5.0
_PORTS: Final = {"tls": 465, "starttls": 587, "none": 25}


class EmailSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The mail server, who writes and who may be written to.

    Attributes:
        host: Mail server; without one the channel refuses hooks.
        port: 0 for the usual one of `security`: 465, 587 or 25.
        security: ``tls`` from the first byte, ``starttls`` (refused if the server cannot), or ``none``.
        ca_file: Certificates to trust instead of the system's.
        username: Log in under this name; needs ``tls`` or ``starttls``.
        password: Best given by the environment, never both this and `password_file`.
        password_file: A file whose first line is the password.
        sender: The address mails come from.
        sender_name: The name beside it.
        recipients: Addresses (``ada@example.org``) and domains (``@example.org``) that may be written to.
        digest_s: Gather further mails to the same address for this long; 0 sends each alone.
        limit_s: Longest conversation with the server.
        per_project_per_hour: Most mails of one project; `per_recipient_per_hour` to one address.
    """

    host: str = ""
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 0
    security: Literal["tls", "starttls", "none"] = "starttls"
    ca_file: str = ""
    username: str = ""
    password: str = ""
    password_file: str = ""
    sender: str = ""
    sender_name: str = "ion-orchestrator"
    recipients: tuple[str, ...] = ()
    digest_s: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 60.0
    limit_s: Annotated[float, msgspec.Meta(gt=0, le=600)] = 60.0
    per_project_per_hour: Annotated[int, msgspec.Meta(ge=1)] = 120
    per_recipient_per_hour: Annotated[int, msgspec.Meta(ge=1)] = 60


class EmailChannel(Channel):
    """Mails to the one address of the target, ``{"to": "ada@example.org"}``.

    Only recipients on the operator's list are written to; the list is asked again at each attempt.
    """

    name: ClassVar[str] = "email"
    wants_results: ClassVar[bool] = True

    def __init__(self) -> None:
        self._server: smtp.Server | None = None
        self._sender = Address()
        self._configure(ChannelContext(clock=SystemClock()), EmailSettings(), None)

    async def open(self, context: ChannelContext) -> None:
        settings = read_settings(context.settings, EmailSettings, self.name)
        server = await anyio.to_thread.run_sync(_server, settings) if settings.host else None  # reads files
        self._configure(context, settings, server)

    def _configure(self, context: ChannelContext, settings: EmailSettings, server: smtp.Server | None) -> None:
        self._clock = context.clock
        self._server = server
        if server is not None:
            local, domain = _sender(settings)
            self._sender = Address(clean(settings.sender_name), local, domain)
        self._recipients = Recipients(settings.recipients)
        self._of_project = Rate(context.clock, settings.per_project_per_hour)
        self._to_recipient = Rate(context.clock, settings.per_recipient_per_hour)
        self.digest_s = settings.digest_s
        self.limit_s = settings.limit_s + _SLACK_S

    def check(self, target: Mapping[str, Any]) -> dict[str, Any]:
        refuse_unknown(target, {"to"})
        return {"to": self._recipient(target).addr_spec}

    async def deliver(self, target: Mapping[str, Any], notifications: Sequence[Notification]) -> Attempted:
        if self._server is None:
            return Attempted(verdict=Verdict.RETRY, detail="no mail server is configured")
        try:
            recipient = self._recipient(target)
        except InvalidRequest as error:  # stored under settings that have changed since
            return Attempted(verdict=Verdict.REJECTED, detail=str(error))
        project = notifications[0].project.id
        address = recipient.addr_spec.lower()
        wait_s = max(self._of_project.wait_s(project), self._to_recipient.wait_s(address))
        if wait_s > 0:
            return Attempted(verdict=Verdict.RETRY, detail="too many mails in an hour", retry_after_s=wait_s)
        self._of_project.take(project)
        self._to_recipient.take(address)
        write = partial(
            mail.compose, notifications, sender=self._sender, recipient=recipient, now_ms=self._clock.now_ms()
        )
        message = await anyio.to_thread.run_sync(write)
        return await smtp.send(self._server, message, sender=self._sender.addr_spec, recipient=recipient.addr_spec)

    def _recipient(self, target: Mapping[str, Any]) -> Address:
        """The address of a target, if it may be written to."""
        if self._server is None:
            raise InvalidRequest("no mail server is configured", code="channel_unavailable", fields=("channel",))
        try:
            local, domain = parsed(target.get("to"))
        except ValueError as error:
            raise InvalidRequest(f"to: {error}", code="invalid_address", fields=("target.to",)) from None
        if not self._recipients.permit(local, domain):
            raise InvalidRequest(
                "to: the operator of this server has not listed this address or its domain (channels.email.recipients)",
                code="invalid_address",
                fields=("target.to",),
            )
        return Address(username=local, domain=domain)


def _sender(settings: EmailSettings) -> tuple[str, str]:
    try:
        return parsed(settings.sender)
    except ValueError as error:
        raise SettingsError(f"channels.email: sender: {error}") from error


def _server(settings: EmailSettings) -> smtp.Server:
    """The server to talk to.

    Raises:
        SettingsError: Settings contradict each other, or a file cannot be read.
    """
    if settings.username and settings.security == "none":
        raise SettingsError("channels.email: a password must not travel without tls or starttls")
    if settings.password and settings.password_file:
        raise SettingsError("channels.email: password and password_file exclude each other")
    password = settings.password
    try:
        if settings.password_file:
            password = Path(settings.password_file).read_text(encoding="utf-8").partition("\n")[0].strip()
        tls = None if settings.security == "none" else ssl.create_default_context(cafile=settings.ca_file or None)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"channels.email: password_file or ca_file: {error}") from error
    return smtp.Server(
        host=settings.host,
        port=settings.port or _PORTS[settings.security],
        security=settings.security,
        local_hostname=_sender(settings)[1],
        limit_s=settings.limit_s,
        username=settings.username or None,
        password=password or None,
        tls=tls,
    )

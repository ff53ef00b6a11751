"""The webhook channel: one signed POST for each notification, after the Standard Webhooks convention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import aiohttp
from aiohttp.abc import AbstractResolver

from orchestrator.clock import Clock, SystemClock
from orchestrator.errors import InvalidRequest
from orchestrator.notify.abc import Attempted, Channel, ChannelContext, Notification, Verdict
from orchestrator.notify.channels import signing
from orchestrator.notify.channels.payload import body
from orchestrator.notify.channels.tables import read_settings, refuse_unknown
from orchestrator.notify.egress import AddressRefused, EgressPolicy, EgressSettings
from orchestrator.retrying import retry_after

TOTAL_S: Final = 15.0
MAX_ANSWER: Final = 65_536
MAX_SECRETS: Final = 4
MAX_RETRY_AFTER_S: Final = 86_400.0

_HEADERS: Final = {
    "content-type": "application/json",
    "accept-encoding": "identity",
    "user-agent": "ion-orchestrator-webhook/1",
}


class WebhookChannel(Channel):
    """Posts to the URL of the target, ``{"url": ..., "secret": ...}``.

    A target without a secret is given one. While secrets rotate, ``secrets`` lists them, newest first, and each
    signs. Any 2xx is a delivery and 410 disables the hook; everything else, a redirect too, may work later.
    Settings (`EgressSettings`) say where the URL may lead.

    Args:
        resolver: What resolves names, in place of the system's; closed with the channel.
    """

    name: ClassVar[str] = "webhook"

    def __init__(self, resolver: AbstractResolver | None = None) -> None:
        self._resolver = resolver
        self._policy = EgressPolicy(EgressSettings())
        self._clock: Clock = SystemClock()
        self._session: aiohttp.ClientSession | None = None

    async def open(self, context: ChannelContext) -> None:
        self._policy = EgressPolicy(read_settings(context.settings, EgressSettings, self.name))
        self._clock = context.clock
        self._session = aiohttp.ClientSession(
            connector=self._policy.connector(self._resolver),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=TOTAL_S),
            headers=_HEADERS,
            auto_decompress=False,
            trust_env=False,
        )

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def check(self, target: Mapping[str, Any]) -> dict[str, Any]:
        refuse_unknown(target, {"url", "secret", "secrets"})
        checked = dict(target) | {"url": str(self._policy.checked(target.get("url"), "target.url"))}
        if not _secrets(target):
            checked["secret"] = signing.new_secret()
        _keys(checked)
        return checked

    def rotated(self, target: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        secret = signing.new_secret()
        return self.check(_without_secrets(target) | {"secrets": [secret, *_secrets(target)[:1]]}), secret

    def with_newest_secret(self, target: Mapping[str, Any]) -> dict[str, Any]:
        return self.check(_without_secrets(target) | {"secret": _secrets(target)[0]})

    async def deliver(self, target: Mapping[str, Any], notifications: Sequence[Notification]) -> Attempted:
        """Post each notification by itself; the first that is not delivered ends the attempt."""
        try:
            url, keys = self._policy.checked(target.get("url"), "target.url"), _keys(target)
        except InvalidRequest as error:  # stored under settings that have changed since
            return Attempted(verdict=Verdict.REJECTED, detail=str(error))
        answer = Attempted(verdict=Verdict.DELIVERED)
        for notification in notifications:
            content = body(notification)
            timestamp_s = self._clock.now_ms() // 1000
            answer = await self._post(str(url), content, signing.headers(notification.id, timestamp_s, content, keys))
            if answer.verdict is not Verdict.DELIVERED:
                break
        return answer

    async def _post(self, url: str, content: bytes, headers: dict[str, str]) -> Attempted:
        if self._session is None:
            raise RuntimeError("the channel is not open")
        try:
            async with self._session.post(url, data=content, headers=headers, allow_redirects=False) as response:
                answer = self._judged(response)
                await _drained(response)
                return answer
        except TimeoutError:
            return Attempted(verdict=Verdict.RETRY, detail=f"no answer within {TOTAL_S:.0f} s")
        except aiohttp.ClientConnectorError as error:
            refused = isinstance(error.os_error, AddressRefused)
            return Attempted(verdict=Verdict.RETRY, detail=str(error.os_error) if refused else "could not connect")
        except (aiohttp.ClientError, OSError) as error:
            return Attempted(verdict=Verdict.RETRY, detail=f"the connection failed: {type(error).__name__}")

    def _judged(self, response: aiohttp.ClientResponse) -> Attempted:
        status = response.status
        if 200 <= status < 300:
            return Attempted(verdict=Verdict.DELIVERED, detail=f"HTTP {status}")
        if status == 410:
            return Attempted(verdict=Verdict.GONE, detail="HTTP 410")
        if 300 <= status < 400:
            return Attempted(verdict=Verdict.RETRY, detail=f"HTTP {status}: redirects are not followed")
        asked = response.headers.get("retry-after") if status in {429, 503} else None
        wait_s = retry_after(asked, self._clock, MAX_RETRY_AFTER_S)
        return Attempted(verdict=Verdict.RETRY, detail=f"HTTP {status}", retry_after_s=wait_s)


async def _drained(response: aiohttp.ClientResponse) -> None:
    """Read the answer, so that the receiver can finish; its status stands however the rest goes.

    A receiver that never ends costs no more than `MAX_ANSWER` bytes, and the rest of the attempt's time.
    """
    left = MAX_ANSWER
    try:
        while left > 0 and (chunk := await response.content.read(left)):
            left -= len(chunk)
    except (aiohttp.ClientError, TimeoutError, OSError):
        response.close()


def _secrets(target: Mapping[str, Any]) -> list[object]:
    """All secrets of a target, newest first, each once."""
    listed = target.get("secrets", [])
    several = list(listed) if isinstance(listed, list | tuple) else [listed]
    alone = [target["secret"]] if target.get("secret") is not None else []
    return alone + [secret for secret in several if secret not in alone]


def _without_secrets(target: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in target.items() if name not in {"secret", "secrets"}}


def _keys(target: Mapping[str, Any]) -> list[bytes]:
    secrets = _secrets(target)
    field = "target.secrets" if "secrets" in target else "target.secret"
    if not 1 <= len(secrets) <= MAX_SECRETS:
        raise InvalidRequest(f"1 to {MAX_SECRETS} secrets sign a message", code="out_of_range", fields=(field,))
    try:
        return [signing.key_of(secret) for secret in secrets]
    except ValueError as error:
        raise InvalidRequest(str(error), code="invalid_secret", fields=(field,)) from None

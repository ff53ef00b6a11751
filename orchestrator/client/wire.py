"""Requests to a server: addresses, refusals as errors, and what is tried again."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import aiohttp
import msgspec

from orchestrator.client.shapes import OutcomeUnknown, RemoteError, Unreachable
from orchestrator.clock import Clock, SystemClock
from orchestrator.retrying import retry_after

T = TypeVar("T")

_TIMEOUT: Final = aiohttp.ClientTimeout(total=60, connect=10)
_BACKOFF_S: Final = 0.2
_BACKOFF_CAP_S: Final = 15.0
#: What a server answers that is starting, stopping or overrun, or a proxy that has lost it.
PASSING: Final = frozenset({429, 502, 503, 504})
#: What a proxy answers that may have passed the request on.
_MAYBE_TAKEN: Final = frozenset({502, 504})
#: What may come with a ``Retry-After``, and how long one is heeded.
_ASKS_FOR_TIME: Final = frozenset({429, 503})
_RETRY_AFTER_CAP_S: Final = 120.0
#: No connection was made, so nobody has heard anything.
_NOT_SENT: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
#: The submit is being answered on a connection that was lost.
_IN_PROGRESS: Final = "idempotency_in_progress"
#: An orchestrator serves this to everyone, and knows idempotency keys; no other cloud does.
_SCHEMA: Final = "/events/v1/schema"
_OURS: Final = "urn:ion-orchestrator:"


class Wire:
    """A server, and the session in which it is spoken to.

    Args:
        url: Address of the server, with or without ``/v0.4``.
        key: An API key.
        clock, rng: Time and jitter of reconnecting.
        connector: How connections are made; aiohttp's own way unless given.
        attempts: How often a submit is sent at most, while the server is not there or its answer is lost.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        connector: aiohttp.BaseConnector | None = None,
        attempts: int = 5,
    ) -> None:
        self.root = url.rstrip("/").removesuffix("/v0.4").removesuffix("/v0.3")
        self._headers = {} if key is None else {"Authorization": f"apiKey {key}"}
        self._connector = connector
        self.attempts = attempts
        self.clock = clock or SystemClock()
        self.rng = rng or random.Random()
        self._feed_params: list[tuple[str, str]] = []
        self._keyed: bool | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=_TIMEOUT, connector=self._connector)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def pause(self, failures: int, asked_s: float | None = None, cap_s: float = _BACKOFF_CAP_S) -> None:
        """Full jitter: anything up to a limit that doubles with each failure; after the time that was asked for."""
        jitter_s = self.rng.uniform(0, min(cap_s, _BACKOFF_S * 2 ** min(failures, 16)))
        await self.clock.sleep((asked_s or 0.0) + jitter_s)

    async def persist(
        self,
        attempt: Callable[[], Awaitable[T]],
        attempts: int | None = None,
        check: Callable[[RemoteError | Unreachable], Awaitable[None]] | None = None,
    ) -> T:
        """Try, and after a pause again, while it fails for a reason that passes.

        Args:
            attempt: A request that may be repeated.
            attempts: How often at most; without end unless given.
            check: Told what failed before another try; raises if there must be none.
        """
        failures = 0
        while True:
            try:
                return await attempt()
            except (RemoteError, Unreachable) as error:
                failures += 1
                if failures == attempts or not _passes(error):
                    raise
                asked_s = error.retry_after_s if isinstance(error, RemoteError) else None
                if check is not None:
                    await check(error)
            await self.pause(failures, asked_s)

    async def ask(self, shape: type[T], method: str, path: str, **request: Any) -> T:
        """One request, its answer decoded.

        Raises:
            RemoteError: The server refused it.
            Unreachable: No answer came; whether the server has heard is unknown.
        """
        try:
            async with self._session.request(method, self.root + path, **request) as response:
                body, status = await response.read(), response.status
                wait_s = self.asked_for(status, response.headers)
        except _NOT_SENT as error:
            raise Unreachable(f"no server at {self.root}", sent=False) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unreachable(f"no answer from {self.root}") from error
        try:
            if status >= 400:
                refusal = msgspec.json.decode(body, type=dict[str, Any])
                raise RemoteError(status, str(refusal.get("code", status)), _told(refusal), wait_s)
            return msgspec.json.decode(body, type=shape)
        except msgspec.DecodeError:
            message = f"HTTP {status}, not an answer of this API"
            raise RemoteError(status, "unexpected_answer", message, wait_s) from None

    async def check_repeatable(self, error: RemoteError | Unreachable) -> None:
        """Whether a submit that failed so may be sent again: it was not taken, or is known by its key if it was.

        Raises:
            OutcomeUnknown: It may have been taken, and would be again.
        """
        taken = error.sent if isinstance(error, Unreachable) else error.status in _MAYBE_TAKEN
        if taken and not await self._knows_keys():
            raise OutcomeUnknown from error

    async def _knows_keys(self) -> bool:
        """Whether the server knows idempotency keys; asked once."""
        if self._keyed is None:
            try:
                schema = await self.persist(partial(self.ask, dict[str, Any], "GET", _SCHEMA), self.attempts)
            except RemoteError as error:
                if _passes(error):
                    raise
                schema = {}
            self._keyed = str(schema.get("$id", "")).startswith(_OURS)
        return self._keyed

    def asked_for(self, status: int, headers: Mapping[str, str] | None) -> float | None:
        """After how many seconds a server that is overrun or away wants to be asked again, if it says so."""
        if status not in _ASKS_FOR_TIME or headers is None:
            return None
        return retry_after(headers.get("Retry-After"), self.clock, _RETRY_AFTER_CAP_S)


def _told(refusal: dict[str, Any]) -> str:
    """What a refusal says, and which members it is about."""
    message = str(refusal.get("message", "refused"))
    validation = refusal.get("validation")
    members = validation.get("keys") if isinstance(validation, dict) else None
    return f"{message} ({', '.join(map(str, members))})" if members else message


def _passes(error: RemoteError | Unreachable) -> bool:
    """Whether the same request may be answered later."""
    if isinstance(error, Unreachable):
        return True
    return error.status in PASSING or error.code == _IN_PROGRESS

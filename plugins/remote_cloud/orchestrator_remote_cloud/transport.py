"""Requests over aiohttp, and what their failure means: whether the remote can have heard.

The package's own client is not used for requests: it repeats submissions by itself, which is right only where
idempotency keys are known, and does not tell a request that never left from one whose answer was lost. The feed is
its work.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

import aiohttp
import msgspec

from orchestrator.backends.abc import Clock
from orchestrator.client import Client, FeedFrame
from orchestrator.errors import OrchestratorError
from orchestrator_remote_cloud.shapes import Bulk, BulkHead

#: Longest answer that is read.
MOST_BYTES: Final = 256 * 1024 * 1024
_CHUNK: Final = 65_536
#: Kinds of events that tell more than a job's submission did.
_HEARD: Final = (
    *("job.started", "job.progress", "job.completed", "job.failed", "job.canceled", "job.deleted"),
    "backend.*",
)
#: Longest line of live results, and longest silence between two.
_LINE: Final = 16 * 1024 * 1024
_SILENCE_S: Final = 45.0


class NotSent(OrchestratorError):
    """The remote has not heard the request, or has refused it for now: it may be sent again."""

    code = "not_sent"


class Denied(NotSent):
    """The key is good, but may not do this: no access to a backend, perhaps not yet."""


class Lost(OrchestratorError):
    """No answer came, or none that says anything: what the remote has done is unknown."""

    code = "lost"


class Foreign(Lost):
    """An answer came, and it is none of this API."""

    code = "foreign"


class Refused(OrchestratorError):
    """The remote heard the request and refuses it; ``code`` is its own."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code  # type: ignore[misc]


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """The way to one remote."""

    async def send(
        self,
        method: str,
        path: str,
        *,
        key: str | None,
        params: Sequence[tuple[str, str]] = (),
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request.

        Raises:
            NotSent: It never left; Lost: whether it was heard is unknown.
        """
        ...

    def events(self, *, key: str | None, backend: str) -> AsyncGenerator[FeedFrame]:
        """Events of jobs and backends from now on; see `orchestrator.client.Client.events`, whose errors these are."""
        ...

    def results(self, *, key: str | None, backend: str) -> AsyncGenerator[Bulk | None]:
        """What jobs of an orchestrator come to, from now on; None once it has begun to tell, and as a sign of life.

        Raises:
            NotSent, Lost: The connection is gone. Refused: There is no such route.
        """
        ...

    async def aclose(self) -> None:
        """Release the connections."""
        ...


def told(line: bytes) -> Bulk | None:
    """A line of live results; one whose result cannot be read leaves that to be asked for."""
    if b'"id"' not in line:
        return None
    try:
        return msgspec.json.decode(line, type=Bulk)
    except msgspec.ValidationError:
        head = msgspec.json.decode(line, type=BulkHead)
        return Bulk(id=head.id, status=head.status, left=True)


class HttpTransport:
    """`Transport` over sockets; made on the loop it is used on."""

    def __init__(self, root: str, clock: Clock, *, connect_s: float, timeout_s: float) -> None:
        self._root = root
        self._clock = clock
        self._connect_s = connect_s
        # Without cookies: a remote gets what is written here and nothing it left before.
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=timeout_s, connect=connect_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "ion-orchestrator"},
        )

    async def send(
        self,
        method: str,
        path: str,
        *,
        key: str | None,
        params: Sequence[tuple[str, str]] = (),
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        sent = {} if key is None else {"Authorization": f"apiKey {key}"}
        if body is not None:
            sent["Content-Type"] = "application/json"
        url = self._root + path
        try:
            async with self._session.request(
                method, url, params=params, data=body, headers=sent | dict(headers or {}), allow_redirects=False
            ) as response:
                parts, size = [], 0
                async for part in response.content.iter_chunked(_CHUNK):
                    parts.append(part)
                    size += len(part)
                    if size > MOST_BYTES:
                        raise Foreign(f"an answer of more than {MOST_BYTES} bytes")
                return Answer(response.status, response.headers, b"".join(parts))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotSent(f"no connection: {type(error).__name__}") from error
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise Lost(f"the answer was lost: {type(error).__name__}") from error

    async def events(self, *, key: str | None, backend: str) -> AsyncGenerator[FeedFrame]:
        async with Client(self._root, key, clock=self._clock) as client:
            frames = client.events(kinds=_HEARD, backends=(backend,))
            try:
                async for frame in frames:
                    yield frame
            finally:
                await frames.aclose()

    async def results(self, *, key: str | None, backend: str) -> AsyncGenerator[Bulk | None]:
        timeout = aiohttp.ClientTimeout(total=None, connect=self._connect_s, sock_read=_SILENCE_S)
        headers = {} if key is None else {"Authorization": f"apiKey {key}"}
        url, params = f"{self._root}/results/v1/live", {"backend": backend}
        try:
            async with self._session.get(
                url, params=params, headers=headers, timeout=timeout, read_bufsize=_LINE, allow_redirects=False
            ) as response:
                if response.status >= 500 or response.status == 429:
                    raise Lost(f"HTTP {response.status}")
                if response.status != 200:
                    raise Refused(response.status, str(response.status), f"HTTP {response.status}")
                while line := await response.content.readline():
                    yield told(line)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotSent(f"no connection: {type(error).__name__}") from error
        except (aiohttp.ClientError, TimeoutError, ConnectionError, ValueError) as error:
            raise Lost(f"the live results ended: {type(error).__name__}") from error
        raise Lost("the live results ended")

    async def aclose(self) -> None:
        await self._session.close()

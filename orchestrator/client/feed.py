"""Reading the feed: a connection that is made again where it was lost, from the last cursor."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import aiohttp
import anyio
import msgspec

from orchestrator.client.shapes import FeedFrame, FeedPlace, FeedUnavailable, Unreachable, read_frame
from orchestrator.client.wire import PASSING
from orchestrator.errors import CursorExpired

PATH: Final = "/events/v1"
_HEARTBEAT_S: Final = 30.0
#: Longest handshake: a proxy that knows no websockets may never answer one.
HANDSHAKE_S: Final = 10.0
_CLOSED_KEY: Final = 4401
_CLOSED_EXPIRED: Final = 4410


#: Hears whether what happens is being told.
Standing = Callable[[bool], None]


async def follow(
    session: aiohttp.ClientSession,
    root: str,
    wishes: Sequence[tuple[str, str]],
    cursor: str,
    *,
    pause: Callable[[int, float | None], Awaitable[None]],
    asked_for: Callable[[int, Mapping[str, str] | None], float | None],
    standing: Standing | None = None,
) -> AsyncGenerator[FeedFrame]:
    """Frames after the cursor, without end; see `orchestrator.client.Client.events`, whose errors these are.

    Args:
        session: Makes the connections, and carries the key.
        root: Address of the server.
        wishes: The query, apart from the cursor.
        cursor: Where to begin.
        pause: Waits before the connection is made again; it is given how often in a row that has failed, and after
            how many seconds the server wants to see us again, if it says so.
        asked_for: Those seconds, by the status and the headers of an answer.
        standing: Told True with each frame and False when the connection is lost.
    """
    failures, reached = 0, False
    tell = standing or (lambda told: None)
    while True:
        params, wait_s = [("cursor", cursor), *wishes], None
        try:
            with anyio.fail_after(HANDSHAKE_S):
                connection = await session.ws_connect(root + PATH, params=params, heartbeat=_HEARTBEAT_S)
            async with connection as socket:
                reached = True
                while (message := await socket.receive()).type is aiohttp.WSMsgType.TEXT:
                    frame = read_frame(message.data)
                    failures = 0
                    tell(True)
                    if frame is None:
                        continue
                    if not isinstance(frame, FeedPlace):
                        cursor = frame.cursor
                    yield frame
            _refuse_end(socket.close_code, str(message.extra or ""))
        except aiohttp.WSServerHandshakeError as error:
            # A server that is starting or overrun lets us in later; another 5xx may pass too where we have been in.
            if error.status not in PASSING and not (reached and error.status >= 500):
                raise await _refusal(session, root, params, error.status) from None
            wait_s = asked_for(error.status, error.headers)
        except TimeoutError as error:
            if not reached:
                raise FeedUnavailable(504, "feed_unavailable", "the handshake of the feed was not answered") from error
        except aiohttp.ClientError as error:
            if not reached:
                raise Unreachable(f"no server at {root}") from error
        tell(False)
        failures += 1
        await pause(failures, wait_s)


async def _refusal(
    session: aiohttp.ClientSession, root: str, params: Sequence[tuple[str, str]], status: int
) -> FeedUnavailable:
    """Why the feed was refused. A handshake keeps the reason to itself; a plain request is told it."""
    refusal: dict[str, Any] = {}
    try:
        async with session.get(root + PATH, params=params) as response:
            if response.status == status:
                refusal = msgspec.json.decode(await response.read(), type=dict[str, Any])
    except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError):
        refusal = {}  # no reason then; that it was refused is known
    code, message = refusal.get("code", "feed_unavailable"), refusal.get("message", "the feed was refused")
    return FeedUnavailable(status, str(code), str(message))


def _refuse_end(code: int | None, reason: str) -> None:
    """Raise where a closed feed must not be opened again."""
    if code == _CLOSED_KEY:
        raise FeedUnavailable(401, "unauthorized", reason or "the key was revoked")
    if code == _CLOSED_EXPIRED:
        raise CursorExpired(reason)

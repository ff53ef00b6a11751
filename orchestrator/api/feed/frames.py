"""What the feed says: one JSON object a frame, encoded once for all its readers, and how each transport wraps it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from struct import Struct
from typing import Any, ClassVar, Final

import msgspec

from orchestrator.events import Event
from orchestrator.lifecycle import JobStatus

#: Bytes of encoded events that are remembered.
MEMORY: Final = 8 * 1024 * 1024

_SHORT, _MEDIUM, _LONG = (Struct(head).pack for head in ("!BB", "!BBH", "!BBQ"))
encode = msgspec.json.Encoder().encode


class EventFrame(
    msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="event", rename={"before": "from", "after": "to"}
):
    """A committed event; the members are those of `orchestrator.events.Event`."""

    cursor: str
    kind: str
    job_id: str | None
    parent_id: str | None
    project_id: str | None
    backend: str | None
    attempt: int
    before: JobStatus | None
    after: JobStatus | None
    at: int
    data: dict[str, Any] | None


class GapFrame(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="gap"):
    """Events before `cursor` are gone; the snapshot tells where the chosen jobs stand."""

    cursor: str
    snapshot: dict[str, Any]


class LiveFrame(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="live"):
    """History is through; what follows happens now."""

    cursor: str


class QueueFrame(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="queue"):
    """Where a waiting job stands in its backend's line: news of the moment, no part of the log.

    Attributes:
        position: Place among the ready jobs, from 1.
        estimated_start: When it probably starts, Unix milliseconds; None where nothing is predicted.
    """

    job_id: str
    parent_id: str | None
    project_id: str
    backend: str
    position: int
    estimated_start: int | None


class CloseFrame(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="close"):
    """The last frame where the transport has no close codes of its own (SSE)."""

    code: int
    reason: str


class Frames:
    """Encodes the events of one log; recent ones are remembered in encoded form."""

    def __init__(self, epoch: str) -> None:
        self._prefix = f"{epoch}:"
        self._recent: dict[int, bytes] = {}
        self._bytes = 0

    def cursor(self, sequence: int) -> str:
        """How clients spell a sequence."""
        return f"{self._prefix}{sequence}"

    def event(self, event: Event) -> bytes:
        """The frame of an event: the same bytes for everyone who is told of it."""
        sequence = event.sequence
        frame = self._recent.get(sequence)
        if frame is not None:
            return frame
        frame = self._recent[sequence] = encode(
            EventFrame(
                f"{self._prefix}{sequence}",
                event.kind,
                event.job_id,
                event.parent_id,
                event.project_id,
                event.backend,
                event.attempt,
                event.before,
                event.after,
                event.at,
                event.data,
            )
        )
        self._bytes += len(frame)
        while self._bytes > MEMORY:
            self._bytes -= len(self._recent.pop(next(iter(self._recent))))
        return frame


class Wire(ABC):
    """How frames become bytes of a transport. Stateless: what is made for one reader suits all.

    Attributes:
        beat: A sign of life, as it is written.
    """

    beat: ClassVar[bytes]

    @abstractmethod
    def frame(self, payload: bytes, cursor: str | None = None) -> bytes:
        """One frame.

        Args:
            payload: The JSON object.
            cursor: Where a reader stands after it; None if it moves nobody.
        """

    def event(self, frames: Frames, event: Event) -> bytes:
        """The frame of an event."""
        return self.frame(frames.event(event), frames.cursor(event.sequence))

    def joined(self, frames: Iterable[bytes]) -> bytes:
        """Several frames in one write."""
        return b"".join(frames)


class WebSocketWire(Wire):
    """RFC 6455: unmasked, unfragmented, uncompressed text frames, as a server sends them."""

    beat = b"\x89\x00"  # a ping

    def event(self, frames: Frames, event: Event) -> bytes:
        return self.frame(frames.event(event))

    def frame(self, payload: bytes, cursor: str | None = None) -> bytes:
        length = len(payload)
        if length < 126:
            return _SHORT(0x81, length) + payload
        if length < 65_536:
            return _MEDIUM(0x81, 126, length) + payload
        return _LONG(0x81, 127, length) + payload


class EventStreamWire(Wire):
    """Server-sent events, in chunks of HTTP/1.1; a cursor becomes the ``id``."""

    beat = b"3\r\n:\n\n\r\n"  # a comment

    def frame(self, payload: bytes, cursor: str | None = None) -> bytes:
        head = b"" if cursor is None else b"id: %s\n" % cursor.encode()
        return b"%sdata: %s\n\n" % (head, payload)

    def joined(self, frames: Iterable[bytes]) -> bytes:
        body = b"".join(frames)
        return b"%x\r\n%s\r\n" % (len(body), body)


WEBSOCKET: Final = WebSocketWire()
EVENT_STREAM: Final = EventStreamWire()

"""What the feed says: one JSON object a text frame, encoded once for all its readers."""

from __future__ import annotations

from typing import Final

import msgspec

from orchestrator.subscription import Delivered, FeedItem, Gap

_REMEMBERED: Final = 4096


class Frames:
    """Encodes the items of one log's feeds; recent events are remembered in encoded form."""

    def __init__(self) -> None:
        self._encoder = msgspec.json.Encoder()
        self._recent: dict[int, bytes] = {}

    def encode(self, item: FeedItem) -> bytes:
        """The frame of an item."""
        if isinstance(item, Delivered):
            frame = self._recent.get(item.event.sequence)
            return self._event(item) if frame is None else frame
        if isinstance(item, Gap):
            return self._encoder.encode({"type": "gap", "cursor": str(item.cursor), "snapshot": item.snapshot})
        return self._encoder.encode({"type": "live", "cursor": str(item.cursor)})

    def _event(self, item: Delivered) -> bytes:
        event = item.event
        frame = self._encoder.encode(
            {
                "type": "event",
                "cursor": str(item.cursor),
                "kind": event.kind,
                "job_id": event.job_id,
                "parent_id": event.parent_id,
                "project_id": event.project_id,
                "backend": event.backend,
                "attempt": event.attempt,
                "from": event.before,
                "to": event.after,
                "at": event.at,
                "data": event.data,
            }
        )
        if len(self._recent) >= _REMEMBERED:
            del self._recent[next(iter(self._recent))]
        self._recent[event.sequence] = frame
        return frame

"""Frames of the feed as a client reads them."""

from __future__ import annotations

import msgspec
import pytest

from orchestrator.client import FeedLive, FeedPlace
from orchestrator.client.shapes import read_frame


def test_places_are_read_and_what_is_new_is_passed_over() -> None:
    """A place in line has no cursor; a type of a newer server, or of another transport, is nothing."""
    place = read_frame(b'{"type":"queue","job_id":"j","backend":"b","position":2,"estimated_start":null,"new":1}')
    assert place == FeedPlace(job_id="j", backend="b", position=2)
    assert read_frame('{"type":"live","cursor":"e:1"}') == FeedLive(cursor="e:1")
    assert read_frame('{"type":"close","code":1001,"reason":"the server stops"}') is None
    assert read_frame('{"type":"weather"}') is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"type":"live"}', '{"type":"event","cursor":7}'])
def test_a_broken_frame_is_not_passed_over(text: str) -> None:
    """A known frame that cannot be read would be a hole in the events: an error."""
    with pytest.raises(msgspec.DecodeError):
        read_frame(text)

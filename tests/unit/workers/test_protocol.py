"""Frames survive any cut, and nothing else is taken for a frame."""

import hashlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.workers import protocol
from orchestrator.workers.protocol import Answers, Beat, Decoder, Failed, ProtocolError, Ready, Run, encode, read_frame

payload_lists = st.lists(st.binary(max_size=64), max_size=5)


def run_frame(payloads: list[bytes]) -> bytes:
    return encode(Run(number=7, call="module:function", sizes=tuple(map(len, payloads))), payloads)


@given(batches=st.lists(payload_lists, min_size=1, max_size=4), cuts=st.lists(st.integers(1, 50), min_size=1))
def test_frames_survive_any_cut(batches: list[list[bytes]], cuts: list[int]) -> None:
    """However the stream is cut into pieces, the same frames come out, in order."""
    stream = io.BytesIO(b"".join(map(run_frame, batches)))
    decoder, received, turn = Decoder(), [], 0
    while piece := stream.read(cuts[turn % len(cuts)]):
        received += list(decoder.feed(piece))
        turn += 1
    assert [payloads for _, payloads in received] == batches


@pytest.mark.parametrize(
    "message",
    [
        Ready(),
        Beat(),
        Run(number=1, call="a:b", memory_bytes=2**40, cpu_s=1.5),
        Answers(number=1, outcomes=(Failed("SimulationError", "too large", retryable=True),)),
    ],
)
def test_every_message_arrives_as_sent(message: Ready | Beat | Run | Answers) -> None:
    """A blocking reader gets each message back, then the end."""
    stream = io.BytesIO(encode(message))
    assert read_frame(stream) == (message, [])
    assert read_frame(stream) is None


@given(payloads=payload_lists, data=st.data())
def test_a_truncated_frame_is_never_read(payloads: list[bytes], data: st.DataObject) -> None:
    """A frame that lacks its end is an error to the blocking reader and nothing yet to the other."""
    frame = run_frame(payloads)
    part = frame[: data.draw(st.integers(1, len(frame) - 1))]
    assert list(Decoder().feed(part)) == []
    with pytest.raises(ProtocolError, match="ended inside"):
        read_frame(io.BytesIO(part))


@given(payloads=payload_lists, data=st.data())
def test_a_changed_byte_is_found(payloads: list[bytes], data: st.DataObject) -> None:
    """Whatever byte is changed, no frame comes out."""
    frame = bytearray(run_frame(payloads))
    frame[data.draw(st.integers(0, len(frame) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ProtocolError):
        read_frame(io.BytesIO(frame))


@given(noise=st.binary(min_size=28, max_size=200))
def test_noise_is_refused(noise: bytes) -> None:
    """Bytes that are no frame end in `ProtocolError`, at the prefix already."""
    with pytest.raises(ProtocolError, match="not a frame"):
        list(Decoder().feed(noise))


def test_too_large_frames_are_refused_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cap holds before anything is sent, and before anything is allocated."""
    frame = run_frame([b"x" * 1000])
    monkeypatch.setattr(protocol, "FRAME_CAP", 1000)
    with pytest.raises(protocol.FrameTooLargeError):
        run_frame([b"x" * 1000])
    with pytest.raises(protocol.FrameTooLargeError):
        list(Decoder().feed(frame[:28]))


@pytest.mark.parametrize("sizes", [(), (3,), (5,), (2, 3), (-1, 5)])
def test_payloads_must_fill_the_body(sizes: tuple[int, ...]) -> None:
    """Sizes that do not cut the body exactly are refused although the digest is right."""
    header = protocol._header_encoder.encode(Run(number=1, call="a:b", sizes=sizes))
    content = header + b"four"
    digest = hashlib.blake2b(content, digest_size=16).digest()
    frame = protocol._PREFIX.pack(b"iow1", len(header), 4, digest) + content
    with pytest.raises(ProtocolError):
        list(Decoder().feed(frame))


@pytest.mark.parametrize("header", [b"", b"{", b"[]", b'{"kind":"other"}', b'{"kind":"run"}', b"\xff"])
def test_headers_must_be_messages(header: bytes) -> None:
    """Anything but one of the messages is refused although the digest is right."""
    digest = hashlib.blake2b(header, digest_size=16).digest()
    with pytest.raises(ProtocolError, match="not a message"):
        list(Decoder().feed(protocol._PREFIX.pack(b"iow1", len(header), 0, digest) + header))

"""Frames between the pool and a worker, on a socket of their own; no input or output here.

A frame is a prefix, a JSON header and payloads, one behind the other::

    magic (4) | header length (4) | body length (4) | digest (16) | header | payload ...

Lengths are big-endian; the digest is BLAKE2b-128 over header and payloads, so that a stray write to
the descriptor is found out and not believed. The header is one of the messages below; its ``sizes``
cut the body into payloads, which stay opaque here. Both sides refuse frames above `FRAME_CAP`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from struct import Struct as Layout
from typing import Annotated, BinaryIO, Final

import msgspec

from orchestrator.errors import BackendFault, CanceledByBackend, ExecutionError, InfrastructureFault, UserFault

FRAME_CAP: Final = 256 * 2**20

#: Characters of each text of a failure.
_LONGEST: Final = 2_000

_MAGIC: Final = b"iow1"
_PREFIX: Final = Layout(">4sII16s")

Size = Annotated[int, msgspec.Meta(ge=0)]


class ProtocolError(Exception):
    """The peer does not speak this protocol, or the stream was disturbed; it cannot be read on."""


class FrameTooLargeError(ProtocolError):
    """The frame exceeds `FRAME_CAP`."""

    def __init__(self, size: int) -> None:
        super().__init__(f"a frame of {size} bytes exceeds {FRAME_CAP}")


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """A header. ``sizes``: bytes of each payload that follows."""

    sizes: tuple[Size, ...] = ()


class Ready(Message, frozen=True, tag="ready"):
    """Worker: started, waiting for work."""


class Beat(Message, frozen=True, tag="beat"):
    """Worker: still there."""


class Run(Message, frozen=True, kw_only=True, tag="run"):
    """Pool: call a function once for each payload.

    Attributes:
        number: Identifies the batch; repeated in its answers.
        call: ``module:function``.
        memory_bytes: What the batch may allocate; None for no limit.
        cpu_s: Processor seconds it may use, over all threads; None for no limit.
    """

    number: int
    call: str
    memory_bytes: int | None = None
    cpu_s: float | None = None


class Failed(msgspec.Struct, frozen=True):
    """Why one payload has no answer; the fields of `orchestrator.errors.ExecutionError`.

    Attributes:
        fault: Which of its subclasses it was; another one arrives as the nearest of them.
    """

    failure_code: str
    message: str
    retryable: bool = False
    fault: str = ""

    @classmethod
    def of(cls, error: ExecutionError) -> Failed:
        """What can be said of an error, cut to what can be sent."""
        return cls(_text(error.failure_code), _text(error.message), bool(error.retryable), error.fault)

    def error(self) -> ExecutionError:
        """The error again, of the class that decides what becomes of the job."""
        error: ExecutionError
        match self.fault:
            case UserFault.fault:
                error = UserFault(self.message, self.failure_code)
            case BackendFault.fault:
                error = BackendFault(self.message, self.failure_code)
            case InfrastructureFault.fault:
                error = InfrastructureFault(self.message, self.failure_code)
            case CanceledByBackend.fault:
                error = CanceledByBackend(self.message)
            case _:
                error = ExecutionError(self.failure_code, self.message)
        error.retryable = self.retryable
        return error


def _text(value: object) -> str:
    return str(value)[:_LONGEST].encode("utf-8", "replace").decode()


class Answers(Message, frozen=True, kw_only=True, tag="answers"):
    """Worker: the next outcomes of a batch, in order; None where the next payload is the answer."""

    number: int
    outcomes: tuple[Failed | None, ...]


Frame = tuple[Ready | Beat | Run | Answers, list[bytes]]

_header_encoder = msgspec.json.Encoder()
_header_decoder = msgspec.json.Decoder(Ready | Beat | Run | Answers)


def encode(message: Message, payloads: Sequence[bytes] = ()) -> bytes:
    """One frame; ``message.sizes`` must be the lengths of `payloads`.

    Raises:
        FrameTooLargeError: Nothing was encoded.
    """
    header = _header_encoder.encode(message)
    size = len(header) + sum(message.sizes)
    if size > FRAME_CAP:
        raise FrameTooLargeError(size)
    content = b"".join((header, *payloads))
    digest = hashlib.blake2b(content, digest_size=16).digest()
    return _PREFIX.pack(_MAGIC, len(header), size - len(header), digest) + content


def _measure(prefix: bytes | bytearray) -> tuple[int, int, bytes]:
    """Length of the header, length of the whole content and digest, as a prefix tells."""
    magic, header, body, digest = _PREFIX.unpack_from(prefix)
    if magic != _MAGIC:
        raise ProtocolError("not a frame")
    if header + body > FRAME_CAP:
        raise FrameTooLargeError(header + body)
    return header, header + body, digest


def _open(content: bytes, header: int, digest: bytes) -> Frame:
    if hashlib.blake2b(content, digest_size=16).digest() != digest:
        raise ProtocolError("the digest does not match")
    try:
        message = _header_decoder.decode(memoryview(content)[:header])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProtocolError("the header is not a message") from error
    if header + sum(message.sizes) != len(content):
        raise ProtocolError("the payloads do not fill the body")
    payloads, start = [], header
    for size in message.sizes:
        payloads.append(content[start : start + size])
        start += size
    return message, payloads


class Decoder:
    """Turns what arrives, however cut, into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that `data` completes.

        Raises:
            ProtocolError: The stream is of no use from here on.
        """
        buffer = self._buffer
        buffer += data
        while len(buffer) >= _PREFIX.size:
            header, size, digest = _measure(buffer)
            end = _PREFIX.size + size
            if len(buffer) < end:
                return
            content = bytes(memoryview(buffer)[_PREFIX.size : end])
            del buffer[:end]
            yield _open(content, header, digest)


def read_frame(stream: BinaryIO) -> Frame | None:
    """The next frame of a blocking stream, or None at its end.

    Raises:
        ProtocolError: The stream is of no use from here on, or it ended inside a frame.
    """
    prefix = stream.read(_PREFIX.size)
    if not prefix:
        return None
    if len(prefix) < _PREFIX.size:
        raise ProtocolError("the stream ended inside a frame")
    header, size, digest = _measure(prefix)
    content = stream.read(size)
    if len(content) < size:
        raise ProtocolError("the stream ended inside a frame")
    return _open(content, header, digest)

"""Runs in worker processes, the server's end: which adapters can be, and one batch there and back.

The worker's end is `orchestrator.backends.hosted`. Between the two go JSON documents; what comes back is
data like any other and is checked like it.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import anyio.to_thread
import msgspec

from orchestrator.backends.guarding import Outcome
from orchestrator.errors import ExecutionError
from orchestrator.foreign import contained, reason_of
from orchestrator.model import Job, Result
from orchestrator.workers.pool import WorkerPool
from orchestrator.workers.protocol import Failed

if TYPE_CHECKING:
    from orchestrator.backends.abc import Adapter, AdapterContext, Attempt

CALL: Final = "orchestrator.backends.hosted:execute"

#: Members whose own versions keep what only the server's process can know.
_SERVER_SIDE: Final = ("serve", "cancel", "heartbeat", "recover")
#: An answer beyond this many bytes is decoded off the event loop.
_LARGE: Final = 262_144


class PackedAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """An `Attempt` on its way."""

    job: Job
    number: int
    input: msgspec.Raw
    compiled: str | None


class Errand(msgspec.Struct, frozen=True, kw_only=True):
    """One batch.

    Attributes:
        origin: ``module:name`` of what makes the adapter.
        settings, data: Of its context.
        memory_mb: What the batch may allocate; None for no limit.
    """

    origin: str
    settings: dict[str, Any]
    data: str | None
    memory_mb: int | None
    attempts: list[PackedAttempt]


class PackedOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one attempt: an encoded `Result`, unchecked, or why there is none."""

    result: msgspec.Raw = msgspec.Raw(b"null")
    failed: Failed | None = None


class NotHostable(Exception):
    """Runs of this adapter cannot go to a worker process; says why."""


_outcomes = msgspec.json.Decoder(list[PackedOutcome])
_result = msgspec.json.Decoder(Result)


def origin_of(adapter: Adapter, made_by: str | None) -> str:
    """``module:name`` of what makes another such adapter in another process.

    Args:
        made_by: Its entry point; None for an adapter that the host made.

    Raises:
        NotHostable: There is no such thing, or not only `run` and `run_batch` are the author's.
    """
    kind = type(adapter)
    for member in _SERVER_SIDE:
        definer = next(base for base in kind.__mro__ if member in vars(base))
        if definer.__module__ != "orchestrator.backends.abc":
            raise NotHostable(f"it has a {member} of its own")
    if made_by is not None:
        return made_by
    module, name = kind.__module__, kind.__qualname__
    if module == "__main__" or not name.isidentifier():
        raise NotHostable(f"{name} cannot be imported by another process")
    try:
        with contained():
            found, parameters = getattr(importlib.import_module(module), name, None), inspect.signature(kind).parameters
    except Exception as error:  # a module may do anything when it is imported
        raise NotHostable(f"{module}.{name} cannot be imported: {reason_of(error)}") from error
    if found is not kind:
        raise NotHostable(f"{module}.{name} is something else")
    if parameters:
        raise NotHostable(f"{name} is made with arguments")
    return f"{module}:{name}"


async def run_hosted(
    pool: WorkerPool, origin: str, context: AdapterContext, attempts: Sequence[Attempt], memory_mb: int | None
) -> list[Outcome]:
    """Run a batch in a worker process; canceled, the process is ended.

    Raises:
        ExecutionError: The batch as a whole has no answers: `WorkerLost`, most of all.
    """
    errand = Errand(
        origin=origin,
        settings=dict(context.settings),
        data=None if context.data is None else str(context.data),
        memory_mb=memory_mb,
        attempts=[_packed(attempt) for attempt in attempts],
    )
    [answer] = await pool.run(CALL, [msgspec.json.encode(errand)])
    if isinstance(answer, ExecutionError):
        raise answer
    if len(answer) > _LARGE:
        return await anyio.to_thread.run_sync(_unpacked, answer)
    return _unpacked(answer)


def _packed(attempt: Attempt) -> PackedAttempt:
    compiled = None if attempt.compiled is None else attempt.compiled.decode()
    return PackedAttempt(job=attempt.job, number=attempt.number, input=msgspec.Raw(attempt.input), compiled=compiled)


def _unpacked(answer: bytes) -> list[Outcome]:
    return [_outcome(packed) for packed in _outcomes.decode(answer)]


def _outcome(packed: PackedOutcome) -> Outcome:
    if packed.failed is not None:
        return packed.failed.error()
    try:
        return _result.decode(packed.result)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return ExecutionError("InternalError", f"invalid result: {error}")

"""Runs in worker processes, the worker's end: an adapter of this process's own, made and opened once.

Its `run` sees what it would see in the server, except that its context has no worker processes. Tasks that its
`open` started go on only while something runs. The process is ended without `aclose`.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from functools import cache, partial
from pathlib import Path

import msgspec
import structlog

from orchestrator.backends.abc import Adapter, AdapterContext, Attempt
from orchestrator.backends.guarding import Outcome, guarded_batch
from orchestrator.backends.hosting import Errand, PackedAttempt, PackedOutcome
from orchestrator.backends.threads import Thread, called, lane_thread
from orchestrator.clock import SystemClock, uuid7_factory
from orchestrator.errors import ExecutionError, InfrastructureFault
from orchestrator.foreign import contained, name_of
from orchestrator.model import Result
from orchestrator.workers.limits import limit_memory
from orchestrator.workers.pool import WorkerPool
from orchestrator.workers.protocol import Failed

log = structlog.get_logger()

_errands = msgspec.json.Decoder(Errand)


class Host:
    """The adapters of this process by what makes them, on one event loop that turns while something runs."""

    def __init__(self) -> None:
        _log_plainly()
        self._runner = asyncio.Runner()
        self._thread = Thread("adapter")
        self._adapters: dict[str, Adapter] = {}

    def execute(self, payload: bytes) -> bytes:
        """The outcomes of one `Errand`.

        Raises:
            InfrastructureFault: The adapter could not be made or opened here.
        """
        return self._runner.run(self._execute(_errands.decode(payload)))

    async def _execute(self, errand: Errand) -> bytes:
        lane_thread.set(self._thread)
        adapter = self._adapters.get(errand.origin) or await self._opened(errand)
        attempts = [_attempt(packed) for packed in errand.attempts]
        if errand.memory_mb is not None:
            limit_memory(errand.memory_mb * 2**20)
        try:
            outcomes = await guarded_batch(partial(called, adapter.run_batch), attempts)
            return msgspec.json.encode([_packed(outcome) for outcome in outcomes])
        finally:
            if errand.memory_mb is not None:
                limit_memory(None)

    async def _opened(self, errand: Errand) -> Adapter:
        module, _, name = errand.origin.partition(":")
        adapter: Adapter | None = None
        try:
            with contained():
                found = importlib.import_module(module)
                for part in name.split("."):
                    found = getattr(found, part)
                adapter = found()  # type: ignore[operator]
                await adapter.open(_context(errand))
        except Exception as error:
            log.exception("adapter failed to open in its worker process", origin=errand.origin)
            if adapter is not None:
                await _closed(adapter)
            raise InfrastructureFault(f"the backend did not open in its worker process: {name_of(error)}") from error
        self._adapters[errand.origin] = adapter
        return adapter


def _log_plainly() -> None:
    """One JSON object a line on standard error; without local variables, which may be secret."""
    tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer(tracebacks),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )


async def _closed(adapter: Adapter) -> None:
    try:
        with contained():
            await adapter.aclose()
    except Exception:
        log.exception("adapter failed to close", adapter=adapter.name)


def _context(errand: Errand) -> AdapterContext:
    clock = SystemClock()
    return AdapterContext(
        clock=clock,
        new_id=uuid7_factory(clock),
        workers=WorkerPool(1, clock),  # never entered: it refuses
        settings=errand.settings,
        data=None if errand.data is None else Path(errand.data),
        isolated=True,
    )


def _attempt(packed: PackedAttempt) -> Attempt:
    compiled = None if packed.compiled is None else packed.compiled.encode()
    return Attempt(packed.job, packed.number, bytes(packed.input), compiled)


def _packed(outcome: Outcome) -> PackedOutcome:
    if isinstance(outcome, ExecutionError):
        return PackedOutcome(failed=Failed.of(outcome))
    if not isinstance(outcome, Result):
        return _invalid(f"the backend answered a {type(outcome).__name__}, not a Result")
    try:
        return PackedOutcome(result=msgspec.Raw(msgspec.json.encode(outcome)))
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
        return _invalid(str(error))


def _invalid(fault: str) -> PackedOutcome:
    return PackedOutcome(failed=Failed("InternalError", f"invalid result: {fault}"))


@cache
def _host() -> Host:
    return Host()


def execute(payload: bytes) -> bytes:
    """See `Host.execute`; called by the worker process."""
    return _host().execute(payload)

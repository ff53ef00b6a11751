"""Checks of opening and closing, and of what an adapter does to its host meanwhile."""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any, Final

import anyio

from orchestrator.backends.abc import Adapter, AdapterContext
from orchestrator.clock import SystemClock, uuid7_factory
from orchestrator.testing.adapter_kit.apart import running_apart
from orchestrator.testing.adapter_kit.bench import Bench
from orchestrator.testing.adapter_kit.blocking import Blocks, looking
from orchestrator.testing.adapter_kit.frames import told_of
from orchestrator.testing.adapter_kit.host import Host, hosted
from orchestrator.testing.adapter_kit.resources import Held, held
from orchestrator.workers.pool import WorkerPool

#: Longest hold of the event loop, seconds: requests, leases and feeds wait with it.
_BLOCK_S: Final = 0.1
#: A hold counts if it comes every time: others may have had the processor once.
_TRIES: Final = 3
_ROUNDS: Final = 3
#: Time for threads that are ending, seconds.
_ENDING_S: Final = 2.0


async def check_open(bench: Bench) -> None:
    """It opens and closes, and another one after it in the same process."""
    for _ in range(2):
        async with hosted(bench) as host:
            assert host.backends
        _closed(host)


def _closed(host: Host) -> None:
    assert host.watch.closed, "aclose was not called"
    error = host.watch.closed[0]
    assert not isinstance(error, TimeoutError), "aclose did not return within 5 s"
    assert error is None, f"aclose raised {told_of(error)}"


async def check_close_anyway(bench: Bench) -> None:
    """It can be closed although `open` failed, was canceled, or never came."""
    await _aclose(bench.make(), "that was never opened")
    async with WorkerPool(bench.workers, clock := SystemClock()) as workers:
        adapter = bench.make()
        settings = dict(bench.settings)
        context = AdapterContext(clock=clock, new_id=uuid7_factory(clock), workers=workers, settings=settings)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await adapter.open(context)
        await _aclose(adapter, "whose open was canceled")
        adapter = bench.make()
        with suppress(Exception):  # whatever it says of these settings
            await adapter.open(AdapterContext(clock=clock, new_id=uuid7_factory(clock), workers=workers, settings=_ODD))
        await _aclose(adapter, "that was opened with odd settings")


#: Settings that most adapters refuse.
_ODD: Final[dict[str, Any]] = {"no_such_setting": object()}


async def _aclose(adapter: Adapter, which: str) -> None:
    try:
        with anyio.fail_after(5.0):
            await adapter.aclose()
    except Exception as error:
        raise AssertionError(f"aclose of an adapter {which} raised {told_of(error)}") from error


async def _some_work(host: Host) -> None:
    """Jobs on every backend, one of them canceled."""
    for backend in host.backends:
        circuits = [host.bench.circuit(backend, 1)] * 3
        jobs = await host.submit_all(backend, circuits, shots=host.bench.most_shots(backend))
        await host.orchestrator.cancel([jobs[-1].id])
        for job in jobs:
            await host.ended(job)


async def check_leaves_nothing(bench: Bench) -> None:
    """Closed, it leaves no task, thread, child process or open file behind."""
    adapters: list[Adapter] = []  # kept, so that nothing is given back by being collected
    after: list[Held] = []

    async def round_() -> None:
        async with hosted(bench) as host:
            adapters.append(host.adapter)
            await _some_work(host)
        await host.turns()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        names = ", ".join(sorted(task.get_name() for task in tasks))
        assert not tasks, f"it left {len(tasks)} tasks running: {names}"

    for number in range(_ROUNDS):
        before = held()
        await running_apart(round_, 2 * bench.limit_s)
        grown = [each for each in held().threads - before.threads if each is not threading.current_thread()]
        await asyncio.to_thread(_let_end, grown)
        after.append(held())
        left = sorted(thread.name for thread in grown if thread.is_alive())
        assert not (number and left), f"it left {len(left)} threads running: {', '.join(left)}"
    first, last = after[0], after[-1]
    processes = last.children - first.children
    pids = ", ".join(map(str, sorted(processes)))
    assert len(processes) < _ROUNDS - 1, f"it leaves child processes behind, one more with each close: {pids}"
    files = {name: more for name, more in (last.files - first.files).items() if more >= _ROUNDS - 1}
    assert not files, f"it leaves files open, more with each close: {', '.join(sorted(files))}"


def _let_end(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(_ENDING_S / len(threads))


async def check_keeps_the_loop(bench: Bench) -> None:
    """It never holds the event loop for more than 100 ms."""
    seen: list[tuple[str, float]] = []
    for _ in range(_TRIES):
        with looking() as blocks:
            async with hosted(bench) as host:
                await _some_work(host)
        seen.append(_longest(blocks))
        if seen[-1][1] < _BLOCK_S:
            return
    place, seconds = seen[-1]
    raise AssertionError(
        f"it held the event loop for {seconds * 1000:.0f} ms at {place}; wait with await, use a thread, or a worker"
    )


def _longest(blocks: Blocks) -> tuple[str, float]:
    return blocks.longest()


async def check_output(bench: Bench) -> None:
    """It prints nothing on the standard output, which belongs to whoever runs the service."""
    with _recorded() as printed:
        async with hosted(bench) as host:
            await _some_work(host)
    text = "".join(printed).strip()
    assert not text, f"it printed {text[:60]!r}; use a logger"


@contextmanager
def _recorded() -> Generator[list[str]]:
    """What is printed meanwhile on this thread and on new ones, not counting log lines."""
    printed: list[str] = []
    others = {thread.ident for thread in threading.enumerate()} - {threading.get_ident()}
    real = sys.stdout

    class Tee:
        def write(self, text: str) -> int:
            if threading.get_ident() not in others:
                logged = any("/structlog/" in frame.filename for frame in traceback.extract_stack())
                if not logged:
                    printed.append(text)
            return real.write(text)

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

    sys.stdout = Tee()
    try:
        yield printed
    finally:
        sys.stdout = real

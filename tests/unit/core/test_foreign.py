"""Code of others is awaited apart: it is canceled like any other, and left behind if it does not care."""

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import anyio.to_thread
import pytest
from structlog.testing import capture_logs

from orchestrator.foreign import Escaped, apart, reason_of
from orchestrator.process import loop_factory


class Stubborn:
    """Goes on when it is canceled, until it is told otherwise."""

    def __init__(self) -> None:
        self.canceled = 0
        self.entered = anyio.Event()
        self.enough = asyncio.Event()

    async def run(self) -> str:
        self.entered.set()
        while not self.enough.is_set():
            try:
                await self.enough.wait()
            except asyncio.CancelledError:
                self.canceled += 1
        return "late"


async def test_answers_and_errors_come_through() -> None:
    """As they are; what is no `Exception` is made one."""

    async def answer() -> int:
        return 3

    async def fail() -> None:
        raise KeyError("odd")

    async def leave() -> None:
        raise SystemExit(3)

    async def made_up() -> None:
        raise asyncio.CancelledError

    async def cancel_itself() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await anyio.sleep_forever()

    assert await apart(answer, "run") == 3
    with pytest.raises(KeyError, match="odd"):
        await apart(fail, "run")
    with pytest.raises(Escaped, match="SystemExit: 3"):
        await apart(leave, "run")
    with pytest.raises(Escaped, match="CancelledError"):
        await apart(made_up, "run")
    with pytest.raises(Escaped, match="CancelledError"):
        await apart(cancel_itself, "run")


async def test_a_cancel_reaches_the_code_as_anyio_has_it() -> None:
    """It may clean up shielded, and is waited for; what it raises then is nobody's concern."""
    cleaned = False
    started = anyio.Event()

    async def careful() -> None:
        nonlocal cleaned
        try:
            started.set()
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                cleaned = True
            raise KeyError

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(apart, careful, "run")
        await started.wait()
        tasks.cancel_scope.cancel()
    assert cleaned


async def test_what_does_not_end_is_left_behind_and_named() -> None:
    """After its grace, with a line in the log; from then on nobody cancels it, so that the loop is idle."""
    stubborn = Stubborn()
    with capture_logs() as logs:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: apart(stubborn.run, "run", grace_s=0.01, backend="lab"))
            await stubborn.entered.wait()
            tasks.cancel_scope.cancel()
    assert [(entry["what"], entry["backend"], entry["log_level"]) for entry in logs] == [("run", "lab", "warning")]
    canceled = stubborn.canceled
    assert canceled > 0
    for _ in range(20):
        await asyncio.sleep(0)
    assert stubborn.canceled == canceled
    stubborn.enough.set()
    await asyncio.sleep(0)


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, loop_factory() or asyncio.new_event_loop])
async def test_the_host_s_own_end_does_not_wait_for_it(factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """`asyncio.run` cancels and awaits every task it knows: not this one."""

    async def host() -> None:
        stubborn = Stubborn()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: apart(stubborn.run, "run", grace_s=0.01))
            await stubborn.entered.wait()
            tasks.cancel_scope.cancel()
        assert len(asyncio.all_tasks()) == 1

    def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main())

    with capture_logs(), anyio.fail_after(30):
        await anyio.to_thread.run_sync(run, host)
    gc.collect()


class Mute(Exception):
    """Cannot be told."""

    def __str__(self) -> str:
        raise ValueError("no words")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RuntimeError("from a device: \udcff\0"), "RuntimeError: from a device: ? "),
        (Mute(), "Mute: (Mute that cannot be told)"),
        (Escaped(SystemExit(Mute())), "SystemExit: (SystemExit that cannot be told)"),
        (ExceptionGroup("all", [Mute()]), "Mute: (Mute that cannot be told)"),
        (RuntimeError("y" * 1_000_000), "RuntimeError: " + "y" * 2_000),
    ],
    ids=["unicode", "mute", "escaped", "group", "long"],
)
def test_a_reason_can_always_be_told(error: Exception, told: str) -> None:
    """It is stored, logged and shown, whatever was raised."""
    assert reason_of(error) == told

"""How processes of our own run their event loop: the server, the demo, the bench.

Never for embedders, whose process is theirs. uvloop, where it exists; and a patient cycle collector. A request
leaves a score of objects in cycles, and a running server holds tens of thousands that are none: at Python's own
thresholds a tenth of the time goes into looking through them.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

#: Python's own are 700, 10, 10. At most some ten megabytes of dead cycles wait for this.
GC_THRESHOLDS: Final = (20_000, 20, 20)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Makes uvloop's loop; None means asyncio's own."""
    try:
        import uvloop  # noqa: PLC0415 - not on Windows, and only for those who run
    except ImportError:
        return None
    return uvloop.new_event_loop


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run the one coroutine this process is for, as `asyncio.run` does."""
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(main)

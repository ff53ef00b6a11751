"""What runs in a worker process that is to die."""

from __future__ import annotations

import os
import signal

#: The worker's function, for `orchestrator.workers.pool.WorkerPool.run`.
CALL = "orchestrator_fault.dying:die"


def die(payload: bytes) -> bytes:
    """Die as if the kernel had killed the process."""
    os.kill(os.getpid(), signal.SIGKILL)
    return payload

"""What the operating system is asked about worker processes: start one, its processor time, how it ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

_THREAD_VARIABLES: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "QULACS_NUM_THREADS",
)


def environment(threads: int) -> dict[str, str]:
    """Variables of a worker: as many library threads as allowed, and the import path of this process."""
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    return {"PYTHONPATH": path} | dict.fromkeys(_THREAD_VARIABLES, str(threads))


def processors() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def spawn(descriptor: int, variables: Mapping[str, str], beat_s: float) -> subprocess.Popen[bytes]:
    """A worker that serves `descriptor`, in a session and process group of its own; ends with the calling thread.

    Raises:
        OSError: The system refused.
    """
    module = "orchestrator.workers.child"
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-P", "-X", "faulthandler", "-m", module, str(descriptor), str(os.getpid()), str(beat_s)],
        stdin=subprocess.PIPE,
        bufsize=0,
        pass_fds=(descriptor,),
        start_new_session=True,
        env=os.environ | variables,
    )


def cpu_ticks(pid: int) -> int | None:
    """Processor time the process has used, or None where the system does not tell (not Linux)."""
    try:
        status = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = status.rpartition(b")")[2].split()
    return int(fields[11]) + int(fields[12])


def wants_processor(pid: int) -> bool:
    """Whether a thread of the process could run, or waits for the disk: one that is starved does not hang."""
    for status in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(OSError):  # the thread has ended
            if status.read_bytes().rpartition(b")")[2].split()[0] in {b"R", b"D"}:
                return True
    return False


def exit_reason(code: int | None) -> str:
    """A return code in words."""
    if code is None:
        return "killed, and not yet gone"
    return f"exited with status {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"

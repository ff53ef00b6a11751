"""What the kernel lets a worker process use; set by the process itself, from now on, and lifted again."""

from __future__ import annotations

import math
import resource
from pathlib import Path
from typing import Final

#: Address space beside the estimate of a job, bytes: interpreter growth, thread stacks, allocator reserves.
_HEADROOM: Final = 256 * 2**20


def _soft_limit(kind: int, value: float) -> None:
    hard = resource.getrlimit(kind)[1]
    soft = math.ceil(value) if value < 2**62 else resource.RLIM_INFINITY
    if hard != resource.RLIM_INFINITY:
        soft = hard if soft == resource.RLIM_INFINITY else min(soft, hard)
    resource.setrlimit(kind, (soft, hard))


def _address_space() -> int | None:
    """Bytes of address space in use, or None where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_bytes().split()[0])
    except FileNotFoundError:
        return None
    return pages * resource.getpagesize()


def limit_memory(memory_bytes: int | None) -> None:
    """Allow this much from now on, on top of what the process already uses; None lifts the limit."""
    base = None if memory_bytes is None else _address_space()
    value = math.inf if memory_bytes is None or base is None else base + memory_bytes + _HEADROOM
    _soft_limit(resource.RLIMIT_AS, value)


def limit_cpu(cpu_s: float | None) -> None:
    """Allow this much processor time from now on, on top of what was used; None lifts the limit."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _soft_limit(resource.RLIMIT_CPU, math.inf if cpu_s is None else usage.ru_utime + usage.ru_stime + cpu_s)

"""What a process holds: threads, files and child processes."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")


@dataclass(frozen=True)
class Held:
    """At one moment.

    Attributes:
        files: How many open descriptors lead to each file; empty where the system does not tell.
        children: Child processes, those not yet reaped included.
    """

    threads: frozenset[threading.Thread]
    files: Counter[str]
    children: frozenset[int]


def held() -> Held:
    """What this process holds now."""
    return Held(frozenset(threading.enumerate()), Counter(_files()), frozenset(_children()))


def _files() -> Iterable[str]:
    try:
        for descriptor in os.listdir("/proc/self/fd"):
            try:
                target = os.readlink(f"/proc/self/fd/{descriptor}")
            except OSError:  # the listing's own
                continue
            yield target.partition(":[")[0]  # pipes and sockets by kind: each has a number of its own
    except OSError:
        return


def _children() -> Iterable[int]:
    if not (_PROC / "self" / "stat").exists():
        yield from (child.pid for child in multiprocessing.active_children() if child.pid is not None)
        return
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            try:
                after_name = (entry / "stat").read_text().rpartition(") ")[2]
            except OSError:  # it has ended meanwhile
                continue
            if int(after_name.split()[1]) == os.getpid():
                yield int(entry.name)

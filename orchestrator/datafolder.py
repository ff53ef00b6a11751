"""The data folder: one owner at a time, held by a lock for the owner's life.

A process that becomes another program (`os.execve`) keeps its folder on the way: nobody else can own it in between.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from orchestrator.errors import StoreLocked

LOCK: Final = "lock"
DATABASE: Final = "orchestrator.db"
ADMIN_SOCKET: Final = "admin.sock"


@contextmanager
def owned(folder: Path) -> Iterator[Path]:
    """Own a data folder, made if missing; the lock dies with the process, however that ends.

    Raises:
        StoreLocked: Another process owns it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = _adopted(folder) or os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreLocked(str(folder), os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        _held.append(descriptor)
        yield folder
    finally:
        if descriptor in _held:
            _held.remove(descriptor)
        os.close(descriptor)


#: Locks that this process holds; and those that the program it was before has left to it.
_held: Final[list[int]] = []
_left: Final[list[int]] = []


def hand_on() -> list[int]:
    """Leave the locks of this process open for the program it is about to become; answers their descriptors."""
    for descriptor in _held:
        os.set_inheritable(descriptor, True)
    return list(_held)


def adopt(descriptors: Iterable[int]) -> None:
    """Take up what `hand_on` has left: whoever owns such a folder next in this process has its lock already."""
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
        _left.append(descriptor)


def _adopted(folder: Path) -> int | None:
    """The lock of that folder, if it was left to this process."""
    for descriptor in _left:
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(folder / LOCK)):
                _left.remove(descriptor)
                return descriptor
    return None

"""The data folder: one owner at a time, held by a lock for the owner's life."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
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
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreLocked(str(folder), os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield folder
    finally:
        os.close(descriptor)

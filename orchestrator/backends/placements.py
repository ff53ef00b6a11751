"""What is remembered of adapters that blocked the event loop, or hung: where their code may run from now on.

It outlives the process in a small file of the data folder, and not in the store: it has to be written, from a thread,
when the event loop stands still for good and nothing else of the process can be trusted to move. It is
knowledge about code, not about jobs: a backup need not have it, and what is lost of it is learned again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec
import structlog

log = structlog.get_logger()

FILE: Final = "placements.json"


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """Where an adapter's code may run.

    Attributes:
        worker: Its runs go to worker processes; else it is left out altogether.
        reason: What it did, for people.
        at: When, Unix milliseconds.
    """

    worker: bool
    reason: str
    at: int

    def told(self, adapter: str) -> str:
        """For people."""
        if self.worker:
            return f"runs in worker processes: {self.reason}"
        return f"left out: {self.reason}; `orchestrator plugins enable {adapter}` tries it again"


class _Memory(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The file.

    Attributes:
        lost: Number of the attempt by job: attempts that ended a process with the adapter that ran them.
    """

    adapters: dict[str, Placement] = {}
    lost: dict[str, int] = {}


class Placements:
    """Placements by adapter. May be asked and told from any thread.

    Args:
        folder: The data folder; None remembers for the life of the process.
    """

    def __init__(self, folder: Path | None, now_ms: Callable[[], int]) -> None:
        self._file = None if folder is None else folder / FILE
        self._now_ms = now_ms
        self._lock = threading.Lock()
        self._memory = _Memory() if self._file is None else _read(self._file)

    def of(self, adapter: str) -> Placement | None:
        """What is remembered of an adapter."""
        return self._memory.adapters.get(adapter)

    def all(self) -> dict[str, Placement]:
        """All that is remembered of adapters, by name."""
        return dict(self._memory.adapters)

    def lost(self) -> dict[str, int]:
        """Attempts that ended an earlier process: the number by job."""
        return dict(self._memory.lost)

    def put(self, adapter: str, reason: str, *, worker: bool, lost: Mapping[str, int] | None = None) -> None:
        """Remember that an adapter's runs go to worker processes, or that it is left out."""
        placement = Placement(worker=worker, reason=reason, at=self._now_ms())
        with self._lock:
            self._memory.adapters[adapter] = placement
            self._memory.lost.update(lost or {})
            self._write()

    def restore(self, adapter: str, placement: Placement) -> None:
        """Remember again what was forgotten too early."""
        with self._lock:
            self._memory.adapters[adapter] = placement
            self._write()

    def forget(self, adapter: str) -> Placement | None:
        """Let an adapter begin anew; answers what was remembered of it."""
        with self._lock:
            found = self._memory.adapters.pop(adapter, None)
            if found is not None:
                self._write()
        return found

    def settle(self) -> None:
        """What became of the lost attempts is recorded."""
        with self._lock:
            if self._memory.lost:
                self._memory.lost = {}
                self._write()

    def _write(self) -> None:
        if self._file is None:
            return
        new = self._file.with_suffix(".new")
        try:
            new.write_bytes(msgspec.json.encode(self._memory))
            os.replace(new, self._file)
        except OSError as error:
            log.error("cannot remember where adapters run", file=str(self._file), reason=str(error))  # noqa: TRY400


def remembered(folder: Path) -> dict[str, Placement]:
    """What a data folder remembers of adapters, by name; to look at."""
    return _read(folder / FILE).adapters


def _read(file: Path) -> _Memory:
    """What the file says; nothing if there is none, or if it is damaged."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=_Memory)
    except FileNotFoundError:
        return _Memory()
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        log.warning("what was remembered of adapters cannot be read", file=str(file), reason=str(error))
        return _Memory()

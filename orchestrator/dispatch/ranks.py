"""Who waits before whom: the ready jobs of one backend, by age, with the run times predicted of them.

The window of a queue shows some of them, with their inputs; here are all, without. The list is cut into blocks: to add
or remove a job touches one of them. Sums over what is ahead of a job are made when somebody asks, and kept until
something changes: most blocks keep theirs.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterator
from typing import Final, NamedTuple

from orchestrator.backends.abc import Adapter
from orchestrator.storage.abc import Waiting

#: Jobs in a block at most; it is cut in two then.
BLOCK: Final = 512


class Ahead(NamedTuple):
    """What is ahead of a job: how many, and wall milliseconds they will run; None if that is not predicted."""

    number: int
    wall_ms: int | None


class _Block:
    """Some consecutive jobs; `walls` are their predicted run times, None until somebody asks."""

    __slots__ = ("entries", "ids", "wall_ms", "walls")

    def __init__(self, entries: list[Waiting]) -> None:
        self.ids = [entry.id for entry in entries]
        self.entries = entries
        self.walls: list[int | None] | None = None
        self.wall_ms: int | None = 0

    def measure(self, adapter: Adapter) -> list[int | None]:
        """The predicted run times of all; `wall_ms` is their sum then."""
        if self.walls is None:
            predicted = [entry.predicted_ms for entry in self.entries]
            self.walls = [None if execution_ms is None else adapter.wall_ms(execution_ms) for execution_ms in predicted]
            self.wall_ms = _total(self.walls)
        return self.walls


class Ranks:
    """See the module."""

    def __init__(self) -> None:
        self._blocks: list[_Block] = []
        self._lasts: list[str] = []
        self._number = 0
        self._groups: Counter[str] = Counter()
        self._adapter: Adapter | None = None
        self._before: list[Ahead] | None = None

    def __len__(self) -> int:
        return self._number

    def __iter__(self) -> Iterator[Waiting]:
        for block in self._blocks:
            yield from block.entries

    def get(self, job_id: str) -> Waiting | None:
        """A job, if it is ready."""
        at = bisect_left(self._lasts, job_id)
        if at == len(self._blocks):
            return None
        block = self._blocks[at]
        place = bisect_left(block.ids, job_id)
        return block.entries[place] if block.ids[place] == job_id else None

    def add(self, entry: Waiting) -> None:
        """A job is ready from now on."""
        blocks, lasts = self._blocks, self._lasts
        if not blocks:
            blocks.append(_Block([]))
            lasts.append(entry.id)
        at = min(bisect_left(lasts, entry.id), len(blocks) - 1)
        block = blocks[at]
        place = bisect_left(block.ids, entry.id)
        block.ids.insert(place, entry.id)
        block.entries.insert(place, entry)
        lasts[at] = block.ids[-1]
        if len(block.ids) > BLOCK:
            halves = block.entries[: BLOCK // 2], block.entries[BLOCK // 2 :]
            blocks[at : at + 1] = [_Block(half) for half in halves]
            lasts[at : at + 1] = [half[-1].id for half in halves]
        self._changed(block, entry, 1)

    def discard(self, job_id: str) -> None:
        """A job is ready no more, if it was."""
        at = bisect_left(self._lasts, job_id)
        if at == len(self._blocks):
            return
        block = self._blocks[at]
        place = bisect_left(block.ids, job_id)
        if block.ids[place] != job_id:
            return
        entry = block.entries.pop(place)
        del block.ids[place]
        if block.ids:
            self._lasts[at] = block.ids[-1]
        else:
            del self._blocks[at], self._lasts[at]
        self._changed(block, entry, -1)

    def _changed(self, block: _Block, entry: Waiting, change: int) -> None:
        block.walls = self._before = None
        self._number += change
        for name in (entry.parent_id, entry.session_id):
            if name is not None:
                self._groups[name] += change
                if not self._groups[name]:
                    del self._groups[name]

    def ahead(self, job_id: str, adapter: Adapter) -> Ahead:
        """What is ahead of a job of that id, be it among these or not."""
        before = self._measured(adapter)
        at = bisect_left(self._lasts, job_id)
        if at == len(self._blocks):
            return before[-1]
        block = self._blocks[at]
        place = bisect_left(block.ids, job_id)
        return _further(before[at], place, _total(block.measure(adapter)[:place]))

    def of(self, names: Collection[str], most: int, adapter: Adapter) -> Iterator[tuple[Waiting, Ahead]]:
        """The jobs of these ids, and of each of these parents and sessions the first `most`, with what is ahead."""
        for entry in filter(None, map(self.get, names)):
            yield entry, self.ahead(entry.id, adapter)
        wanted = {name: most for name in names if name in self._groups}
        for block, before in zip(self._blocks, self._measured(adapter), strict=False):
            if not wanted:
                return
            walls = block.measure(adapter)
            for place, entry in enumerate(block.entries):
                found = [name for name in (entry.parent_id, entry.session_id) if name in wanted]
                for name in filter(None, found):
                    wanted[name] -= 1
                    if not wanted[name]:
                        del wanted[name]
                if found and entry.id not in names:
                    yield entry, _further(before, place, _total(walls[:place]))

    def _measured(self, adapter: Adapter) -> list[Ahead]:
        """What is ahead of each block, and at the end of nobody."""
        if adapter is not self._adapter:
            self._adapter, self._before = adapter, None
            for block in self._blocks:
                block.walls = None
        if self._before is None:
            ahead = Ahead(0, 0)
            self._before = [ahead]
            for block in self._blocks:
                block.measure(adapter)
                ahead = _further(ahead, len(block.ids), block.wall_ms)
                self._before.append(ahead)
        return self._before


def _total(walls: list[int | None]) -> int | None:
    return None if None in walls else sum(walls)  # type: ignore[arg-type]  # there is no None among them


def _further(ahead: Ahead, number: int, wall_ms: int | None) -> Ahead:
    known = None if ahead.wall_ms is None or wall_ms is None else ahead.wall_ms + wall_ms
    return Ahead(ahead.number + number, known)

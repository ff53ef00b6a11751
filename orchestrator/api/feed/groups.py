"""Feeds that have caught up, served together: what they want is encoded once, joined once and written to all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from orchestrator.api.feed.frames import Frames, Wire
from orchestrator.events import Event
from orchestrator.subscription import Selection

if TYPE_CHECKING:
    from orchestrator.api.feed.hub import Feed

#: Bytes written to a client in one turn, if more than one frame is waiting.
CHUNK: Final = 32_768


class Group:
    """Feeds that have caught up and are told the same.

    Attributes:
        late: Members that joined while frames were waiting, and want only those after their own sequence.
        waiting: Frames to be written, with their sequences.
        written: The sequence up to which members were written what they want.
    """

    def __init__(self, selection: Selection, wire: Wire) -> None:
        self.selection = selection
        self.wire = wire
        self.members: set[Feed] = set()
        self.late: set[Feed] = set()
        self.waiting: list[tuple[int, bytes]] = []
        self.written = 0

    def flush(self) -> None:
        """Write the next frames to all members, about `CHUNK` bytes at most."""
        size, frames = 0, []
        for _, frame in self.waiting:
            frames.append(frame)
            size += len(frame)
            if size >= CHUNK:
                break
        batch, self.waiting = self.waiting[: len(frames)], self.waiting[len(frames) :]
        reached = self.written = batch[-1][0]
        self._write(self.members, self.wire.joined(frames), reached)
        for feed in tuple(self.late):
            if rest := [frame for sequence, frame in batch if sequence > feed.sequence]:
                self.late.remove(feed)
                self.members.add(feed)
                self._write((feed,), self.wire.joined(rest), reached)
        if not self.waiting:
            self.members |= self.late
            self.late.clear()

    def _write(self, feeds: Sequence[Feed] | set[Feed], data: bytes, reached: int) -> None:
        full = [feed for feed in feeds if not feed.connection.write(data)]
        for feed in full:
            feed.sequence = reached
            self.members.discard(feed)
            feed.left.set()


class Groups:
    """All groups of one hub, and which of them an event could concern."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self._groups: dict[tuple[Selection, Wire], Group] = {}
        self._wide: dict[str | None, set[Group]] = {}
        self._chosen: dict[str, set[Group]] = {}
        self._dirty: dict[Group, None] = {}
        self._flushing = False

    def join(self, feed: Feed) -> None:
        """Serve it with its group from now on; it has all up to the newest event."""
        key = feed.selection, feed.connection.wire
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(*key)
            for index, name in self._names_of(group):
                index.setdefault(name, set()).add(group)
        (group.late if group.waiting else group.members).add(feed)

    def leave(self, feed: Feed) -> None:
        """Take a feed out of its group, if it is in one; it goes on after what it was written there."""
        group = self._groups.get((feed.selection, feed.connection.wire))
        if group is None:
            return
        if feed in group.members:
            group.members.remove(feed)
            feed.sequence = max(feed.sequence, group.written)
        group.late.discard(feed)
        self._tidy(group)

    def _tidy(self, group: Group) -> None:
        """Forget a group that has nobody."""
        if group.members or group.late:
            return
        del self._groups[group.selection, group.wire]
        self._dirty.pop(group, None)
        for index, name in self._names_of(group):
            index[name].discard(group)
            if not index[name]:
                del index[name]

    def _names_of(self, group: Group) -> Iterator[tuple[dict[Any, set[Group]], str | None]]:
        """Under which names the group is found: its jobs, or else its sessions, or else its project."""
        names = group.selection.jobs or group.selection.sessions
        if not names:
            yield self._wide, group.selection.project_id
        for name in names:
            yield self._chosen, name

    def tell(self, events: Sequence[Event]) -> None:
        """Have the events of a commit written to whom they concern."""
        if self._groups:
            dirty, frames = self._dirty, self._frames
            for event in events:
                for group in self._candidates(event):
                    if group.selection.matches(event):
                        group.waiting.append((event.sequence, group.wire.event(frames, event)))
                        dirty[group] = None
            self._schedule()

    def _candidates(self, event: Event) -> Iterable[Group]:
        """Groups that could want an event, each once."""
        project_id, chosen = event.project_id, self._chosen
        if project_id is None:
            return chain.from_iterable(self._wide.values())
        wide = self._wide.get(project_id, ())
        if not chosen:
            return wide
        names = (event.job_id, event.parent_id, event.session_id)
        return {*wide, *chain.from_iterable(chosen.get(name, ()) for name in names if name is not None)}

    def _schedule(self) -> None:
        if self._dirty and not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        for group in tuple(self._dirty):
            group.flush()
            if not group.waiting:
                del self._dirty[group]
            self._tidy(group)
        self._schedule()

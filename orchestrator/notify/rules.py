"""Which hooks an event concerns, decided in memory while the event's transaction is open.

The rules are compiled into one dictionary, project and kind -> rules, that is replaced as a whole: the store's
writer reads it on its own thread while the loop changes it. Without hooks a batch costs one look at it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import translate

from orchestrator.events import Event, EventKind
from orchestrator.hooks import Delivery, Hook
from orchestrator.model import Job
from orchestrator.storage.abc import Committed


class Rules:
    """The hooks of all projects."""

    def __init__(self) -> None:
        self._hooks: dict[str, Hook] = {}
        self._index: dict[tuple[str | None, EventKind], tuple[_Rule, ...]] = {}
        self._epoch = ""

    def load(self, hooks: Iterable[Hook], epoch: str) -> None:
        """Begin with what the store has; the log's epoch goes into the ids of deliveries."""
        self._epoch = epoch
        self._hooks = {hook.id: hook for hook in hooks}
        self._compile()

    def put(self, hook: Hook) -> None:
        """Add or replace a hook; the next batch knows it."""
        self._hooks[hook.id] = hook
        self._compile()

    def drop(self, hook_id: str) -> None:
        """Forget a hook."""
        self._hooks.pop(hook_id, None)
        self._compile()

    def get(self, hook_id: str) -> Hook | None:
        """A hook by id."""
        return self._hooks.get(hook_id)

    def of(self, project_id: str) -> list[Hook]:
        """A project's hooks, oldest first."""
        return sorted((hook for hook in self._hooks.values() if hook.project_id == project_id), key=lambda h: h.id)

    def route(self, entries: Sequence[Committed]) -> Sequence[Delivery]:
        """The deliveries that follow from events, in their order; `storage.abc.Route`."""
        index = self._index
        if not index:
            return ()
        return [
            Delivery(
                id=f"msg_{entry.event.sequence}_{hook.id[-12:]}_{self._epoch}",
                hook_id=hook.id,
                event=entry.event,
                due_at=entry.event.at,
            )
            for entry in entries
            for hook in _matching(index, entry)
        ]

    def concerned(self, entries: Sequence[Committed]) -> set[str]:
        """Ids of the hooks that events concern."""
        index = self._index
        return {hook.id for entry in entries for hook in _matching(index, entry)} if index else set()

    def _compile(self) -> None:
        index: dict[tuple[str | None, EventKind], tuple[_Rule, ...]] = {}
        for hook in sorted(self._hooks.values(), key=lambda hook: hook.id):
            if hook.disabled_at is not None:
                continue
            rule = _Rule(hook)
            for kind in hook.kinds:
                # Events of backends belong to no project: they are for everyone who asked.
                owner = None if kind.startswith("backend.") else hook.project_id
                index[owner, kind] = (*index.get((owner, kind), ()), rule)
        self._index = index


def _matching(index: dict[tuple[str | None, EventKind], tuple[_Rule, ...]], entry: Committed) -> Iterator[Hook]:
    for rule in index.get((entry.event.project_id, entry.event.kind), ()):
        if rule.matches(entry.event, entry.job):
            yield rule.hook


class _Rule:
    """A hook, ready to be compared with events."""

    def __init__(self, hook: Hook) -> None:
        self.hook = hook
        # The bare name of a machine means it, as everywhere.
        self._backends = None if hook.backend is None else {hook.backend, f"qpu.{hook.backend}"}
        self._name = None if hook.name is None else re.compile(translate(hook.name)).match
        key, separator, value = (hook.tag or "").partition("=")
        self._tag = (key, value if separator else None) if key else None

    def matches(self, event: Event, job: Job | None) -> bool:
        """Whether the hook's filters let the event pass."""
        if self._backends is not None and event.backend not in self._backends:
            return False
        if job is None:
            return self._name is None and self._tag is None
        if job.parent_id is not None and not self.hook.children:
            return False
        if self._name is not None and not self._name(job.spec.name or ""):
            return False
        if self._tag is None:
            return True
        key, value = self._tag
        found = (job.spec.metadata or {}).get(key)
        return found is not None and value in {None, found}

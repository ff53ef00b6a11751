"""Notification rules as people handle them: `orchestrator.hooks`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import anyio
import msgspec

from orchestrator.clock import Clock, NewId
from orchestrator.errors import ChannelUnavailable, DeliveryNotFound, HookNotFound, InvalidRequest
from orchestrator.events import Event, EventKind
from orchestrator.hooks import DEFAULT_KINDS, Delivery, DeliveryAttempt, Hook
from orchestrator.notify.abc import Attempted
from orchestrator.notify.delivery import Deliverer
from orchestrator.notify.listeners import kinds_of
from orchestrator.notify.registry import Channels
from orchestrator.notify.rules import Rules
from orchestrator.storage.outbox import Outbox

#: Most hooks of a project.
MOST: Final = 100
#: Longest pattern, tag or backend name of a filter.
LONGEST: Final = 200
#: Stands for a secret.
HIDDEN: Final = "***"


class Hooks:
    """The hooks of all projects; every call that names no project means the first one.

    Args:
        project: Id of the first project.
        resolve: The full name of a backend; raises where there is none.
    """

    def __init__(
        self,
        outbox: Outbox,
        rules: Rules,
        channels: Channels,
        deliverer: Deliverer,
        *,
        clock: Clock,
        new_id: NewId,
        project: str,
        resolve: Callable[[str], str],
    ) -> None:
        self._outbox = outbox
        self._rules = rules
        self._channels = channels
        self._deliverer = deliverer
        self._clock = clock
        self._new_id = new_id
        self._project = project
        self._resolve = resolve

    async def add(
        self,
        channel: str,
        target: Mapping[str, Any],
        *,
        kinds: str | Collection[str] = DEFAULT_KINDS,
        backend: str | None = None,
        tag: str | None = None,
        name: str | None = None,
        children: bool = False,
        project: str | None = None,
    ) -> Hook:
        """Add a hook; it tells of events committed after this returns.

        Args:
            channel: Name of an enabled channel.
            target: Where to, as the channel wants it; it may complete it with a secret, which the answer holds.
            kinds, backend, tag, name, children: See `Hook`; of kinds, families such as ``job.*`` too, and the short
                name of a machine.

        Raises:
            InvalidRequest: A member is wrong, or the project has too many hooks; `ChannelUnavailable` and
                `BackendNotFound` are such.
        """
        owner = project or self._project
        hook = Hook(
            id=self._new_id(),
            project_id=owner,
            channel=channel,
            target=(await self._channels.get(channel)).check(target),
            created_at=self._clock.now_ms(),
            kinds=_ordered(kinds),
            backend=self._backend(backend),
            tag=_bounded("tag", tag),
            name=_bounded("name", name),
            children=children,
        )
        if len(self._rules.of(owner)) >= MOST:
            raise InvalidRequest(f"a project has at most {MOST} hooks", code="quota_exceeded")
        with anyio.CancelScope(shield=True):  # memory and store must not differ
            await self._outbox.add_hook(hook)
            self._rules.put(hook)
        return hook

    def list(self, *, project: str | None = None) -> Sequence[Hook]:
        """A project's hooks, oldest first."""
        return self._rules.of(project or self._project)

    def get(self, hook_id: str, *, project: str | None = None) -> Hook:
        """A hook.

        Raises:
            HookNotFound: Unknown, removed or of another project.
        """
        hook = self._rules.get(hook_id)
        if hook is None or hook.project_id != (project or self._project):
            raise HookNotFound(hook_id)
        return hook

    async def shown(self, hook: Hook) -> Hook:
        """The hook without the secrets of its target; without all of it while its channel cannot be used."""
        try:
            hidden = (await self._channels.get(hook.channel)).secrets
        except ChannelUnavailable:
            hidden = frozenset(hook.target)
        target = {name: HIDDEN if name in hidden else value for name, value in hook.target.items()}
        return msgspec.structs.replace(hook, target=target)

    async def update(
        self, hook_id: str, *, target: Mapping[str, Any] | None = None, enabled: bool | None = None, **members: Any
    ) -> Hook:
        """Change a hook: members of its target, whether it is enabled, kinds or filters.

        Args:
            target: Members to set, None for one to leave out; others stay. How secrets rotate is the channel's matter.
            members: Any of ``kinds``, ``backend``, ``tag``, ``name``, ``children``, and ``project``.

        Disabling gives pending deliveries up; enabling does not bring them back, `redeliver` does.
        """
        hook = self.get(hook_id, project=members.pop("project", None))
        if target is not None:
            channel = await self._channels.get(hook.channel)
            merged = {**hook.target, **target}
            members["target"] = channel.check({name: value for name, value in merged.items() if value is not None})
        if "kinds" in members:
            members["kinds"] = _ordered(members["kinds"])
        if "backend" in members:
            members["backend"] = self._backend(members["backend"])
        for member in {"tag", "name"} & members.keys():
            members[member] = _bounded(member, members[member])
        if enabled is True:
            members |= {"disabled_at": None, "disabled_reason": None}
        elif enabled is False and hook.disabled_at is None:
            members |= {"disabled_at": self._clock.now_ms(), "disabled_reason": "disabled by hand"}
        return await self._replace(hook, members)

    async def rotate(self, hook_id: str, *, project: str | None = None) -> tuple[Hook, str]:
        """Give a hook a new secret beside the one it has, and answer it: both sign until `finish_rotation`.

        Raises:
            HookNotFound: As `get`.
            InvalidRequest: Hooks of that channel have no secret; `ChannelUnavailable` is such.
        """
        hook = self.get(hook_id, project=project)
        target, secret = (await self._channels.get(hook.channel)).rotated(hook.target)
        return await self._replace(hook, {"target": target}), secret

    async def finish_rotation(self, hook_id: str, *, project: str | None = None) -> Hook:
        """Have the newest secret alone sign from now on.

        Raises:
            HookNotFound, InvalidRequest: As `rotate`.
        """
        hook = self.get(hook_id, project=project)
        target = (await self._channels.get(hook.channel)).with_newest_secret(hook.target)
        return await self._replace(hook, {"target": target})

    async def _replace(self, hook: Hook, members: Mapping[str, Any]) -> Hook:
        """Change members of a hook as it stands now."""
        hook = msgspec.structs.replace(self.get(hook.id, project=hook.project_id), **members)
        with anyio.CancelScope(shield=True):
            self._rules.put(hook)
            await self._outbox.replace_hook(hook)
        self._deliverer.wake(hook.id)
        return hook

    def _backend(self, name: str | None) -> str | None:
        return None if _bounded("backend", name) is None else self._resolve(str(name))

    async def remove(self, hook_id: str, *, project: str | None = None) -> None:
        """Remove a hook, with what it still had to deliver and its log."""
        hook = self.get(hook_id, project=project)
        with anyio.CancelScope(shield=True):
            self._rules.drop(hook.id)
            await self._outbox.remove_hook(hook.id)
        self._deliverer.wake(hook.id)

    async def test(self, hook_id: str, *, project: str | None = None) -> Attempted:
        """Deliver an event ``hook.test`` at once, past the queue; answers how it went.

        Raises:
            HookNotFound: As `get`.
            ChannelUnavailable: The channel cannot be used.
        """
        hook = self.get(hook_id, project=project)
        event = Event(sequence=0, kind=EventKind.HOOK_TEST, at=self._clock.now_ms(), project_id=hook.project_id)
        return await self._deliverer.fire(hook, Delivery(id=f"test_{self._new_id()}", hook_id=hook.id, event=event))

    async def log(
        self, hook_id: str, *, project: str | None = None, limit: int = 50, before: int | None = None
    ) -> Sequence[DeliveryAttempt]:
        """Attempts for a hook, latest first; those before that position."""
        return await self._outbox.log(self.get(hook_id, project=project).id, limit=limit, before=before)

    async def pending(self, hook_id: str, *, project: str | None = None, limit: int = 50) -> Sequence[Delivery]:
        """Deliveries that are waiting, next one first."""
        return await self._outbox.pending(self.get(hook_id, project=project).id, limit=limit)

    async def dead(self, hook_id: str, *, project: str | None = None, limit: int = 50) -> Sequence[Delivery]:
        """Deliveries that were given up, oldest first."""
        return await self._outbox.dead(self.get(hook_id, project=project).id, limit=limit)

    async def redeliver(self, hook_id: str, delivery_id: str | None = None, *, project: str | None = None) -> int:
        """Deliver again, under the same id: one delivery whatever became of it, or all dead ones. Answers how many.

        Raises:
            HookNotFound: As `get`.
            DeliveryNotFound: The hook has none of that id.
            InvalidRequest: The hook is disabled.
        """
        hook = self.get(hook_id, project=project)
        if hook.disabled_at is not None:
            raise InvalidRequest("the hook is disabled; enable it first", fields=("hook",))
        number = await self._outbox.revive(hook.id, delivery_id, due_at=self._clock.now_ms())
        if delivery_id is not None and not number:
            raise DeliveryNotFound(delivery_id)
        self._deliverer.wake(hook.id)
        return number


def _ordered(kinds: str | Collection[str]) -> tuple[EventKind, ...]:
    chosen = kinds_of(kinds)
    return tuple(kind for kind in EventKind if kind in chosen)


def _bounded(member: str, text: str | None) -> str | None:
    if text is not None and not 0 < len(text) <= LONGEST:
        raise InvalidRequest(f"{member} has 1 to {LONGEST} characters", fields=(member,))
    return text

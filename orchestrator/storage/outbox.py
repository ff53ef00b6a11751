"""The outbox: the part of the store contract that notifications need.

Deliveries are inserted by the ledger alone, in the commit of their event, as the `Route` given to `Store.open`
says. Everything here works on what is committed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from orchestrator.hooks import Delivery, DeliveryAttempt, Hook


class Outbox(ABC):
    """Hooks, their deliveries, and the log of attempts. Nothing here checks projects: whoever asks has to."""

    @abstractmethod
    async def hooks(self) -> list[Hook]:
        """All hooks, oldest first."""

    @abstractmethod
    async def add_hook(self, hook: Hook) -> None:
        """Add a hook.

        Raises:
            StorageError: The id is taken.
        """

    @abstractmethod
    async def replace_hook(self, hook: Hook) -> None:
        """Replace the hook of that id, if it is still there. Pending deliveries of a disabled one become dead."""

    @abstractmethod
    async def remove_hook(self, hook_id: str) -> None:
        """Remove a hook, its deliveries and its log."""

    @abstractmethod
    async def waiting(self) -> list[str]:
        """Ids of hooks, existing ones, that have pending deliveries."""

    @abstractmethod
    async def pending(self, hook_id: str, *, limit: int, batch: str | None = None) -> list[Delivery]:
        """Pending deliveries in the order of their events; of that batch, if one is named."""

    @abstractmethod
    async def gather(self, deliveries: Sequence[Delivery], batch: str) -> None:
        """Have pending deliveries of one hook belong to a batch, in one commit."""

    @abstractmethod
    async def dead(self, hook_id: str, *, limit: int) -> list[Delivery]:
        """Dead deliveries in the order of their events."""

    @abstractmethod
    async def record(self, deliveries: Sequence[Delivery], attempts: Sequence[DeliveryAttempt]) -> None:
        """Keep how attempts went, in one commit. A delivery that is no longer pending stays as it is; what is of a
        hook that was removed is not kept."""

    @abstractmethod
    async def revive(self, hook_id: str, delivery_id: str | None, *, due_at: int) -> int:
        """Make a delivery pending again, whatever became of it; None means all dead ones. Answers how many.

        One that was settled leaves its batch; one that is pending stays in it."""

    @abstractmethod
    async def log(self, hook_id: str, *, limit: int, before: int | None = None) -> list[DeliveryAttempt]:
        """Attempts, latest first; those before that position."""

    @abstractmethod
    async def prune(self, settled_before: int, *, limit: int) -> int:
        """Remove up to `limit` deliveries that were settled, and as many lines of the log that were written,
        before that time. Answers how many rows went."""

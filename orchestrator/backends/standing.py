"""Whether a backend is handed jobs, and why not.

A backend has one `Holds` for the life of the process, whatever adapter serves it. Reasons to hold come and go one
by one, each put and lifted by whoever it belongs to, and jobs are handed out while there is none: an adapter that
is well again does not end the operator's pause.

What people see of that is a `Standing`. It is recorded with the event that tells of it, in one commit, so that
the log, the table and a restart agree.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import anyio
import structlog

from orchestrator.clock import Clock
from orchestrator.errors import StorageError
from orchestrator.model import Standing
from orchestrator.storage.abc import Store
from orchestrator.storage.ledger import change

log = structlog.get_logger()


class Hold(StrEnum):
    """Why nothing is handed to a backend; the most telling first."""

    RETIRED = "retired"
    """No adapter serves it."""
    PAUSED = "paused"
    """By the operator."""
    LEAVING = "leaving"
    """Its adapter is being disabled or replaced."""
    FAILING = "failing"
    """Its adapter crashes again and again. Shown only: whether it is well again is known when it takes jobs."""
    UNAVAILABLE = "unavailable"
    """Its adapter says so."""
    STOPPING = "stopping"
    """The server stops. Never recorded: it is nothing about the backend."""


#: What is shown and keeps nobody from taking jobs.
_SHOWN: Final = frozenset({Hold.FAILING})


class Holds:
    """The reasons to hold of one backend.

    Attributes:
        recorded: What the log told last; None where a failed write left that in doubt.
    """

    def __init__(self, recorded: Standing) -> None:
        self.backend = recorded.backend
        self.recorded: Standing | None = recorded
        self.recording = anyio.Lock()
        self._reasons: dict[Hold, str] = {}
        self._open = anyio.Event()
        self._open.set()
        if recorded.paused is not None:
            self.put(Hold.PAUSED, recorded.paused)

    def __contains__(self, hold: Hold) -> bool:
        return hold in self._reasons

    def reason(self, hold: Hold) -> str | None:
        """What was said when it was put; None if it is not held."""
        return self._reasons.get(hold)

    def put(self, hold: Hold, reason: str) -> None:
        """Hold, or hold for another reason."""
        self._reasons[hold] = reason
        if self._open.is_set() and hold not in _SHOWN:
            self._open = anyio.Event()

    def lift(self, *holds: Hold) -> None:
        """Hold no more for that; whatever else holds goes on."""
        for hold in holds:
            self._reasons.pop(hold, None)
        if self._reasons.keys() <= _SHOWN:
            self._open.set()

    @property
    def open(self) -> bool:
        """Whether jobs may be handed out."""
        return self._open.is_set()

    async def opened(self) -> None:
        """Wait until jobs may be handed out."""
        while not self._open.is_set():
            await self._open.wait()

    def standing(self, *, stopping: bool = False) -> Standing:
        """What people see: the most telling reason. That the server stops counts with `stopping` only."""
        paused = self._reasons.get(Hold.PAUSED)
        shown = next((hold for hold in Hold if hold in self._reasons and (stopping or hold is not Hold.STOPPING)), None)
        if shown is None:
            return Standing(backend=self.backend)
        reason = self._reasons[shown]
        if shown is Hold.PAUSED:
            reason = f"paused by the operator: {reason}" if reason else "paused by the operator"
        status = "retired" if shown is Hold.RETIRED else "unavailable"
        return Standing(backend=self.backend, status=status, reason=reason, paused=paused)


class Standings:
    """All backends' holds, and the record of what is news about them."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._before: dict[str, Standing] = {}
        self._holds: dict[str, Holds] = {}

    async def open(self) -> None:
        """Take up what earlier lives recorded: pauses hold on."""
        self._before = {standing.backend: standing for standing in await self._store.standings()}

    def of(self, backend: str) -> Holds:
        """A backend's holds: those put in this life, and the pause of an earlier one."""
        if backend not in self._holds:
            self._holds[backend] = Holds(self._before.get(backend) or Standing(backend=backend))
        return self._holds[backend]

    def before(self) -> frozenset[str]:
        """Backends of which an earlier life has recorded something."""
        return frozenset(self._before)

    def retire(self, backends: Iterable[str], reason: str) -> None:
        """No adapter serves these any more."""
        for backend in backends:
            holds = self.of(backend)
            holds.put(Hold.RETIRED, reason)
            holds.lift(Hold.LEAVING, Hold.FAILING, Hold.UNAVAILABLE)

    def renew(self, backends: Iterable[str]) -> None:
        """A new adapter serves these: what was said of the one before holds no more. A pause does."""
        for backend in backends:
            self.of(backend).lift(Hold.RETIRED, Hold.LEAVING, Hold.FAILING, Hold.UNAVAILABLE)

    async def record(self, backend: str) -> None:
        """Record where a backend stands, if that is news; returns after the commit. Cancelling leaves no doubt.

        Raises:
            StorageError: It could not be stored; `tell` will try again.
        """
        holds = self.of(backend)
        async with holds.recording:
            while (standing := holds.standing()) != holds.recorded:
                holds.recorded = None
                with anyio.CancelScope(shield=True):
                    await self._store.record(change(standing, self._clock.now_ms()))
                holds.recorded = standing

    async def tell(self, *backends: str) -> None:
        """As `record`, for several, all of this life unless named. What cannot be stored is left to the next call."""
        for backend in backends or tuple(self._holds):
            holds = self.of(backend)
            if holds.standing() == holds.recorded:
                continue
            try:
                await self.record(backend)
            except StorageError as error:
                log.warning("cannot record where a backend stands", backend=backend, reason=str(error))

"""Which attempt is struck by which fault: a pure function, so that a rehearsal can be repeated."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

import msgspec

from orchestrator.errors import SettingsError

_SPAN: Final = 2**64

Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e6)]


class Fault(StrEnum):
    """What can happen to an attempt; the name is that of its setting."""

    DELAY = "delay"
    """The backend's own queue is slow: `delay_s` pass before the attempt is handed on."""
    BUSY = "busy"
    """The backend answers 429: the attempt fails in a retryable way, and nothing is handed on for `retry_after_s`."""
    LOST = "lost"
    """The answer is lost: the run happens, and nobody is told how it ended."""
    FAILURE = "failure"
    """The run fails in its middle, after progress was told."""
    LATE = "late"
    """The end is told `late_s` after it came."""
    DUPLICATE = "duplicate"
    """Everything about the attempt is told twice."""
    REORDER = "reorder"
    """Start and progress are told after the end."""
    OUTAGE = "outage"
    """The backend goes away for calibration for `outage_s`, with this attempt on it."""
    CRASH = "crash"
    """The worker process with the attempt on it dies."""


class Every(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every so many attempts at a backend are struck."""

    every: Annotated[int, msgspec.Meta(ge=1)]


Chance = Annotated[float, msgspec.Meta(ge=0, le=1)] | Every


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The plugin's table of the configuration.

    Attributes:
        adapter: Entry point of the adapter to wrap; empty to serve nothing.
        settings: The table of settings that adapter gets.
        prefix: In front of the names of its backends.
        seed: Of the draws.
        delay: How often, see `Fault`: a probability, or every so many attempts. So are all that follow.
        delay_s: Seconds; so are `retry_after_s`, `late_s` and `outage_s`.
        failure_retryable: Whether a failure in the middle of a run may be tried again.
        lost_vouched: Whether attempts whose answer was lost seem alive: then the run limit ends them, else their lease.
    """

    adapter: str = ""
    settings: dict[str, Any] = msgspec.field(default_factory=dict)
    prefix: str = "fault."
    seed: int = 0
    delay: Chance = 0.0
    delay_s: Seconds = 5.0
    busy: Chance = 0.0
    retry_after_s: Seconds = 1.0
    lost: Chance = 0.0
    lost_vouched: bool = False
    failure: Chance = 0.0
    failure_retryable: bool = False
    late: Chance = 0.0
    late_s: Seconds = 5.0
    duplicate: Chance = 0.0
    reorder: Chance = 0.0
    outage: Chance = 0.0
    outage_s: Seconds = 30.0
    crash: Chance = 0.0

    def strikes(self, backend: str, number: int) -> frozenset[Fault]:
        """What strikes the attempt of that number, from 1, at that backend."""
        return frozenset(
            fault
            for fault in Fault
            if (chance := getattr(self, fault)) and self._strikes(fault, chance, backend, number)
        )

    def _strikes(self, fault: Fault, chance: Chance, backend: str, number: int) -> bool:
        if isinstance(chance, Every):
            return number % chance.every == 0
        drawn = hashlib.blake2b(f"{self.seed} {backend} {fault} {number}".encode(), digest_size=8).digest()
        return int.from_bytes(drawn) < chance * _SPAN


def read(table: Mapping[str, Any]) -> Settings:
    """The settings in a table of the configuration.

    Raises:
        SettingsError: Names the key.
    """
    try:
        return msgspec.convert(dict(table), Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"fault: {error}") from error

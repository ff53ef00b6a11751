"""How often something may happen: token buckets by key."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.clock import Clock


class Rate:
    """`per_hour` times in an hour for each key, that many at once after a rest."""

    def __init__(self, clock: Clock, per_hour: int) -> None:
        self._clock = clock
        self._most = float(per_hour)
        self._refill_s = 3600.0 / per_hour
        #: Key -> tokens left at a time. What has filled up again is forgotten.
        self._left: dict[str, tuple[float, float]] = {}

    def wait_s(self, key: str) -> float:
        """Seconds until the next time is permitted; 0 for now."""
        return max(0.0, (1.0 - self._tokens(key)) * self._refill_s)

    def take(self, key: str) -> None:
        """Count one."""
        if len(self._left) > 1024:
            self._forget(list(self._left))
        self._left[key] = (self._tokens(key) - 1.0, self._clock.monotonic())

    def _tokens(self, key: str) -> float:
        left, at = self._left.get(key, (self._most, 0.0))
        return min(self._most, left + (self._clock.monotonic() - at) / self._refill_s)

    def _forget(self, keys: Iterable[str]) -> None:
        for key in keys:
            if self._tokens(key) >= self._most:
                del self._left[key]

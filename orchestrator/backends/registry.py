"""The backends of one orchestrator: discovery by entry point, what they can do, where they stand.

Only configured adapters load (or all installed ones without a configuration), one by one; one that is missing or
broken is reported by name and reason and takes nothing else down.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any, Final

import anyio
import msgspec
import structlog

from orchestrator.backends.abc import Adapter, AdapterContext, Capabilities
from orchestrator.backends.guarding import Escaped, contained
from orchestrator.backends.running import made_by
from orchestrator.clock import Clock
from orchestrator.errors import AdapterUnavailable, BackendNotFound
from orchestrator.model import BackendState, Characterization
from orchestrator.storage.abc import Store

log = structlog.get_logger()

GROUP: Final = "orchestrator.backends"
CLOSE_LIMIT_S: Final = 5.0


def discover(names: Sequence[str] = ()) -> tuple[list[Adapter], list[AdapterUnavailable]]:
    """Adapters by the names of their entry points; all installed ones if none are named.

    Answers those that could be made, and why the others could not.
    """
    installed = {point.name: point for point in entry_points(group=GROUP)}
    adapters: list[Adapter] = []
    problems: list[AdapterUnavailable] = []
    for name in names or sorted(installed):
        if name not in installed:
            known = ", ".join(sorted(installed)) or "none"
            problems.append(AdapterUnavailable(name, f"not installed; installed: {known}"))
            continue
        try:
            with contained():
                made = installed[name].load()()
        except Exception as error:
            log.exception("plugin failed to load", plugin=name)
            problems.append(AdapterUnavailable(name, _reason(error)))
            continue
        if isinstance(made, Adapter):
            made_by(made, installed[name].value)
            adapters.append(made)
        else:
            problems.append(AdapterUnavailable(name, "its entry point does not make an Adapter"))
    return adapters, problems


class Backends:
    """Opened adapters by the backends they serve.

    Attributes:
        problems: Adapters that are configured but unavailable, and why.
    """

    def __init__(self, store: Store, clock: Clock, *, queued: Callable[[str], tuple[int, int]]) -> None:
        self.problems: list[AdapterUnavailable] = []
        self._store = store
        self._clock = clock
        self._queued = queued
        self._opened: list[Adapter] = []
        self._by_name: dict[str, tuple[Adapter, Capabilities]] = {}
        self._initial: list[Characterization] = []

    async def open(self, adapters: Sequence[Adapter], context: Callable[[Adapter], AdapterContext]) -> None:
        """Open adapters; one that raises is reported, not fatal."""
        for adapter in adapters:
            self._opened.append(adapter)
            try:
                with contained():
                    await adapter.open(context(adapter))
                    served = list(adapter.capabilities())
                    initial = list(adapter.initial_characterizations())
            except AdapterUnavailable as problem:
                log.error("adapter cannot be served", adapter=adapter.name, reason=problem.reason)  # noqa: TRY400
                self.problems.append(problem)
                continue
            except Exception as error:
                log.exception("adapter failed to open", adapter=adapter.name)
                self.problems.append(AdapterUnavailable(adapter.name, _reason(error)))
                continue
            for capabilities in served:
                if capabilities.backend in self._by_name:
                    reason = f"backend {capabilities.backend} is already served"
                    self.problems.append(AdapterUnavailable(adapter.name, reason))
                else:
                    self._by_name[capabilities.backend] = (adapter, capabilities)
                    self._initial += [item for item in initial if item.backend == capabilities.backend]

    async def aclose(self) -> None:
        """Close all adapters, the last opened first; shielded, with a time limit each."""
        while self._opened:
            adapter = self._opened.pop()
            try:
                with anyio.move_on_after(CLOSE_LIMIT_S, shield=True), contained():
                    await adapter.aclose()
            except Exception:
                log.exception("adapter failed to close", adapter=adapter.name)

    def initial_characterizations(self) -> list[Characterization]:
        """Calibrations to record for backends that have none."""
        return list(self._initial)

    def served(self) -> list[tuple[Adapter, Capabilities]]:
        """Each backend's adapter and capabilities."""
        return list(self._by_name.values())

    def names(self) -> list[str]:
        """Names of all backends."""
        return list(self._by_name)

    def resolve(self, name: str) -> str:
        """The full name of a backend; ``aria-1`` is an alias of ``qpu.aria-1``.

        Raises:
            BackendNotFound: There is no such backend.
        """
        for candidate in (name, f"qpu.{name}"):
            if candidate in self._by_name:
                return candidate
        raise BackendNotFound(name, tuple(self._by_name))

    def adapter(self, backend: str) -> Adapter:
        """The adapter that serves a backend."""
        return self._find(backend)[0]

    def capabilities(self, backend: str) -> Capabilities:
        """What a backend can do."""
        return self._find(backend)[1]

    def state(self, backend: str) -> BackendState:
        """Where a backend stands, its queue included."""
        adapter, _ = self._find(backend)
        queued, average_ms = self._queued(backend)
        state = adapter.state(backend)
        return msgspec.structs.replace(
            state,
            queued=queued,
            average_queue_ms=state.average_queue_ms or average_ms,
            updated_at=state.updated_at or self._clock.now_ms(),
        )

    def _find(self, backend: str) -> tuple[Adapter, Capabilities]:
        found = self._by_name.get(backend)
        if found is None:
            raise BackendNotFound(backend, tuple(self._by_name))
        return found

    async def characterizations(
        self, backend: str, *, start_ms: int | None = None, end_ms: int | None = None, limit: int = 10, page: int = 1
    ) -> tuple[list[Characterization], int]:
        """Recorded calibrations, newest first, and how many pages are left after this one."""
        offset = (page - 1) * limit
        items, total = await self._store.characterizations(
            backend, start=start_ms, end=end_ms, limit=limit, offset=offset
        )
        return items, -(-max(0, total - offset - len(items)) // limit)

    async def characterization(self, backend: str | None, characterization_id: str) -> Characterization | None:
        """One recorded calibration, of that backend if one is named."""
        item = await self._store.characterization(characterization_id)
        return item if item is not None and backend in {None, item.backend} else None


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, Escaped) else f"{type(error).__name__}: {error}"


def settings_of(adapter: Adapter, tables: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The adapter's own table of the configuration."""
    return tables.get(adapter.name, {})

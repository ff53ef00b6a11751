"""The backends of one orchestrator: who serves them, what they can do, where they stand.

Adapters are opened side by side; one that is broken is reported by name and reason and takes nothing else down.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

import anyio
import msgspec
import structlog

from orchestrator.backends.abc import Adapter, AdapterContext, Capabilities
from orchestrator.backends.standing import Standings
from orchestrator.clock import Clock
from orchestrator.errors import AdapterUnavailable, BackendNotFound, BackendRetired
from orchestrator.foreign import apart, contained, legible, name_of, reason_of
from orchestrator.model import BackendState, Characterization
from orchestrator.storage.abc import Store
from orchestrator.storage.ledger import calibration

log = structlog.get_logger()
replace = msgspec.structs.replace

OPEN_LIMIT_S: Final = 60.0
CLOSE_LIMIT_S: Final = 3.0
CLOSE_MOMENT_S: Final = 0.1


class _TooLong(Exception):
    """An adapter did not open in time."""


class Offer(NamedTuple):
    """An opened adapter and what it can serve."""

    adapter: Adapter
    served: tuple[Capabilities, ...]
    initial: tuple[Characterization, ...]


@dataclass(slots=True)
class _Backend:
    """A backend and who serves it; nobody once its adapter, of that name, was disabled."""

    capabilities: Capabilities
    adapter: Adapter | None
    served_by: str


class Backends:
    """Opened adapters by the backends they serve. A backend whose adapter was disabled stays known, as retired.

    Args:
        queued: Jobs that wait for a backend, and how long they do on average, milliseconds.
        running: Jobs of a backend that its adapter has in hand.

    Attributes:
        problems: Adapters that are configured but unavailable, and why.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        standings: Standings,
        *,
        queued: Callable[[str], tuple[int, int]],
        running: Callable[[str], int],
    ) -> None:
        self.problems: list[AdapterUnavailable] = []
        self._store = store
        self._clock = clock
        self._standings = standings
        self._queued = queued
        self._running = running
        self._opened: list[Adapter] = []
        self._by_name: dict[str, _Backend] = {}

    # -- adapters -----------------------------------------------------------------------

    async def open(self, adapters: Sequence[Adapter], context: Callable[[Adapter], AdapterContext]) -> None:
        """Open adapters and serve what they offer, the first ones first; one that raises is reported, not fatal."""
        opened: dict[int, Offer | AdapterUnavailable] = {}

        async def open_one(place: int, adapter: Adapter) -> None:
            try:
                opened[place] = await self.offered(adapter, context)
            except AdapterUnavailable as problem:
                opened[place] = problem

        async with anyio.create_task_group() as tasks:
            for place, adapter in enumerate(adapters):
                tasks.start_soon(open_one, place, adapter)
        for _, offer in sorted(opened.items()):
            if isinstance(offer, AdapterUnavailable):
                self.problems.append(offer)
            else:
                await self.calibrate(offer, self.admit(offer))

    async def offered(self, adapter: Adapter, context: Callable[[Adapter], AdapterContext]) -> Offer:
        """Open an adapter; what it offers is served once it is admitted. One that cannot be opened is closed again.

        Raises:
            AdapterUnavailable: It raises, takes longer than the limit, or offers what is no capability.
        """
        self._opened.append(adapter)
        try:
            opening = partial(adapter.open, context(adapter))
            with anyio.move_on_after(OPEN_LIMIT_S) as limit:
                await apart(opening, "open", adapter=adapter.name)
            if limit.cancelled_caught:
                raise _TooLong  # noqa: TRY301 - to be closed like one that raises
            return asked(adapter)
        except AdapterUnavailable as problem:
            reason = legible(problem.reason)
            log.error("adapter cannot be served", adapter=adapter.name, reason=reason)  # noqa: TRY400
            await self.close(adapter)
            raise AdapterUnavailable(adapter.name, reason) from problem
        except _TooLong:
            log.error("adapter does not open", adapter=adapter.name)  # noqa: TRY400 - our trace says nothing
            await self.close(adapter)
            raise AdapterUnavailable(adapter.name, f"it did not open within {OPEN_LIMIT_S:g} s") from None
        except Exception as error:
            log.exception("adapter failed to open", adapter=adapter.name)
            await self.close(adapter)
            raise AdapterUnavailable(adapter.name, reason_of(error)) from error
        except BaseException:
            await self.close(adapter)
            raise

    def admit(self, offer: Offer) -> list[str]:
        """Serve what an adapter offers; answers the names. What another adapter serves stays that one's."""
        name = offer.adapter.name
        self.problems = [problem for problem in self.problems if problem.name != name]
        served = []
        for capabilities in offer.served:
            backend = capabilities.backend
            if (known := self._by_name.get(backend)) is not None and known.adapter is not None:
                self.problems.append(AdapterUnavailable(name, f"backend {backend} is already served"))
            else:
                self._by_name[backend] = _Backend(capabilities, offer.adapter, name)
                served.append(backend)
        return served

    async def calibrate(self, offer: Offer, backends: Collection[str]) -> None:
        """Record the first calibrations that an adapter offers for these backends, where there are none."""
        if initial := [item for item in offer.initial if item.backend in backends]:
            calibrated = await self._store.calibrated()
            for item in initial:
                if item.backend not in calibrated:
                    await self._store.record(calibration(item, item.recorded_at))

    def dismiss(self, backends: Iterable[str]) -> None:
        """Serve these no more; they stay known."""
        for backend in backends:
            self._by_name[backend].adapter = None

    async def close(self, adapter: Adapter, limit_s: float = CLOSE_LIMIT_S) -> None:
        """Close an adapter, once; shielded, with a time limit."""
        if adapter not in self._opened:
            return
        self._opened.remove(adapter)
        try:
            with anyio.move_on_after(limit_s, shield=True):
                await apart(adapter.aclose, "aclose", adapter=adapter.name)
        except Exception:
            log.exception("adapter failed to close", adapter=adapter.name)

    async def aclose(self) -> None:
        """Close all adapters, the last opened first, in the time that one has; the last of many get a moment."""
        deadline = anyio.current_time() + CLOSE_LIMIT_S
        while self._opened:
            await self.close(self._opened[-1], max(CLOSE_MOMENT_S, deadline - anyio.current_time()))

    def adapters(self) -> list[Adapter]:
        """The opened adapters."""
        return list(self._opened)

    # -- backends -----------------------------------------------------------------------

    def served(self) -> list[tuple[Adapter, Capabilities]]:
        """Each served backend's adapter and capabilities; may be asked from any thread."""
        known = list(self._by_name.values())
        return [(each.adapter, each.capabilities) for each in known if each.adapter is not None]

    def names(self) -> list[str]:
        """Names of all backends, retired ones included."""
        return list(self._by_name)

    def served_by(self) -> dict[str, str]:
        """The name of each backend's adapter; of a retired one, of its last."""
        return {name: each.served_by for name, each in self._by_name.items()}

    def resolve(self, name: str) -> str:
        """The full name of a backend; ``aria-1`` is an alias of ``qpu.aria-1``.

        Raises:
            BackendNotFound: There is no such backend.
        """
        if name in self._by_name:
            return name
        if (full := f"qpu.{name}") in self._by_name:
            return full
        raise BackendNotFound(name, tuple(self._by_name))

    def accepting(self, backend: str) -> Capabilities:
        """What a backend can do that takes new jobs.

        Raises:
            BackendRetired: Its adapter was disabled.
        """
        found = self._find(backend)
        if found.adapter is None:
            raise BackendRetired(backend, found.served_by)
        return found.capabilities

    def adapter(self, backend: str) -> Adapter:
        """The adapter that serves a backend.

        Raises:
            BackendRetired: None does.
        """
        found = self._find(backend)
        if found.adapter is None:
            raise BackendRetired(backend, found.served_by)
        return found.adapter

    def capabilities(self, backend: str) -> Capabilities:
        """What a backend can do, or could."""
        return self._find(backend).capabilities

    def state(self, backend: str) -> BackendState:
        """Where a backend stands, its queue included."""
        adapter = self._find(backend).adapter
        queued, average_ms = self._queued(backend)
        state = BackendState(backend=backend) if adapter is None else _state(adapter, backend)
        standing = self._standings.of(backend).standing(stopping=True)
        if standing.status != "available":
            state = replace(state, status=standing.status, reason=standing.reason)
        return replace(
            state,
            queued=queued,
            running=self._running(backend),
            average_queue_ms=state.average_queue_ms or average_ms,
            updated_at=state.updated_at or self._clock.now_ms(),
        )

    def _find(self, backend: str) -> _Backend:
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


def asked(adapter: Adapter) -> Offer:
    """What an opened adapter offers now.

    Raises:
        TypeError: What is no capability.
        Exception: Whatever it raises.
    """
    with contained():
        served, initial = tuple(adapter.capabilities()), tuple(adapter.initial_characterizations())
    if wrong := [item for item in served if not isinstance(item, Capabilities)]:
        raise TypeError(f"capabilities() answers a {type(wrong[0]).__name__}")
    for item in served:
        try:
            msgspec.json.decode(msgspec.json.encode(item), type=Capabilities)  # structs do not check their members
        except (msgspec.MsgspecError, TypeError, ValueError) as error:
            raise TypeError(f"capabilities() answers a member that cannot be: {error}") from error
    return Offer(adapter, served, initial)


def _state(adapter: Adapter, backend: str) -> BackendState:
    """What an adapter says of a backend; one that breaks there is one of which that is known."""
    try:
        with contained():
            return adapter.state(backend)
    except Exception as error:
        log.exception("adapter raised in state", backend=backend)
        return BackendState(backend=backend, status="unavailable", reason=f"its adapter raised {name_of(error)}")


def settings_of(adapter: Adapter, tables: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The adapter's own table of the configuration."""
    return tables.get(adapter.name, {})

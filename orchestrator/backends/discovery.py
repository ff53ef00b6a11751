"""Finding adapters by their entry points.

Only adapters that somebody names load, one by one; one that is missing, broken or hangs is reported by name and
reason and takes nothing else down, not even if it exits at import.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint
from typing import Final, NamedTuple

import structlog

from orchestrator import loading
from orchestrator.backends.abc import Adapter
from orchestrator.backends.running import made_by
from orchestrator.errors import AdapterUnavailable
from orchestrator.foreign import contained, reason_of
from orchestrator.loading import IMPORT_LIMIT_S, NotLoaded

log = structlog.get_logger()

GROUP: Final = "orchestrator.backends"


def installed() -> dict[str, EntryPoint]:
    """The entry points of installed adapters, by name."""
    return loading.installed(GROUP)


async def discover(
    names: Sequence[str], limit_s: float = IMPORT_LIMIT_S
) -> tuple[list[Adapter], list[AdapterUnavailable]]:
    """Adapters by the names of their entry points.

    Answers those that could be made, and why the others could not.
    """
    adapters: list[Adapter] = []
    problems: list[AdapterUnavailable] = []
    for name in names:
        try:
            adapters.append(await made(name, limit_s))
        except AdapterUnavailable as problem:
            problems.append(problem)
    return adapters, problems


async def made(name: str, limit_s: float = IMPORT_LIMIT_S) -> Adapter:
    """A new adapter, by the name of its entry point; what is wrong with it is logged too.

    Raises:
        AdapterUnavailable: It is not installed, cannot be imported in time, or cannot be made.
    """
    point = _point(name)
    try:
        return Factory(name, point.value, await loading.loading(point, limit_s)).make()
    except (AdapterUnavailable, NotLoaded) as problem:
        reason = problem.reason if isinstance(problem, AdapterUnavailable) else str(problem)
        log.error("plugin failed to load", plugin=name, reason=reason, exc_info=problem.__cause__)  # noqa: TRY400
        raise AdapterUnavailable(name, reason) from problem


class Factory(NamedTuple):
    """What an entry point names, imported.

    Attributes:
        origin: The entry point, ``module:name``.
    """

    name: str
    origin: str
    factory: Callable[[], object]

    def make(self) -> Adapter:
        """A new adapter.

        Raises:
            AdapterUnavailable: It raises, or makes something else.
        """
        try:
            with contained():
                adapter = self.factory()
        except Exception as error:
            raise AdapterUnavailable(self.name, reason_of(error)) from error
        if not isinstance(adapter, Adapter):
            raise AdapterUnavailable(self.name, "its entry point does not make an Adapter")
        made_by(adapter, self.origin)
        return adapter


def loaded(name: str, limit_s: float = IMPORT_LIMIT_S) -> Factory:
    """What makes the adapters of that name; the calling thread waits while it is imported.

    Raises:
        AdapterUnavailable: It is not installed, or cannot be imported in time.
    """
    point = _point(name)
    try:
        return Factory(name, point.value, loading.load(point, limit_s))
    except NotLoaded as problem:
        raise AdapterUnavailable(name, str(problem)) from problem


def _point(name: str) -> EntryPoint:
    points = installed()
    if name not in points:
        raise AdapterUnavailable(name, loading.unknown(name, points))
    return points[name]

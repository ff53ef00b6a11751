"""Finding adapters by their entry points.

Only configured adapters load (or all installed ones without a configuration), one by one; one that is missing or
broken is reported by name and reason and takes nothing else down, not even if it exits at import.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Final, NamedTuple

import structlog

from orchestrator.backends.abc import Adapter
from orchestrator.backends.running import made_by
from orchestrator.errors import AdapterUnavailable
from orchestrator.foreign import contained, reason_of

log = structlog.get_logger()

GROUP: Final = "orchestrator.backends"


def installed() -> dict[str, EntryPoint]:
    """The entry points of installed adapters, by name."""
    return {point.name: point for point in entry_points(group=GROUP)}


def discover(names: Sequence[str] = ()) -> tuple[list[Adapter], list[AdapterUnavailable]]:
    """Adapters by the names of their entry points; all installed ones if none are named.

    Answers those that could be made, and why the others could not.
    """
    adapters: list[Adapter] = []
    problems: list[AdapterUnavailable] = []
    for name in names or sorted(installed()):
        try:
            adapters.append(loaded(name).make())
        except AdapterUnavailable as problem:
            problems.append(problem)
    return adapters, problems


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
            raise _failed(self.name, error) from error
        if not isinstance(adapter, Adapter):
            raise AdapterUnavailable(self.name, "its entry point does not make an Adapter")
        made_by(adapter, self.origin)
        return adapter


def loaded(name: str) -> Factory:
    """Import what the entry point of that name names; on any thread.

    Raises:
        AdapterUnavailable: It is not installed, or cannot be imported.
    """
    points = installed()
    if name not in points:
        raise not_installed(name, points)
    try:
        with contained():
            return Factory(name, points[name].value, points[name].load())
    except Exception as error:
        raise _failed(name, error) from error


def not_installed(name: str, known: Collection[str]) -> AdapterUnavailable:
    """The refusal of a name that no installed adapter has, with the nearest one: projects are named with dashes."""
    near = difflib.get_close_matches(name.replace("-", "_"), known, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return AdapterUnavailable(name, f"not installed{hint}; installed: {', '.join(sorted(known)) or 'none'}")


def _failed(name: str, error: Exception) -> AdapterUnavailable:
    log.error("plugin failed to load", plugin=name, exc_info=error)
    return AdapterUnavailable(name, reason_of(error))

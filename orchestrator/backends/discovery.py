"""Finding adapters by their entry points.

Only configured adapters load (or all installed ones without a configuration), one by one; one that is missing or
broken is reported by name and reason and takes nothing else down, not even if it exits at import.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Final

import structlog

from orchestrator.backends.abc import Adapter
from orchestrator.errors import AdapterUnavailable

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
            adapters.append(made(name, loaded(name)))
        except AdapterUnavailable as problem:
            problems.append(problem)
    return adapters, problems


def loaded(name: str) -> Callable[[], object]:
    """Import what an entry point names.

    Raises:
        AdapterUnavailable: It is not installed, or cannot be imported.
    """
    points = installed()
    if name not in points:
        raise AdapterUnavailable(name, f"not installed; installed: {', '.join(sorted(points)) or 'none'}")
    try:
        factory: Callable[[], object] = points[name].load()
    except (Exception, SystemExit) as error:
        log.exception("plugin failed to load", plugin=name)
        raise AdapterUnavailable(name, f"{type(error).__name__}: {error}") from error
    return factory


def made(name: str, factory: Callable[[], object]) -> Adapter:
    """The adapter that an entry point makes.

    Raises:
        AdapterUnavailable: It raises, or makes something else.
    """
    try:
        adapter = factory()
    except (Exception, SystemExit) as error:
        log.exception("plugin failed to load", plugin=name)
        raise AdapterUnavailable(name, f"{type(error).__name__}: {error}") from error
    if not isinstance(adapter, Adapter):
        raise AdapterUnavailable(name, "its entry point does not make an Adapter")
    return adapter

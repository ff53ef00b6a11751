"""Finding an adapter by its name, as the command line gives it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from orchestrator.backends.abc import Adapter
from orchestrator.backends.discovery import installed
from orchestrator.errors import AdapterUnavailable
from orchestrator.loading import unknown
from orchestrator.settings import load


def found_adapter(name: str, folder: Path | None = None) -> Callable[[], Adapter]:
    """The class (or function) that makes an adapter.

    Args:
        name: Of an entry point of an installed plugin, or ``module:Class``.
        folder: Where to look for modules first; stays on the import path.

    Raises:
        AdapterUnavailable: Nothing of that name is installed, or the module has no such member.
        Exception: Whatever importing it raises.
    """
    module, colon, member = name.partition(":")
    if not colon:
        points = installed()
        if name not in points:
            raise AdapterUnavailable(name, f"{unknown(name, points)}; others are named as module:Class")
        loaded = points[name].load()
    else:
        if folder is not None and str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
        loaded = getattr(import_module(module), member, None)
    if not callable(loaded):
        raise AdapterUnavailable(name, f"{module} has nothing of that name to call")
    make: Callable[[], Adapter] = loaded
    return make


def table_of(make: Callable[[], Adapter], file: str | None) -> Mapping[str, Any]:
    """The adapter's table of a file of settings; empty without one."""
    if file is None:
        return {}
    name = getattr(make, "name", None) or make().name
    return load(Path(file), environment={}).plugins.get(name, {})

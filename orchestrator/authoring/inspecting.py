"""What is installed beside the core, and what an adapter says about itself.

A plugin is trusted code, never trusted to work: one that is missing or broken becomes a name and a reason.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib import import_module
from importlib.metadata import EntryPoint
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import msgspec

from orchestrator.backends.abc import Adapter, AdapterContext
from orchestrator.backends.discovery import GROUP as BACKENDS
from orchestrator.backends.discovery import Factory
from orchestrator.backends.placements import Placement
from orchestrator.clock import SystemClock, uuid7_factory
from orchestrator.errors import AdapterUnavailable
from orchestrator.foreign import apart, reason_of
from orchestrator.loading import IMPORT_LIMIT_S, NotLoaded, installed, load, unknown
from orchestrator.notify.registry import GROUP as CHANNELS
from orchestrator.settings import Settings
from orchestrator.workers.pool import WorkerPool

KINDS: Final = {BACKENDS: "backends", CHANNELS: "channels"}


class Plugin(msgspec.Struct, frozen=True, kw_only=True):
    """An installed plugin, or one that the configuration names and nobody has installed.

    Attributes:
        loads: ``yes``, or ``no: `` and the reason, also that it could not be opened.
        enabled: ``yes`` if a server uses it, else ``no``.
        moved: Why its runs go to worker processes, where it was moved there.
    """

    plugin: str
    kind: str
    distribution: str = ""
    version: str = ""
    loads: str
    enabled: str
    moved: str = ""


def plugins(settings: Settings, placements: Mapping[str, Placement] = MappingProxyType({})) -> list[Plugin]:
    """Every plugin, in the order of kinds and names. Imports them all, each within the settings' limit.

    Args:
        placements: What a data folder remembers of adapters.
    """
    found = []
    for group, kind in KINDS.items():
        points = installed(group)
        wanted = settings.backends if group == BACKENDS else settings.notify.channels
        enabled = set(wanted) if wanted or group == CHANNELS else set(points)
        for name in sorted(points.keys() | enabled):
            point = points.get(name)
            placement = placements.get(name) if group == BACKENDS else None
            left_out = placement is not None and not placement.worker
            found.append(
                Plugin(
                    plugin=name,
                    kind=kind,
                    distribution=point.dist.name if point and point.dist else "",
                    version=point.dist.version if point and point.dist else "",
                    loads=_loads(point, placement, settings.dispatch.import_limit_s),
                    enabled="yes" if name in enabled and not left_out else "no",
                    moved=placement.reason if placement is not None and placement.worker else "",
                )
            )
    return found


def seen_by(adapters: Sequence[Mapping[str, Any]], found: Sequence[Plugin]) -> list[Plugin]:
    """The plugins as a running server has its adapters, which may differ from what its settings say by now.

    Args:
        adapters: What the server tells: ``name``, ``status``, ``reason``, ``moved``.
        found: What is installed, see `plugins`.
    """
    told = {adapter["name"]: adapter for adapter in adapters}
    seen = []
    for plugin in found:
        if plugin.kind != KINDS[BACKENDS]:
            seen.append(plugin)
            continue
        adapter = told.pop(plugin.plugin, {"status": "", "reason": "", "moved": ""})
        seen.append(
            msgspec.structs.replace(
                plugin,
                loads=f"no: {adapter['reason']}" if adapter["reason"] else plugin.loads,
                enabled="yes" if adapter["status"] == "enabled" else "no",
                moved=adapter["moved"],
            )
        )
    seen += [
        Plugin(
            plugin=name,
            kind=KINDS[BACKENDS],
            loads=f"no: {adapter['reason']}" if adapter["reason"] else "yes",
            enabled="yes" if adapter["status"] == "enabled" else "no",
            moved=adapter["moved"],
        )
        for name, adapter in told.items()
    ]
    return seen


def _loads(point: EntryPoint | None, placement: Placement | None, limit_s: float) -> str:
    if point is None:
        return "no: not installed"
    if placement is not None and not placement.worker:
        return f"no: {placement.told(point.name)}"
    try:
        load(point, limit_s)
    except NotLoaded as problem:
        return f"no: {problem}"
    return "yes"


def is_installed(name: str) -> bool:
    """Whether an adapter of that name is installed, working or not."""
    return name in installed(BACKENDS)


def adapter_factory(name: str, limit_s: float = IMPORT_LIMIT_S) -> Callable[[], Adapter]:
    """What makes an adapter: an installed plugin by its name, or ``module:Class`` from the path or this folder.

    Args:
        limit_s: Longest import; 0 for no limit.

    Raises:
        AdapterUnavailable: There is none of that name, or it is broken; says why.
    """
    if ":" in name:
        if "" not in sys.path and str(Path.cwd()) not in sys.path:
            sys.path.insert(0, str(Path.cwd()))
        point = EntryPoint(name=name, value=name, group=BACKENDS)
        if not all(part.isidentifier() for part in name.replace(":", ".", 1).split(".")):
            raise AdapterUnavailable(name, "an adapter is written as package.module:Class")
    else:
        points = installed(BACKENDS)
        if name not in points:
            raise AdapterUnavailable(name, f"{unknown(name, points)}; others are named as module:Class")
        point = points[name]
    try:
        factory = Factory(name, point.value, load(point, limit_s))
    except NotLoaded as problem:
        raise AdapterUnavailable(name, str(problem)) from problem

    def make() -> Adapter:
        made = factory.make()
        if not isinstance(getattr(made, "name", None), str):
            raise AdapterUnavailable(name, "its class has no `name`")
        return made

    make()
    return make


@asynccontextmanager
async def opened(adapter: Adapter, settings: Mapping[str, Any], name: str) -> AsyncIterator[Adapter]:
    """The adapter, opened with these settings as a server without a data folder would, and closed in the end.

    Raises:
        AdapterUnavailable: It cannot be opened.
    """
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        workers = await stack.enter_async_context(WorkerPool(1, clock))
        stack.push_async_callback(apart, adapter.aclose, "aclose", adapter=name)
        context = AdapterContext(clock=clock, new_id=uuid7_factory(clock), workers=workers, settings=settings)
        try:
            await apart(partial(adapter.open, context), "open", adapter=name)
        except Exception as error:
            raise AdapterUnavailable(name, reason_of(error)) from error
        yield adapter


def settings_type(adapter: Adapter) -> type[msgspec.Struct] | None:
    """The settings an adapter takes, where it tells: a struct ``Settings`` of its class, or beside it."""
    module = import_module(type(adapter).__module__)
    found = getattr(adapter, "Settings", None) or getattr(module, "Settings", None)
    return found if inspect.isclass(found) and issubclass(found, msgspec.Struct) else None

"""``orchestrator plugins info``: what a plugin says about itself."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.table import Table

from orchestrator.authoring.documented import section, shown, struct_members
from orchestrator.authoring.inspecting import KINDS, adapter_factory, opened, settings_type
from orchestrator.backends.abc import Adapter
from orchestrator.backends.capabilities import Capabilities
from orchestrator.backends.discovery import GROUP as BACKENDS
from orchestrator.backends.registry import settings_of
from orchestrator.cli import DONE, NO
from orchestrator.cli.output import console, emit
from orchestrator.errors import AdapterUnavailable
from orchestrator.foreign import reason_of
from orchestrator.loading import NotLoaded, installed, load
from orchestrator.settings import Settings
from orchestrator.settings import load as load_settings


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One member of a plugin's table of the configuration."""

    name: str
    default: Any
    set_to: Any
    meaning: str


class Info(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a plugin.

    Attributes:
        problem: Why it cannot be used, or None; what could not be found out is empty then.
        settings: What it takes; None where it does not tell.
    """

    plugin: str
    kind: str
    distribution: str = ""
    version: str = ""
    made_by: str = ""
    enabled: bool = False
    about: str = ""
    problem: str | None = None
    backends: list[Capabilities] = []
    settings: list[Setting] | None = None


async def describe(name: str, config: Path | None, *, as_json: bool) -> int:
    """Print what there is to know; answers the exit code."""
    found = await _info(name, load_settings(config))
    if as_json:
        emit(found)
    else:
        _print(found)
    return DONE if found.problem is None else NO


async def _info(name: str, settings: Settings) -> Info:
    points = [point for group in KINDS if (point := installed(group).get(name)) is not None]
    if points and points[0].group != BACKENDS:
        return _channel(points[0], settings)
    if not points and ":" not in name:
        adapter_factory(name)  # says which names there are
    known: dict[str, Any]
    known = _known(points[0], settings) if points else {"plugin": name, "kind": "backends", "made_by": name}
    try:
        adapter = adapter_factory(name, settings.dispatch.import_limit_s)()
    except AdapterUnavailable as problem:
        return Info(**known, problem=problem.reason)
    known["about"] = _about(type(adapter))
    table = settings_of(adapter, settings.plugins)
    known["settings"] = _settings(adapter, table)
    try:
        async with opened(adapter, table, name):
            return Info(**known, backends=list(adapter.capabilities()))
    except AdapterUnavailable as problem:
        return Info(**known, problem=problem.reason)
    except Exception as error:
        return Info(**known, problem=f"it does not tell its capabilities: {reason_of(error)}")


def _channel(point: EntryPoint, settings: Settings) -> Info:
    known = _known(point, settings)
    try:
        return Info(**known, about=_about(load(point, settings.dispatch.import_limit_s)))
    except NotLoaded as problem:
        return Info(**known, problem=str(problem))


def _about(subject: object) -> str:
    """A docstring of the plugin's own, that of a base class is none; each paragraph of prose on one line."""
    paragraphs = inspect.cleandoc(subject.__doc__ or "").split("\n\n")
    prose = (not any(line.startswith((" ", "*", "-", "=", "|")) for line in text.splitlines()) for text in paragraphs)
    return "\n\n".join(
        text.replace("\n", " ") if flows else text for text, flows in zip(paragraphs, prose, strict=True)
    )


def _known(point: EntryPoint, settings: Settings) -> dict[str, Any]:
    """What the metadata and the configuration tell, without importing anything."""
    wanted = settings.backends if point.group == BACKENDS else settings.notify.channels
    return {
        "plugin": point.name,
        "kind": KINDS[point.group],
        "distribution": point.dist.name if point.dist else "",
        "version": point.dist.version if point.dist else "",
        "made_by": point.value,
        "enabled": point.name in wanted or (point.group == BACKENDS and not wanted),
    }


def _settings(adapter: Adapter, table: dict[str, Any]) -> list[Setting] | None:
    kind = settings_type(adapter)
    if kind is None:
        return None
    return [
        Setting(
            name=name, default=None if default is msgspec.NODEFAULT else default, set_to=table.get(name), meaning=text
        )
        for name, default, text in struct_members(kind)
    ]


# -- for people ---------------------------------------------------------------------------

_FIELDS: Final = (("distribution", "distribution"), ("version", "version"), ("made_by", "class"))


def _print(found: Info) -> None:
    out = console()
    out.print(f"[bold]{found.plugin}[/], a plugin of {found.kind}", soft_wrap=True)
    for member, title in _FIELDS:
        if value := getattr(found, member):
            out.print(f"  {title:<13}{value}", markup=False, soft_wrap=True)
    if found.distribution:
        out.print(f"  {'enabled':<13}{shown(found.enabled)}")
    if found.about:
        out.print(f"\n{found.about}", markup=False)
    if found.problem is not None:
        out.print("\n[bold red]unavailable:[/]", found.problem, markup=True, soft_wrap=True)
    if found.backends:
        out.print(f"\nserves [bold]{', '.join(each.backend for each in found.backends)}[/]", soft_wrap=True)
        _table(["capability", "", "meaning"], _capability_rows(found.backends))
    if found.settings is not None:
        out.print(f"\nsettings, the table [bold]\\[plugins.{found.plugin}][/]" + ("" if found.settings else ": none"))
        _table(["setting", "default", "meaning"], [_setting_row(each) for each in found.settings])


def _setting_row(setting: Setting) -> tuple[str, str, str]:
    now = "" if setting.set_to is None else f"\nset to {shown(setting.set_to)}"
    return setting.name, shown(setting.default) + now, setting.meaning


#: What people are told of these follows from other members too.
_AS_SERVED: Final = {"gates": "shown_gates", "native_gates": "shown_native_gates"}


def _capability_rows(served: Sequence[Capabilities]) -> list[tuple[str, str, str]]:
    """One row a capability; a line for each backend where they differ."""
    meanings = section(Capabilities, "Attributes")
    rows = []
    for member in Capabilities.__struct_fields__:
        if member == "backend":
            continue
        source = _AS_SERVED.get(member, member)
        values = [shown(getattr(each, source)) for each in served]
        if len(set(values)) == 1:
            text = values[0]
        else:
            text = "\n".join(f"{each.backend}: {value}" for each, value in zip(served, values, strict=True))
        rows.append((member, text, meanings.get(member, "")))
    return rows


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    if not rows:
        return
    out = console()
    # The meanings of capabilities are left out where the terminal has no room to read them in.
    columns = len(titles) if out.width >= 100 or titles[1] else len(titles) - 1
    grid = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for title in titles[:columns]:
        grid.add_column(title, overflow="fold", no_wrap=title == titles[0])
    for row in rows:
        grid.add_row(*(cell.replace("[", "\\[") for cell in row[:columns]))
    out.print(grid)

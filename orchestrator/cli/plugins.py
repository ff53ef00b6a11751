"""``orchestrator plugins``: what is installed beside the core."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Final

import click

from orchestrator.cli import DONE, NO
from orchestrator.cli.fleet import disable, enable, restart
from orchestrator.cli.options import json_option

GROUPS: Final = ("orchestrator.backends", "orchestrator.channels")


@click.group()
def command() -> None:
    """List the installed plugins; enable, disable and restart them on a running server."""


for each in (enable, disable, restart):
    command.add_command(each)


@command.command("list")
@json_option
def listing(as_json: bool) -> int:
    """List the installed plugins, and whether they load; exit 1 if one does not."""
    from orchestrator.cli.output import emit, table  # noqa: PLC0415 - brings rich

    found = installed()
    if as_json:
        emit(found)
    else:
        table(["plugin", "kind", "distribution", "version", "loads"], [list(each.values()) for each in found])
    return NO if any(each["loads"] != "yes" for each in found) else DONE


def installed() -> list[dict[str, str]]:
    """Every installed plugin, in the order of names."""
    points = [point for group in GROUPS for point in entry_points(group=group)]
    return [
        {
            "plugin": point.name,
            "kind": point.group.removeprefix("orchestrator."),
            "distribution": point.dist.name if point.dist else "",
            "version": point.dist.version if point.dist else "",
            "loads": _loads(point),
        }
        for point in sorted(points, key=lambda point: (point.group, point.name))
    ]


def _loads(point: EntryPoint) -> str:
    try:
        point.load()
    except Exception as error:
        return f"no: {type(error).__name__}: {error}"
    return "yes"

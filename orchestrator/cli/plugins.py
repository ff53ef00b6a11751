"""``orchestrator plugins``: what there is, what it says of itself, and whether it keeps its word."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click
from click.core import ParameterSource

from orchestrator.cli import DONE, NO
from orchestrator.cli.fleet import disable, enable, fleet_of, restart
from orchestrator.cli.options import config_option, data_option, json_option


@click.group()
def command() -> None:
    """Make, list, describe and check plugins; enable, disable and restart them on a running server."""


for each in (enable, disable, restart):
    command.add_command(each)


@command.command()
@click.argument("name")
@click.option(
    "--dir",
    "parent",
    type=click.Path(file_okay=False, path_type=Path),
    default=".",
    show_default=True,
    help="Folder to make the project's folder in.",
)
@json_option
def new(name: str, parent: Path, as_json: bool) -> None:
    """Write the project of a new backend, ready to install and to test."""
    from orchestrator.authoring.project import ProjectRefused, names, write  # noqa: PLC0415

    try:
        named = names(name)
        written = write(named, parent)
    except ProjectRefused as refused:
        raise click.BadParameter(str(refused), param_hint="NAME") from refused
    folder = parent / named.distribution
    if as_json:
        from orchestrator.cli.output import emit  # noqa: PLC0415 - brings rich

        emit({"folder": str(folder), "backend": named.backend, "files": [str(file) for file in written]})
        return
    click.echo(f"made {folder}, which serves {named.backend}:")
    for file in written:
        click.echo(f"  {file.relative_to(folder)}")
    click.echo(f"\ncd {folder}\npip install -e '.[test]'\npython -m pytest\norchestrator serve")


@command.command("list")
@data_option
@config_option
@json_option
@click.pass_context
def listing(context: click.Context, data: Path, config: Path | None, as_json: bool) -> int:
    """List the plugins: whether they load, are enabled, or were moved to worker processes, and why; exit 1 if one does
    not load.

    Where a server runs in the data folder, it tells what it has enabled and could open; else, or given --config
    without --data, it is what a server with that configuration would enable.
    """
    from orchestrator.api.admin_socket import served  # noqa: PLC0415
    from orchestrator.authoring.inspecting import plugins, seen_by  # noqa: PLC0415 - brings the service's rooms
    from orchestrator.backends.placements import remembered  # noqa: PLC0415
    from orchestrator.cli.output import emit, table  # noqa: PLC0415 - brings rich
    from orchestrator.settings import load  # noqa: PLC0415

    found = plugins(load(config), remembered(data))
    if (config is None or context.get_parameter_source("data") is ParameterSource.COMMANDLINE) and served(data):
        found = seen_by(fleet_of(data)[0], found)
        click.echo(f"as the server in {data} has it", err=True)
    if as_json:
        emit(found)
    else:
        titles = ["plugin", "kind", "distribution", "version", "enabled", "loads"]
        rows = [
            [*(getattr(each, title) for title in titles[:-1]), f"{each.loads}, in worker processes: {each.moved}"]
            if each.moved
            else [getattr(each, title) for title in titles]
            for each in found
        ]
        table(titles, rows, optional=["distribution", "version"], wrap="loads")
    return NO if any(each.loads != "yes" for each in found) else DONE


@command.command()
@click.argument("name")
@config_option
@json_option
def info(name: str, config: Path | None, as_json: bool) -> int:
    """Describe a plugin: what it serves, what its backends can do, which settings it takes; exit 1 if it is broken."""
    from orchestrator.cli.plugin_info import describe  # noqa: PLC0415 - brings the service's rooms

    return asyncio.run(describe(name, config, as_json=as_json))


@command.command()
@click.argument("name", metavar="NAME|MODULE:CLASS")
@click.option("--backend", "backends", multiple=True, help="Backend to look at, repeatable; all unless given.")
@config_option
@json_option
def check(name: str, backends: tuple[str, ...], config: Path | None, as_json: bool) -> int:
    """Hold an adapter to every promise of the contract; exit 1 if it breaks one.

    It is opened, run, canceled and crashed many times over, with its settings, in memory: what a real machine is
    behind will see some hundred small jobs.
    """
    from orchestrator.cli.plugin_check import examined  # noqa: PLC0415 - brings the kit

    return asyncio.run(examined(name, config, backends, as_json=as_json))

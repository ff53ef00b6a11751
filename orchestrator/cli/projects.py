"""``orchestrator projects``: add and list projects."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from orchestrator.cli.options import data_option, json_option


@click.group()
def command() -> None:
    """Add and list projects. Works while the server runs, and without it."""


@command.command()
@click.argument("name")
@data_option
@json_option
def add(name: str, data: Path, as_json: bool) -> None:
    """Add a project."""
    project = asyncio.run(_ask(data, "POST", {"name": name}))
    _print(as_json, project, [project])


@command.command("list")
@data_option
@json_option
def listing(data: Path, as_json: bool) -> None:
    """List the projects, oldest first."""
    projects = asyncio.run(_ask(data, "GET"))
    _print(as_json, projects, projects)


async def _ask(data: Path, method: str, body: object = None) -> Any:
    from orchestrator.cli.owner import owner  # noqa: PLC0415 - brings aiohttp

    async with owner(data, make=method == "POST") as client:
        return await client.owner_ask(Any, method, "/projects", body)


def _print(as_json: bool, document: Any, projects: list[dict[str, Any]]) -> None:
    from orchestrator.cli.output import clock_time, emit, table  # noqa: PLC0415 - brings rich

    if as_json:
        emit(document)
    else:
        rows = [[each["name"], each["id"], clock_time(each["created_at"])] for each in projects]
        table(["name", "id", "created"], rows)

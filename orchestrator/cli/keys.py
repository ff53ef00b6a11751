"""``orchestrator keys``: add, list and revoke API keys."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from orchestrator.cli.options import data_option, json_option, project_option


@click.group()
def command() -> None:
    """Add, list and revoke API keys. Works while the server runs, and without it."""


@command.command()
@project_option
@click.option("--name", default="", help="What the key is for.")
@data_option
@json_option
def add(project: str | None, name: str, data: Path, as_json: bool) -> None:
    """Add a key. It stands alone on the last line of output, and cannot be shown again."""
    from orchestrator.cli.output import emit  # noqa: PLC0415 - brings rich

    made = asyncio.run(_ask(data, project, "POST", "/keys", {"name": name}))
    if as_json:
        emit(made)
    else:
        click.echo(f"Key {made['key']['id']} made; store it now, it cannot be shown again:", err=True)
        click.echo(made["secret"])


@command.command("list")
@project_option
@data_option
@json_option
def listing(project: str | None, data: Path, as_json: bool) -> None:
    """List a project's keys, oldest first; their secrets are known to nobody here."""
    from orchestrator.cli.output import clock_time, emit, table  # noqa: PLC0415 - brings rich

    keys = asyncio.run(_ask(data, project, "GET", "/keys"))
    if as_json:
        emit(keys)
    else:
        rows = [
            [each["id"], each["name"], clock_time(each["created_at"]), clock_time(each["revoked_at"]) or "valid"]
            for each in keys
        ]
        table(["id", "name", "created", "revoked"], rows)


@command.command()
@click.argument("key_id", metavar="ID")
@project_option
@data_option
@json_option
def revoke(key_id: str, project: str | None, data: Path, as_json: bool) -> None:
    """Revoke a key by its id. It is refused from now on, and its feeds close."""
    from orchestrator.cli.output import emit  # noqa: PLC0415 - brings rich

    key = asyncio.run(_ask(data, project, "DELETE", f"/keys/{key_id}"))
    if as_json:
        emit(key)
    else:
        click.echo(f"revoked {key['id']}")


async def _ask(data: Path, project: str | None, method: str, path: str, body: object = None) -> Any:
    from orchestrator.cli.owner import owner  # noqa: PLC0415 - brings aiohttp

    async with owner(data, project=project, make=method == "POST") as client:
        return await client.owner_ask(Any, method, path, body)

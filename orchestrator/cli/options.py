"""Options that several commands share, and whom a command talks to."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from orchestrator.client import Client

DEFAULT_DATA: Final = "orchestrator-data"

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else.")

config_option = click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="ORCHESTRATOR_CONFIG",
    help="Settings file (TOML).",
)

data_option = click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="ORCHESTRATOR_DATA",
    default=DEFAULT_DATA,
    show_default=True,
    help="Data folder.",
)

project_option = click.option("--project", metavar="NAME", help="Project; the first one unless given.")


@dataclass(frozen=True)
class Target:
    """Whom a command talks to: the owner's door of a data folder, or a server by address and key."""

    data: Path | None
    project: str | None
    url: str | None
    key: str | None

    @asynccontextmanager
    async def client(self, *, run: bool = False, make: bool = False) -> AsyncIterator[Client]:
        """A client.

        Args:
            run: With a data folder that no server serves: run jobs while the block does.
            make: Make the data folder if there is none.

        Raises:
            click.UsageError: Neither a folder nor an address with a key was given.
        """
        if self.data is not None:
            from orchestrator.cli.owner import owner  # noqa: PLC0415 - brings aiohttp

            async with owner(self.data, project=self.project, run=run, make=make) as client:
                yield client
            return
        if self.url is None or self.key is None:
            raise click.UsageError("give --data DIR, or --url and --key (IONQ_API_URL, IONQ_API_KEY)")
        from orchestrator.client import Client  # noqa: PLC0415 - brings aiohttp

        async with Client(self.url, self.key) as client:
            yield client


_TARGET: Final = (
    click.option(
        "--data",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="ORCHESTRATOR_DATA",
        help="Data folder; its server is asked, or the store is opened. Wins over --url.",
    ),
    project_option,
    click.option("--url", envvar="IONQ_API_URL", help="Address of a server."),
    click.option("--key", envvar="IONQ_API_KEY", help="API key for --url."),
)


def target_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say whom it talks to, as one argument ``target``."""

    @functools.wraps(command)
    def collected(
        *arguments: Any, data: Path | None, project: str | None, url: str | None, key: str | None, **options: Any
    ) -> Any:
        return command(*arguments, target=Target(data, project, url, key), **options)

    for option in reversed(_TARGET):
        collected = option(collected)
    return collected

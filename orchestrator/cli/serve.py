"""``orchestrator serve``: the server."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.options import config_option, data_option

if TYPE_CHECKING:
    from orchestrator.cli.ending import Ending
    from orchestrator.service import Orchestrator
    from orchestrator.settings import Settings

BOOTSTRAP = "ORCHESTRATOR_BOOTSTRAP_KEY"


@click.command()
@click.option("--host", metavar="ADDRESS", help="Address to listen on; 127.0.0.1 unless set.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on, 0 for a free one; 8642 unless set.")
@data_option
@config_option
@click.option("--log-level", type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"]), default="INFO")
def command(host: str | None, port: int | None, data: Path, config: Path | None, log_level: str) -> None:
    """Serve the HTTP API and the event feed, until SIGTERM or SIGINT.

    The first line on standard output is the address, printed once it answers; the lines after it can be pasted
    into a shell to point SDKs here. The log goes to standard error.

    The first start makes a project and a key, and prints the key: it cannot be shown again. A key of your own is
    taken from ORCHESTRATOR_BOOTSTRAP_KEY instead.
    """
    from orchestrator.cli.ending import resumed  # noqa: PLC0415
    from orchestrator.cli.logs import configure_logging  # noqa: PLC0415
    from orchestrator.process import run  # noqa: PLC0415
    from orchestrator.settings import load  # noqa: PLC0415

    configure_logging(log_level)
    port_before = resumed()
    given = {name: value for name, value in (("host", host), ("port", port_before or port)) if value is not None}
    overrides: dict[str, Any] = {"server": given} if given else {}
    run(_serve(partial(load, config, overrides=overrides), data, quiet=bool(port_before)))


async def _serve(read: Callable[[], Settings], data: Path, *, quiet: bool) -> None:
    """Serve until a signal comes. `quiet`: the address is known already, and who read it may be gone."""
    import asyncio  # noqa: PLC0415

    from orchestrator.cli.ending import Ending  # noqa: PLC0415

    settings = read()
    with Ending(settings.dispatch.drain_s) as ending:
        try:
            await _served(settings, read, data, ending, quiet=quiet)
        except asyncio.CancelledError:
            if not ending.begun:
                raise


async def _served(settings: Settings, read: Callable[[], Settings], data: Path, ending: Ending, *, quiet: bool) -> None:
    import structlog  # noqa: PLC0415

    from orchestrator.api.server import serve  # noqa: PLC0415
    from orchestrator.service import Orchestrator  # noqa: PLC0415

    log = structlog.get_logger()
    async with Orchestrator.open(data, settings=settings, reread=read, on_stuck=ending.again) as orchestrator:
        ending.adapters = orchestrator.backends.adapters
        key = await first_key(orchestrator, os.environ.get(BOOTSTRAP))
        async with serve(orchestrator) as bound:
            ending.port = bound.port
            if not quiet:
                sys.stdout.write("\n".join([bound.url, *export_lines(bound.url, key)]) + "\n")
                sys.stdout.flush()
            backends = orchestrator.backends
            log.info("serving", url=bound.url, data=str(data), backends=backends.names())
            for problem in backends.problems:
                log.warning("adapter unavailable", adapter=problem.name, reason=problem.reason)
            await ending.asked()
    log.info("stopped")


async def first_key(orchestrator: Orchestrator, given: str | None) -> str | None:
    """Adopt the given key, or make one in a store that has none; answers how a shell spells it, if it can."""
    accounts = orchestrator.accounts
    if given is not None:
        await accounts.adopt_key(given, orchestrator.project.id)
        return f'"${BOOTSTRAP}"'
    if any(accounts.keys(project.id) for project in accounts.projects()):
        return None
    _, secret = await accounts.add_key(orchestrator.project.id, "first")
    return secret


def export_lines(url: str, key: str | None) -> list[str]:
    """Lines that point the SDKs here: qiskit-ionq and our own commands, then cirq-ionq."""
    lines = [] if key is None else [f"export IONQ_API_KEY={key}"]
    return [*lines, f"export IONQ_API_URL={url}/v0.4", f"export IONQ_REMOTE_HOST={url}/v0.4"]

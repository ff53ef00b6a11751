"""``orchestrator backends``: what can run jobs; and, on a running server, whether it is handed any."""

from __future__ import annotations

import asyncio

import click
from click.core import ParameterSource

from orchestrator.cli.fleet import drain, pause, resume
from orchestrator.cli.options import Target, json_option, target_options


@click.group(invoke_without_command=True)
@target_options
@json_option
@click.pass_context
def command(context: click.Context, target: Target, as_json: bool) -> None:
    """List backends: their width, their state, and the noise models they offer; or pause, resume and drain one."""
    if context.invoked_subcommand is None:
        asyncio.run(_list(target, as_json=as_json))
    elif any(context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in context.params):
        raise click.UsageError(f"give options after the word {context.invoked_subcommand}")


@command.command("list")
@target_options
@json_option
def listing(target: Target, as_json: bool) -> None:
    """List backends, as without a word."""
    asyncio.run(_list(target, as_json=as_json))


for each in (pause, resume, drain):
    command.add_command(each)


async def _list(target: Target, *, as_json: bool) -> None:
    from orchestrator.cli.output import duration, emit, table  # noqa: PLC0415 - brings rich

    async with target.client(run=True) as client:
        found = await client.backends()
    if as_json:
        emit(found)
        return
    rows = [
        [
            each.backend,
            each.status,
            each.reason or "",
            str(each.qubits),
            duration(each.average_queue_time),
            " ".join(each.supported_native_gates),
            ", ".join(each.noise_models),
        ]
        for each in found
    ]
    titles = ["backend", "status", "reason", "qubits", "queue", "native gates", "noise models"]
    optional = ["native gates", "queue"]
    if any(each.reason for each in found):
        table(titles, rows, optional=[*optional, "noise models"], wrap="reason")
    else:
        del titles[2]
        table(titles, [[*row[:2], *row[3:]] for row in rows], optional=optional, wrap="noise models")

"""``orchestrator backends``: what can run jobs."""

from __future__ import annotations

import asyncio

import click

from orchestrator.cli.options import Target, json_option, target_options


@click.command()
@target_options
@json_option
def command(target: Target, as_json: bool) -> None:
    """List backends: their width, their state, and the noise models they offer."""
    asyncio.run(_list(target, as_json=as_json))


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
            str(each.qubits),
            duration(each.average_queue_time),
            " ".join(each.supported_native_gates),
            ", ".join(each.noise_models),
        ]
        for each in found
    ]
    titles = ["backend", "status", "qubits", "queue", "native gates", "noise models"]
    table(titles, rows, optional=["native gates", "queue"], wrap="noise models")

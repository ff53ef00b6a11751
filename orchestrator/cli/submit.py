"""``orchestrator submit``: a job from a file."""

from __future__ import annotations

import asyncio
import json
from typing import IO, Any

import click

from orchestrator.cli import DONE
from orchestrator.cli.options import Target, json_option, target_options


@click.command()
@click.argument("file", type=click.File("rb"))
@click.option("--backend", help="Backend to run on; the file's unless given, or simulator.")
@click.option("--shots", type=int, help="Shots of each circuit; the file's unless given, or 100.")
@click.option("--noise", metavar="MODEL", help="Noise model of the simulator, such as aria-1.")
@click.option("--seed", type=int, help="Seed of the noise: the same seed gives the same counts.")
@click.option("--name", help="Name of the job.")
@click.option("--session", metavar="ID", help="Session to run in.")
@click.option("--watch", is_flag=True, help="Follow the job and show its results; exit 1 unless it completes.")
@target_options
@json_option
def command(
    *,
    file: IO[bytes],
    target: Target,
    backend: str | None,
    shots: int | None,
    noise: str | None,
    seed: int | None,
    name: str | None,
    session: str | None,
    watch: bool,
    as_json: bool,
) -> int:
    """Submit a job from FILE, or from standard input where FILE is -; prints its id.

    FILE holds JSON: a body of POST /v0.4/jobs or /v0.3/jobs, the input object of one, a list of circuits, or a
    list of gates.
    """
    body = read_job(file.read(), file.name)
    given = {"backend": backend, "shots": shots, "name": name, "session_id": session}
    body |= {member: value for member, value in given.items() if value is not None}
    if noise is not None or seed is not None:
        body["noise"] = {"model": noise or (body.get("noise") or {}).get("model", "ideal")}
        body["noise"] |= {} if seed is None else {"seed": seed}
    return asyncio.run(_submit(target, body, watch=watch, as_json=as_json))


def read_job(text: bytes, source: str) -> dict[str, Any]:
    """The body of ``POST /v0.4/jobs`` that a file means; what is in it is the server's to check.

    Raises:
        click.UsageError: It is not JSON, or nothing that could be a job.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise click.UsageError(f"{source} is not JSON") from None
    if isinstance(document, list) and document and isinstance(document[0], dict):
        document = {"circuit" if "gate" in document[0] else "circuits": document}
    if not isinstance(document, dict):
        raise click.UsageError(f"{source} holds neither a job nor circuits")
    body = dict(document) if "input" in document else {"input": document}
    if isinstance(body["input"], list):
        body["input"] = {"circuits": body["input"]}
    if "type" not in body:
        multi = isinstance(body["input"], dict) and "circuits" in body["input"]
        body["type"] = "ionq.multi-circuit.v1" if multi else "ionq.circuit.v1"
    body.setdefault("backend", body.pop("target", "simulator"))
    return body


async def _submit(target: Target, body: dict[str, Any], *, watch: bool, as_json: bool) -> int:
    from orchestrator.cli.board import Board  # noqa: PLC0415 - brings rich
    from orchestrator.cli.following import families, follow, view  # noqa: PLC0415 - brings rich
    from orchestrator.cli.output import emit  # noqa: PLC0415
    from orchestrator.cli.report import outcome, tell  # noqa: PLC0415

    async with target.client(run=True, make=True) as client:
        job_id = await client.submit(body)
        if not watch:
            if as_json:
                emit({"id": job_id})
            else:
                click.echo(job_id)
            return DONE
        jobs = await families(client, [job_id])
        with view(Board(jobs), as_json=as_json) as show:
            await follow(client, jobs, show)
        return tell(*await outcome(client, job_id), as_json=as_json)

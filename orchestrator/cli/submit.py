"""``orchestrator submit``: a job from a file."""

from __future__ import annotations

import asyncio
import json
from typing import IO, TYPE_CHECKING, Any

import click

from orchestrator.circuits.gates import GATES
from orchestrator.cli import DONE
from orchestrator.cli.options import Target, json_option, target_options
from orchestrator.model import IDEAL

if TYPE_CHECKING:
    from orchestrator.client import Client


@click.command()
@click.argument("file", type=click.File("rb"))
@click.option("--backend", help="Backend to run on; the file's unless given, or simulator.")
@click.option("--shots", type=int, help="Shots of each circuit; the file's unless given, or 100.")
@click.option("--noise", metavar="MODEL", help="Noise model of the simulator, such as aria-1.")
@click.option("--seed", type=int, help="Seed of the noise: the same seed gives the same counts.")
@click.option("--gateset", type=click.Choice(["qis", "native"]), help="Gate set; told by the gates unless given.")
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
    gateset: str | None,
    name: str | None,
    session: str | None,
    watch: bool,
    as_json: bool,
) -> int:
    """Submit a job from FILE, or from standard input where FILE is -; prints its id.

    FILE holds JSON: a body of POST /v0.4/jobs or /v0.3/jobs, the input object of one, a list of circuits, or a
    list of gates. Given a --backend that has no noise models, a noise model in the file is left out.
    """
    body = read_job(file.read(), file.name)
    elsewhere = backend is not None and noise is None and backend != body["backend"]
    given = {"backend": backend, "shots": shots, "name": name, "session_id": session}
    body |= {member: value for member, value in given.items() if value is not None}
    if gateset is not None and isinstance(body["input"], dict):
        body["input"] = {**body["input"], "gateset": gateset}
    if noise is not None or seed is not None:
        body["noise"] = {**noise_of(body), **({} if noise is None else {"model": noise})}
        body["noise"] |= {} if seed is None else {"seed": seed}
        body["noise"].setdefault("model", IDEAL)
    return asyncio.run(_submit(target, body, elsewhere=elsewhere, watch=watch, as_json=as_json))


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
    if isinstance(body["input"], dict) and "gateset" not in body["input"] and _native(body["input"]):
        body["input"] = {**body["input"], "gateset": "native"}
    if "type" not in body:
        multi = isinstance(body["input"], dict) and "circuits" in body["input"]
        body["type"] = "ionq.multi-circuit.v1" if multi else "ionq.circuit.v1"
    body.setdefault("backend", body.pop("target", "simulator"))
    return body


def noise_of(body: dict[str, Any]) -> dict[str, Any]:
    """The member ``noise`` of a body, where it is an object; empty else."""
    noise = body.get("noise")
    return noise if isinstance(noise, dict) else {}


def _native(given: dict[str, Any]) -> bool:
    """Whether one circuit has native gates and no others; names that both gate sets have leave that open."""
    gates = given.get("circuit")
    if not isinstance(gates, list):
        return False
    names = {gate.get("gate") for gate in gates if isinstance(gate, dict)}
    return names <= GATES["native"].keys() and not names <= GATES["qis"].keys()


async def _leave_noise_out(client: Client, body: dict[str, Any]) -> None:
    """Drop the noise model that a file asks of its own backend where the job goes to one that has none.

    The model belongs to the backend in the file: a job for another one, which would fail for it alone, was not meant.
    The seed stays.
    """
    noise, backend = noise_of(body), body["backend"]
    if noise.get("model", IDEAL) == IDEAL:
        return
    known = {each.backend: each for each in await client.backends()}
    found = known.get(backend) or known.get(f"qpu.{backend}")
    if found is None or found.noise_models:
        return
    body["noise"] = {**noise, "model": IDEAL}
    click.echo(f"{found.backend} has no noise models: the file's, {noise['model']}, is left out", err=True)


async def _submit(target: Target, body: dict[str, Any], *, elsewhere: bool, watch: bool, as_json: bool) -> int:
    from orchestrator.cli.board import Board  # noqa: PLC0415 - brings rich
    from orchestrator.cli.following import families, follow, view  # noqa: PLC0415 - brings rich
    from orchestrator.cli.output import emit  # noqa: PLC0415
    from orchestrator.cli.report import outcome, tell  # noqa: PLC0415

    async with target.client(run=True, make=True) as client:
        if elsewhere:
            await _leave_noise_out(client, body)
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

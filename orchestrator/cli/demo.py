"""``orchestrator demo``: the whole line in a few seconds, on a cloud of one's own in a temporary folder.

Everything shown is real: a server on a free port, jobs over HTTP, states from the websocket, results from the
backends.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, aclosing
from math import acos, sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from orchestrator.circuits.ir import Circuit, Gate
from orchestrator.cli.options import json_option

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.client import Client, JobInfo
    from orchestrator.model import Result
    from orchestrator.service import Orchestrator

BELL: Final = Circuit(qubits=2, gates=(Gate("h", (0,)), Gate("x", (1,), (0,))), name="bell")

#: Circuits whose ideal outcomes people know by heart.
THREE: Final = (
    Circuit(
        qubits=3,
        gates=(Gate("h", (0,)), Gate("x", (1,), (0,)), Gate("x", (2,), (1,))),
        name="ghz",
    ),
    Circuit(
        qubits=3,
        gates=(
            Gate("ry", (0,), (), (2 * acos(1 / sqrt(3)),)),
            Gate("h", (1,), (0,)),
            Gate("x", (2,), (1,)),
            Gate("x", (1,), (0,)),
            Gate("x", (0,)),
        ),
        name="w state",
    ),
    Circuit(
        qubits=3,
        gates=(
            *(Gate("h", (wire,)) for wire in range(3)),
            *(Gate("z", (wire,)) for wire in (0, 2)),
            *(Gate("h", (wire,)) for wire in range(3)),
        ),
        name="hidden 101",
    ),
)
_SHOTS: Final = 4_000

#: What to do next, and why.
_NEXT: Final = (
    ("orchestrator serve", "a cloud that stays; it prints:"),
    ("export IONQ_API_KEY=...", "its first key"),
    ("export IONQ_API_URL=http://127.0.0.1:8642/v0.4", "where SDKs and commands look"),
    ("orchestrator submit examples/bell.json --watch", "a job from a file"),
)


@click.command()
@json_option
def command(as_json: bool) -> None:
    """Run a Bell circuit and a job of three circuits on a cloud of your own, here and now.

    Needs nothing and leaves nothing behind: the store is a temporary folder, the server takes a free port.
    """
    from orchestrator.cli.logs import configure_logging  # noqa: PLC0415
    from orchestrator.process import run  # noqa: PLC0415

    configure_logging("ERROR")
    run(_demo(as_json=as_json))


async def _demo(*, as_json: bool) -> None:
    from orchestrator.api.server import serve  # noqa: PLC0415
    from orchestrator.cli.output import console, emit  # noqa: PLC0415
    from orchestrator.cli.report import document, outcome  # noqa: PLC0415
    from orchestrator.client import Client  # noqa: PLC0415
    from orchestrator.service import Orchestrator  # noqa: PLC0415

    begun = time.monotonic()
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="orchestrator-demo-"))
        orchestrator = await stack.enter_async_context(Orchestrator.open(Path(folder) / "data"))
        backend = _device(orchestrator)
        _, key = await orchestrator.accounts.add_key(orchestrator.project.id, "demo")
        bound = await stack.enter_async_context(serve(orchestrator, "127.0.0.1", 0))
        client = await stack.enter_async_context(Client(bound.url, key))
        out = console()
        if not as_json:
            _open(out, bound.url)
        jobs, events = await _run(client, backend, as_json=as_json)
        told = [await outcome(client, job.id) for job in jobs]
        report = await orchestrator.verify()
        seconds = time.monotonic() - begun
    if as_json:
        emit(
            {
                "url": bound.url,
                "jobs": [document(*each) for each in told],
                "events": events,
                "problems": report.problems,
                "seconds": round(seconds, 3),
            }
        )
        return
    _results(out, told)
    _close(out, events, report.jobs, report.problems, seconds)


def _device(orchestrator: Orchestrator) -> str:
    """Where the Bell circuit goes: to a simulated device if there is one."""
    names = orchestrator.backends.names()
    if "simulator" not in names:
        raise click.ClickException("the demo needs the noise_model plugin: pip install ./plugins/*")
    return "qpu.aria-1" if "qpu.aria-1" in names else "simulator"


async def _run(client: Client, backend: str, *, as_json: bool) -> tuple[list[JobInfo], int]:
    """Submit both jobs and show what the websocket tells until both have ended; answers them and how much it told."""
    from orchestrator.cli.board import Board  # noqa: PLC0415
    from orchestrator.cli.following import families, view  # noqa: PLC0415
    from orchestrator.client import FeedEvent, FeedLive  # noqa: PLC0415
    from orchestrator.lifecycle import TERMINAL  # noqa: PLC0415

    board = Board()
    count = 0
    async with aclosing(client.events()) as frames:
        while not isinstance(await anext(frames), FeedLive):
            pass
        ids = [
            await client.submit(BELL, backend=backend, shots=_SHOTS, name="bell"),
            await client.submit(THREE, name="three circuits"),
        ]
        jobs = await families(client, ids)
        pending = set(ids)
        board.add(jobs)
        with view(board, as_json=as_json) as show:
            while pending:
                frame = await anext(frames)
                if isinstance(frame, FeedEvent) and frame.job_id in board.rows:
                    count += 1
                    if not as_json:
                        show(frame)
                    if frame.after in TERMINAL:
                        pending.discard(frame.job_id)
    return [job for job in jobs if job.id in ids], count


def _open(out: Console, url: str) -> None:
    from rich.text import Text  # noqa: PLC0415

    out.print()
    out.print(Text.assemble(("Your own quantum cloud", "bold cyan"), f", for the next seconds at {url}"))
    out.print(Text("Four circuits go in over HTTP; their states come back over a websocket.", style="bright_black"))
    out.print()


def _results(out: Console, told: Sequence[tuple[JobInfo, list[tuple[JobInfo, Result]]]]) -> None:
    """Histograms: the first job's across the terminal, the circuits of the other side by side."""
    from rich.columns import Columns  # noqa: PLC0415
    from rich.console import Group  # noqa: PLC0415
    from rich.padding import Padding  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from orchestrator.cli.histogram import Histogram  # noqa: PLC0415
    from orchestrator.cli.output import duration  # noqa: PLC0415

    for job, results in told:
        if job.failure is not None:
            out.print(Text(f"{job.name}: {job.failure.code}: {job.failure.message}", style="bold red"))
            continue
        counted = any(result.counts is not None for _, result in results)
        facts = f"{job.shots:,} shots" if counted else "exact probabilities"
        took = (
            f", {duration(job.execution_duration_ms)} of device time" if counted and job.execution_duration_ms else ""
        )
        out.print()
        out.print(Text.assemble((str(job.name), "bold"), (f"  {job.backend}, {facts}{took}", "bright_black")))
        if len(results) == 1:
            out.print(Padding(Histogram(results[0][1]), (0, 0, 0, 2)))
            continue
        width = max(20, (out.width - 2) // len(results) - 2)
        panels = [Group(Text(leaf.name or leaf.id, style="italic"), Histogram(result)) for leaf, result in results]
        out.print(Padding(Columns(panels, width=width, padding=(0, 2)), (0, 0, 0, 2)))


def _close(out: Console, events: int, jobs: int, problems: Sequence[str], seconds: float) -> None:
    from rich.text import Text  # noqa: PLC0415

    out.print()
    for problem in problems:
        out.print(Text(problem, style="bold red"))
    verdict = f"{len(problems)} problems" if problems else "the tables equal the log"
    out.print(
        f"[bold]{jobs}[/] jobs, [bold]{events}[/] events on the record; {verdict}.\n"
        f"From an empty folder to the last result: [bold]{seconds:.1f} s[/]. The folder is gone."
    )
    out.print()
    out.print("[bold]Next[/]")
    for line, meaning in _NEXT:
        out.print(f"  [cyan]{line:<46}[/] [bright_black]{meaning}[/]", soft_wrap=True)

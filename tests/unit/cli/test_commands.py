"""The command line's frame: lazy commands, errors in one line, files of jobs, tables."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from typing import Any

import click
import msgspec
import pytest

from orchestrator import cli
from orchestrator.cli import output
from orchestrator.cli.following import line
from orchestrator.cli.submit import read_job
from orchestrator.client import FeedEvent
from orchestrator.model import Cost

GATES = [{"gate": "h", "target": 0}]
PULSES = [{"gate": "gpi", "target": 0, "phase": 0.25}, {"gate": "zz", "targets": [0, 1], "angle": 0.1}]
ONE = {"qubits": 1, "circuit": GATES}


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_is_there_and_explains_itself(name: str) -> None:
    """Each listed command exists, and has a help text."""
    command = import_module(f"orchestrator.cli.{name}").command
    assert isinstance(command, click.Command)
    assert command.help


def test_help_imports_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    """The list of commands costs neither rich nor aiohttp, nor the service."""
    program = "import sys; from orchestrator.cli import run; run(['--help']); print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    modules = done.stdout.splitlines()[-1]
    assert "demo" in done.stdout
    for heavy in ("aiohttp", "rich.console", "orchestrator.service", "orchestrator.cli.demo"):
        assert f"'{heavy}'" not in modules


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["frobnicate"], 2, "No such command"),
        (["jobs", "--limit", "0"], 2, "--limit"),
        (["jobs", "--data", "/nowhere/at/all"], 3, "error: unavailable: "),
        (["jobs", "--url", "http://127.0.0.1:9", "--key", "k"], 3, "error: unreachable: "),
        (["serve", "--config", "/nowhere.toml"], 2, "/nowhere.toml"),
    ],
)
def test_errors_are_told_on_standard_error(
    arguments: list[str],
    code: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What goes wrong becomes an exit code and a message, and nothing on standard output."""
    for name in ("ORCHESTRATOR_DATA", "IONQ_API_URL", "IONQ_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    assert cli.run(arguments) == code
    told = capsys.readouterr()
    assert message in told.err
    assert told.out == ""
    if code == cli.FAILED:
        assert len(told.err.splitlines()) == 1


def test_own_mistakes_are_one_line_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An unexpected exception is no traceback either."""

    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("a\nb")

    monkeypatch.setattr(cli.root, "main", broken)
    assert cli.run(["jobs"]) == cli.FAILED
    assert capsys.readouterr().err.startswith("error: internal: ZeroDivisionError: a b ")


@pytest.mark.parametrize(
    ("document", "kind", "given"),
    [
        (ONE, "ionq.circuit.v1", ONE),
        (GATES, "ionq.circuit.v1", {"circuit": GATES}),
        ([ONE, ONE], "ionq.multi-circuit.v1", {"circuits": [ONE, ONE]}),
        ({"circuits": [ONE]}, "ionq.multi-circuit.v1", {"circuits": [ONE]}),
        ({"input": ONE, "shots": 7}, "ionq.circuit.v1", ONE),
        ({"input": [ONE]}, "ionq.multi-circuit.v1", {"circuits": [ONE]}),
        ({"target": "simulator", "input": ONE}, "ionq.circuit.v1", ONE),
        (PULSES, "ionq.circuit.v1", {"circuit": PULSES, "gateset": "native"}),
        ({"circuit": PULSES, "gateset": "qis"}, "ionq.circuit.v1", {"circuit": PULSES, "gateset": "qis"}),
        ([*PULSES, *GATES], "ionq.circuit.v1", {"circuit": [*PULSES, *GATES]}),
        ([{"gate": "zz"}], "ionq.circuit.v1", {"circuit": [{"gate": "zz"}]}),
    ],
)
def test_files_of_every_form_become_a_job(document: object, kind: str, given: object) -> None:
    """Bodies of both versions, inputs, lists of circuits and lists of gates are understood; native gates are known."""
    body = read_job(json.dumps(document).encode(), "job.json")
    assert body["type"] == kind
    assert body["input"] == given
    assert body["backend"] == "simulator"
    assert "target" not in body


def test_a_body_keeps_what_it_says() -> None:
    """A full body is sent as it is."""
    body = {"type": "ionq.circuit.v1", "backend": "qpu.aria-1", "shots": 9, "name": "x", "input": ONE}
    assert read_job(json.dumps(body).encode(), "job.json") == body


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"7", b"[1]", b"\xff", b"[" * 100_000])
def test_other_files_are_refused(text: bytes) -> None:
    """What is no job is wrong usage, and the file is named."""
    with pytest.raises(click.UsageError, match=r"job\.json"):
        read_job(text, "job.json")


def test_narrow_terminals_lose_columns_not_ids(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Optional columns go first; the others are whole."""
    row = ["0197c3a2-4f10-7e6b-8a2d-5d7c1b0e9f31", "completed", "a name of some length", "1,000"]
    titles = ["id", "state", "name", "shots"]
    for width, shown in ((120, titles), (78, ["id", "state", "name"]), (60, ["id", "state"])):
        monkeypatch.setenv("COLUMNS", str(width))
        output.table(titles, [row], optional=["shots", "name"])
        head, _, line = capsys.readouterr().out.splitlines()
        assert head.split() == shown
        assert all(cell in line for cell in row[: len(shown)])


@pytest.mark.parametrize(
    ("ms", "text"), [(None, ""), (0, "0 ms"), (999, "999 ms"), (1_500, "1.50 s"), (90_000, "1.5 min")]
)
def test_durations_read_well(ms: float | None, text: str) -> None:
    """A duration is told in the unit that suits it."""
    assert output.duration(ms) == text


@pytest.mark.parametrize(("value", "text"), [(0.5, "0.50 usd"), (1234.0, "1,234.00 usd"), (0.000012, "0.000012 usd")])
def test_amounts_read_well(value: float, text: str) -> None:
    """To a millionth where that is needed, to cents at least."""
    assert output.amount(Cost(value=value)) == text


def test_a_backend_that_changed_says_how() -> None:
    """The line of an event tells the new state, with the reason if there is one."""
    event = FeedEvent(cursor="e:1", kind="backend.changed", at=0, backend="lab.sim", data={"status": "available"})
    assert line(event).plain.split()[1:] == ["backend.changed", "lab.sim", "available"]
    paused = msgspec.structs.replace(event, data={"status": "unavailable", "reason": "laser off"})
    assert line(paused).plain.endswith("lab.sim  unavailable  laser off")

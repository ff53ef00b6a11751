"""Pausing, draining, enabling and restarting on a running server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.cli.conftest import Run, Serve


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """A file of settings of our own."""
    file = tmp_path / "settings.toml"
    file.write_text('backends = ["noise_model", "trapped_ion", "nowhere"]\n')
    return file


@pytest.fixture
def ask(run: Run, serve: Serve, settings: Path, tmp_path: Path) -> Callable[..., object]:
    """A server of the test's own, and commands to it."""
    data = tmp_path / "data"
    serve(data, "--config", str(settings))
    return lambda *arguments: run(*arguments, "--data", str(data))


def test_backends_are_paused_drained_and_resumed(ask: Run) -> None:
    """Each command says where the backend stands; the listing shows it, with and without the word."""
    paused = ask("backends", "pause", "aria-1", "--reason", "laser")
    assert paused.out == "qpu.aria-1: unavailable (paused by the operator: laser), 0 running, 0 waiting\n"
    for words in (("backends",), ("backends", "list")):
        listed = {each["backend"]: each for each in ask(*words, "--json").document}
        assert (listed["qpu.aria-1"]["status"], listed["simulator"]["status"]) == ("unavailable", "available")
        assert listed["qpu.aria-1"]["reason"] == "paused by the operator: laser"
    shown = ask("backends").out
    assert "paused by the operator" in shown
    drained = ask("backends", "drain", "simulator", "--timeout", "5", "--json")
    assert (drained.code, drained.document["emptied"]) == (0, True)
    assert "backend simulator" in ask("doctor").out
    assert ask("backends", "resume", "simulator").out == "simulator: available, 0 running, 0 waiting\n"
    unknown = ask("backends", "pause", "nowhere")
    assert (unknown.code, unknown.err) == (3, "error: not_found: backend not found\n")


def test_plugins_are_disabled_enabled_and_restarted(ask: Run, settings: Path) -> None:
    """A restart reads the settings anew, and keeps the old plugin if they are wrong; what is missing is named."""
    qpus = "trapped_ion: qpu.aria-1, qpu.aria-2, qpu.forte-1, qpu.forte-enterprise-1\n"
    assert ask("plugins", "disable", "trapped_ion", "--drain", "0").out == qpus
    listed = {each["backend"]: each["status"] for each in ask("backends", "--json").document}
    assert (listed["qpu.aria-1"], listed["simulator"]) == ("retired", "available")
    assert ask("plugins", "enable", "trapped_ion").out == qpus
    settings.write_text("[plugins.trapped_ion]\nmax_wires = 0\n")
    refused = ask("plugins", "restart", "trapped_ion")
    assert refused.code == 3
    assert refused.err.startswith("error: adapter_unavailable: ")
    assert "max_wires" in refused.err
    settings.write_text("[plugins.trapped_ion]\nmax_wires = 3\n")
    assert ask("plugins", "restart", "trapped_ion").out == qpus
    settings.write_text("port = 1\n")
    refused = ask("plugins", "restart", "trapped_ion")
    assert (refused.code, refused.err.startswith("error: settings: ")) == (3, True)
    again = ask("plugins", "disable", "nowhere")
    assert (again.code, again.err.startswith("error: not_found: no enabled adapter is called nowhere")) == (3, True)
    told = ask("plugins", "list", "--json")
    rows = {each["plugin"]: each for each in told.document}
    assert [rows[name]["enabled"] for name in ("noise_model", "trapped_ion", "nowhere")] == ["yes", "yes", "no"]
    assert rows["nowhere"]["loads"].startswith("no: not installed")
    assert told.code == 1
    ask("plugins", "disable", "trapped_ion", "--drain", "0")
    shown = ask("plugins", "list", "--json")
    assert shown.err.startswith("as the server in ")
    assert next(each for each in shown.document if each["plugin"] == "trapped_ion")["enabled"] == "no"
    doctor = ask("doctor")
    assert "adapter nowhere not installed" in " ".join(doctor.out.split())


def test_they_want_a_running_server(run: Run, tmp_path: Path) -> None:
    """Without one nothing is opened; options stand after the word."""
    done = run("backends", "pause", "simulator", "--data", str(tmp_path))
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith("error: unavailable: no server runs in ")
    assert "--data" in done.err
    assert run("backends", "--data", str(tmp_path), "pause", "simulator").code == 2

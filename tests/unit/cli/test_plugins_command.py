"""``orchestrator plugins``: what is told of plugins that work, and of those that do not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator import cli

_PLUGINS = '''
import msgspec
from orchestrator.backends.abc import Adapter, Capabilities
from orchestrator.model import Result


class Settings(msgspec.Struct):
    """The table.

    Attributes:
        level: How much of it, in [units].
    """

    level: int = 3


class Good(Adapter):
    """Serves ``odd.good``."""

    name = "odd_good"

    def capabilities(self):
        return [Capabilities(backend="odd.good", qubits=2), Capabilities(backend="odd.wide", qubits=9)]


class Closed(Adapter):
    name = "odd_closed"

    async def open(self, context):
        raise OSError("the device is off")


class Nameless(Adapter):
    pass


class Raises(Adapter):
    name = "odd_raises"

    def __init__(self):
        raise SystemExit("bye")
'''
#: Hangs at import, on whatever thread.
_HANGING = """
import threading
threading.Event().wait()
"""
_POINTS = {
    "odd_hanging": "odd_hanging:Any",
    "odd_good": "odd_plugins:Good",
    "odd_closed": "odd_plugins:Closed",
    "odd_missing": "odd_plugins:Absent",
    "odd_broken": "odd_broken:Any",
}


@pytest.fixture(autouse=True)
def odd_plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A distribution of plugins, most of them broken, is installed."""
    (tmp_path / "odd_plugins.py").write_text(_PLUGINS)
    (tmp_path / "odd_hanging.py").write_text(_HANGING)
    monkeypatch.setenv("ORCHESTRATOR_DISPATCH__IMPORT_LIMIT_S", "0.2")
    (tmp_path / "odd_broken.py").write_text("raise RuntimeError('no licence')")
    metadata = tmp_path / "odd_plugins-1.2.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: odd-plugins\nVersion: 1.2\n")
    points = "\n".join(f"{name} = {value}" for name, value in _POINTS.items())
    (metadata / "entry_points.txt").write_text(f"[orchestrator.backends]\n{points}\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in ("odd_plugins", "odd_broken", "odd_hanging"):
        sys.modules.pop(name, None)


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    """Exit code and the JSON that a subcommand printed."""
    code = cli.run(["plugins", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_list_tells_what_loads_and_what_is_enabled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken plugins are named with their reason, those the configuration leaves out, and those nobody installed."""
    file = tmp_path / "settings.toml"
    file.write_text('backends = ["odd_good", "odd_nobody"]\n')
    code, found = answer(capsys, "list", "--config", str(file))
    assert code == cli.NO
    rows = {each["plugin"]: each for each in found}
    assert rows["odd_good"] == {
        "plugin": "odd_good", "kind": "backends", "distribution": "odd-plugins", "version": "1.2", "loads": "yes",
        "enabled": "yes", "moved": "",
    }  # fmt: skip
    assert rows["odd_broken"]["loads"] == "no: RuntimeError: no licence"
    assert "Absent" in rows["odd_missing"]["loads"]
    place = f"{tmp_path / 'odd_hanging.py'}:3"
    assert rows["odd_hanging"]["loads"] == f"no: it hangs at import: not through after 0.2 s, at {place}"
    assert rows["odd_broken"]["enabled"] == "no"
    assert (rows["odd_nobody"]["loads"], rows["odd_nobody"]["enabled"]) == ("no: not installed", "yes")
    assert rows["webhook"]["kind"] == "channels"


def test_info_tells_what_a_plugin_serves_and_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its class, its backends with their capabilities, and its settings: default, meaning, set to what."""
    file = tmp_path / "settings.toml"
    file.write_text("[plugins.odd_good]\nlevel = 7\n")
    code, found = answer(capsys, "info", "odd_good", "--config", str(file))
    assert code == cli.DONE
    assert (found["distribution"], found["made_by"], found["enabled"]) == ("odd-plugins", "odd_plugins:Good", True)
    assert found["about"] == "Serves ``odd.good``."
    assert [(each["backend"], each["qubits"]) for each in found["backends"]] == [("odd.good", 2), ("odd.wide", 9)]
    assert found["settings"] == [{"name": "level", "default": 3, "set_to": 7, "meaning": "How much of it, in [units]."}]
    assert cli.run(["plugins", "info", "odd_good"]) == cli.DONE
    told = capsys.readouterr().out
    for words in ("odd.good: 2", "odd.wide: 9", "[plugins.odd_good]", "[units]"):
        assert words in told


def test_info_shows_prose_of_the_plugins_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Paragraphs fit the reader's terminal, lists stay as they are; the base class's docstring is none of it."""
    (tmp_path / "odd_words.py").write_text(
        "from odd_plugins import Good\n"
        'class Silent(Good):\n    name = "s"\n'
        'class Wordy(Good):\n    """One\n    two.\n\n    * a\n    * b\n    """\n    name = "w"\n'
    )
    assert answer(capsys, "info", "odd_words:Silent")[1]["about"] == ""
    assert answer(capsys, "info", "odd_words:Wordy")[1]["about"] == "One two.\n\n* a\n* b"


@pytest.mark.parametrize("subcommand", ["info", "check"])
def test_a_name_with_dashes_is_known(subcommand: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The name a project was made with, which is the distribution's, leads to the plugin's; and to module:Class."""
    assert cli.run(["plugins", subcommand, "odd-good"]) == cli.FAILED
    told = capsys.readouterr().err
    assert "did you mean 'odd_good'?" in told
    assert "module:Class" in told


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("odd_closed", "OSError: the device is off"),
        ("odd_broken", "RuntimeError: no licence"),
        ("odd_missing", "has no attribute 'Absent'"),
        ("odd_hanging", "it hangs at import"),
        ("odd_plugins:Nameless", "its class has no `name`"),
        ("odd_plugins:Raises", "SystemExit: bye"),
        ("odd_plugins:Settings", "does not make an Adapter"),
        ("no_such_module:Any", "No module named 'no_such_module'"),
        ("odd plugins:", "package.module:Class"),
    ],
)
def test_info_says_what_is_wrong(name: str, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A broken plugin is described as far as it goes, with the reason, and the exit code says so."""
    code, found = answer(capsys, "info", name)
    assert code == cli.NO
    assert reason in found["problem"]
    assert cli.run(["plugins", "info", name]) == cli.NO
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("name", ["odd_broken", "odd_hanging", "odd_plugins:Raises", "no_such_module:Any"])
def test_check_says_what_is_wrong(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be made is reported by name and reason, and is a no."""
    code, found = answer(capsys, "check", name)
    assert code == cli.NO
    assert found["adapter"] == name
    assert found["problem"]


@pytest.mark.parametrize("subcommand", ["info", "check"])
def test_unknown_names_are_refused(subcommand: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line says so, and which plugins there are."""
    assert cli.run(["plugins", subcommand, "nobody"]) == cli.FAILED
    told = capsys.readouterr().err
    assert told.startswith("error: adapter_unavailable: adapter 'nobody' is unavailable: not installed; installed: ")
    assert len(told.splitlines()) == 1


def test_channels_have_a_kit_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    """A channel is described, and its check points to the kit of channels."""
    code, found = answer(capsys, "info", "webhook")
    assert (code, found["kind"]) == (cli.DONE, "channels")
    assert cli.run(["plugins", "check", "webhook"]) == cli.FAILED
    assert "channel_suite" in capsys.readouterr().err


def test_check_finds_a_broken_promise(tmp_path: Path) -> None:
    """An adapter that runs nothing is told so in plain words, and the command exits with 1."""
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator.cli", "plugins", "check", "odd_plugins:Good", "--backend", "odd.good"],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == cli.NO, done.stderr
    assert "broken   A plain job completes" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


_NOISY = """
import os, subprocess, sys
from orchestrator import Result
from orchestrator.backends.abc import Adapter, Capabilities

class Noisy(Adapter):
    name = "noisy"

    def capabilities(self):
        print("asked\\nagain")
        return [Capabilities(backend="noisy", qubits=1)]

    async def run(self, attempt):
        subprocess.run([sys.executable, "-c", "print('a child')"])
        raise KeyError("trap")

class Leaving(Noisy):
    async def run(self, attempt):
        os._exit(0)
"""


def check(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Check an adapter that prints, in a process of its own."""
    (folder / "loud.py").write_text(_NOISY)
    return subprocess.run(
        [sys.executable, "-m", "orchestrator.cli", "plugins", "check", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def test_check_keeps_an_adapters_prints_out_of_the_report(tmp_path: Path) -> None:
    """Whatever an adapter and its children print, the document is one; it says that something was printed."""
    done = check(tmp_path, "loud:Noisy", "--json")
    assert done.returncode == cli.NO, done.stderr
    found = json.loads(done.stdout)
    assert found["printed"].endswith("left out here; the first: asked")
    assert "KeyError: 'trap', at loud.py:" in found["broken"][0]["why"]
    text = check(tmp_path, "loud:Noisy").stdout
    assert text.count("asked") == 1
    assert "checks: not tried, since plain_job is broken" in text
    assert len(text.splitlines()) < 12


def test_check_tells_who_ended_it(tmp_path: Path) -> None:
    """An adapter that ends the process does not end it without a word, nor as if all were well."""
    done = check(tmp_path, "loud:Leaving")
    assert done.returncode == cli.NO
    assert "os._exit(0) ended the process, at loud.py:" in done.stderr


def test_listing_help_imports_no_plugin() -> None:
    """The group and its help cost neither the service nor the kit, nor any plugin."""
    program = "import sys; from orchestrator.cli import run; run(['plugins', '--help']); print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    modules = done.stdout.splitlines()[-1]
    for heavy in ("rich.console", "orchestrator.service", "orchestrator.testing", "orchestrator.authoring.inspecting"):
        assert f"'{heavy}'" not in modules

"""Documentation that cannot drift: its code runs, its links lead somewhere, its tables are complete."""

from __future__ import annotations

import cmath
import dataclasses
import inspect
import math
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from orchestrator import cli, settings
from orchestrator.api.feed.hub import Close
from orchestrator.api.payloads import AGGREGATE, AGGREGATE_ARTIFACT, FORMATS, NATIVE, NATIVE_ARTIFACT
from orchestrator.api.v03.routes import SURFACE as V03
from orchestrator.api.v04 import jobs as v04_jobs
from orchestrator.api.v04.routes import SURFACE as V04
from orchestrator.circuits.gates import GATES, matrix
from orchestrator.circuits.ir import Gate, GateSet
from orchestrator.events import EventKind
from orchestrator.lifecycle import JobStatus
from orchestrator.testing.adapter_kit import CHECKS, Bench
from orchestrator.testing.adapter_kit.checks import name_of, promise_of
from tests.integration.docs import adapter_reference, circuits_reference

ROOT = Path(__file__).parents[3]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#\s]+)")
_SDKS = ("qiskit", "cirq", "pennylane", "ionq_core")
_LIMIT_S = 120.0


class Block(NamedTuple):
    """A fenced block of a page."""

    page: str
    number: int
    language: str
    text: str

    @property
    def sdk(self) -> bool:
        return any(re.search(rf"^(import|from) {name}", self.text, re.MULTILINE) for name in _SDKS)


BLOCKS = [
    Block(str(page.relative_to(ROOT)), number, *match.groups())
    for page in PAGES
    for number, match in enumerate(_BLOCK.finditer(page.read_text("utf-8")))
]


def blocks(language: str) -> list[Block]:
    """The blocks in a language, none of them empty."""
    return [block for block in BLOCKS if block.language == language]


def name(block: Block) -> str:
    """How a test of a block is called."""
    return f"{block.page}-{block.number}"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables that ``orchestrator serve`` tells to export."""
    folder = tmp_path_factory.mktemp("docs") / "data"
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("ORCHESTRATOR_", "IONQ_"))}
    with subprocess.Popen(
        [sys.executable, "-m", "orchestrator.cli", "serve", "--port", "0", "--data", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
        env=clean,
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(4)]
        exported = dict(line.removeprefix("export ").split("=", 1) for line in lines[1:])
        yield {**clean, **exported, "PYTHONPATH": str(ROOT)}
        process.terminate()


def interpreter(block: Block) -> str:
    """A Python that has what the block imports."""
    if not block.sdk:
        return sys.executable
    python = os.environ.get("ORCHESTRATOR_CLIENTS_V04")
    if python is None:
        pytest.skip("ORCHESTRATOR_CLIENTS_V04 names no Python with the SDKs")
    return python


@pytest.mark.parametrize("block", blocks("python"), ids=name)
def test_python_runs(block: Block, served: dict[str, str], tmp_path: Path) -> None:
    """Every Python block runs as it stands, with only the exported lines set, and prints something."""
    python = interpreter(block)
    done = subprocess.run(
        [python, "-c", block.text],
        cwd=tmp_path,
        env=served,
        capture_output=True,
        encoding="utf-8",
        timeout=_LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("block", blocks("toml"), ids=name)
def test_settings_in_the_docs_are_settings(block: Block, tmp_path: Path) -> None:
    """Every TOML block is a file of settings that loads, or a project's metadata."""
    if "project" in tomllib.loads(block.text):
        return
    file = tmp_path / "settings.toml"
    file.write_text(block.text)
    settings.load(file, environment={})


@pytest.mark.parametrize("file", sorted((ROOT / "configs").glob("*.toml")), ids=lambda file: file.name)
def test_configs_load(file: Path) -> None:
    """Every file in configs/ is read by what it is for."""
    if file.name.startswith("noise"):
        models = pytest.importorskip("orchestrator_noise_model.models")
        assert models.load(file)
    else:
        loaded = settings.load(file, environment={})
        assert loaded != settings.Settings()
        installed = {point.name for point in entry_points(group="orchestrator.backends")}
        assert set(loaded.backends) <= installed
        if (table := loaded.plugins.get("remote_cloud")) is not None:
            assert pytest.importorskip("orchestrator_remote_cloud.settings").read(table).remotes


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Relative links name files that exist."""
    for target in _LINK.findall(page.read_text("utf-8")):
        assert "://" in target or (page.parent / target).exists(), target


def test_the_readme_has_two_commands_of_one_line() -> None:
    """One runs the demo, one the tests; .ci/run runs both as they stand."""
    lines = [
        line for line in (ROOT / "README.md").read_text("utf-8").splitlines() if line.startswith("python3 -m venv")
    ]
    demo, tests = lines
    assert demo.endswith("&& .venv/bin/orchestrator demo")
    assert tests.endswith("&& .venv/bin/python -m pytest")
    assert all(" ./plugins/* " in line for line in lines)


def every_setting() -> Iterator[tuple[str, object]]:
    """Dotted names of all settings, with their defaults."""
    for field in msgspec.structs.fields(settings.Settings):
        if isinstance(field.default, msgspec.Struct):
            for inner in msgspec.structs.fields(type(field.default)):
                yield f"{field.name}.{inner.name}", inner.default
        elif field.name not in {"plugins", "channels"}:
            yield field.name, field.default


def every_plugin_setting() -> Iterator[tuple[str, object]]:
    """The same of the plugins in this repository."""
    for plugin, where in (("noise_model", "adapter"), ("trapped_ion", "adapter"), ("fault", "plan")):
        module = pytest.importorskip(f"orchestrator_{plugin}.{where}")
        for field in msgspec.structs.fields(module.Settings):
            yield f"plugins.{plugin}.{field.name}", field.default
    remote = pytest.importorskip("orchestrator_remote_cloud.settings")
    for field in msgspec.structs.fields(remote.RemoteSettings):
        yield f"plugins.remote_cloud.remotes.<name>.{field.name}", field.default


def test_every_setting_is_documented_with_its_default() -> None:
    """docs/configuration.md has a row for each setting, and for no other, with the default there is."""
    text = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `([a-z_.<>]+)` \| (.*?) \|", text, re.MULTILINE))
    known = dict(every_setting()) | dict(every_plugin_setting())
    assert rows.keys() == known.keys() | {"plugins.<name>", "channels.<name>"}
    for setting, default in known.items():
        if default and isinstance(default, str | int | float):
            assert rows[setting] == f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def test_every_event_and_close_code_is_documented() -> None:
    """docs/feed.md names every kind of the log and every code that ends a feed."""
    text = (ROOT / "docs" / "feed.md").read_text("utf-8")
    kinds = [kind for kind in EventKind if not kind.startswith("hook.")]  # those are told to hooks alone
    assert [kind for kind in kinds if f"`{kind}`" not in text] == []
    assert [code for code in Close if f"| {int(code)} |" not in text] == []


def test_every_command_and_status_is_documented() -> None:
    """The README names every command; the glossary every status."""
    readme = (ROOT / "README.md").read_text("utf-8")
    assert [command for command in cli.COMMANDS if f"`{command}" not in readme] == []
    glossary = (ROOT / "docs" / "glossary.md").read_text("utf-8")
    assert [status for status in JobStatus if f"`{status}`" not in glossary] == []


def test_every_resource_is_documented() -> None:
    """docs/http-api.md names the first part of every path of both versions."""
    text = (ROOT / "docs" / "http-api.md").read_text("utf-8")
    for surface in (V04, V03):
        for path in {f"{surface.prefix}/{route.path.split('/')[1]}" for route in surface.routes}:
            assert path in text, path


def test_the_adapter_reference_is_the_contract() -> None:
    """docs/adapter-reference.md has every member of an adapter once, explained, and says what the code says."""
    assert sorted(sum(adapter_reference.GROUPS.values(), ())) == sorted(adapter_reference.members())
    written = adapter_reference.PAGE.read_text("utf-8")
    assert written == adapter_reference.page(), "python -m tests.integration.docs.adapter_reference writes it anew"
    assert [line for line in written.splitlines() if re.search(r"\|\s*\|$", line)] == []


def test_every_artifact_and_parameter_is_documented() -> None:
    """docs/http-api.md names every artifact with its format, and what may be asked of an estimate."""
    text = (ROOT / "docs" / "http-api.md").read_text("utf-8")
    offered = {form.artifact: form.id for form in FORMATS} | {AGGREGATE_ARTIFACT: AGGREGATE, NATIVE_ARTIFACT: NATIVE}
    assert [name for pair in offered.items() for name in pair if f"`{name}`" not in text] == []
    table = text.partition("## Estimates")[2].partition("## ")[0]
    asked = re.findall(r'query\.\w+\("(\w+)"', inspect.getsource(v04_jobs.estimate))
    assert len(asked) > 5
    assert [name for name in asked if f"`{name}`" not in table] == []


def test_the_page_of_gates_is_the_gate_table() -> None:
    """docs/circuits.md has every gate, record and function, explained, and says what the code says."""
    written = circuits_reference.PAGE.read_text("utf-8")
    assert written == circuits_reference.page(), "python -m tests.integration.docs.circuits_reference writes it anew"
    assert [line for line in written.splitlines() if re.search(r"\|\s*\|$", line)] == []


@pytest.mark.parametrize(
    ("gateset", "name"), [(gateset, name) for gateset, rows in GATES.items() for name in rows if name != "pauliexp"]
)
def test_unitaries_on_the_page_are_those_of_the_core(gateset: GateSet, name: str) -> None:
    """Each unitary, read as a formula with angles put in, is the matrix that engines apply."""
    formula = circuits_reference.UNITARIES[gateset][name]
    params = (0.13, 0.29, 0.21)[-len(GATES[gateset][name].params) :] if GATES[gateset][name].params else ()
    turn = 1.0 if gateset == "qis" else 2 * math.pi
    angle, phase0, phase1 = (turn * value for value in (0.21, 0.13, 0.29))
    known = {"i": 1j, "r": math.sqrt(0.5), "pi": math.pi, "e": lambda x: cmath.exp(1j * x), "a": angle, "p": angle}
    known |= {"c": math.cos(angle / 2), "s": math.sin(angle / 2), "p0": phase0, "p1": phase1}
    gate = Gate(name, tuple(range(GATES[gateset][name].targets)), params=params)
    read = eval(formula, known)  # noqa: S307 - a formula of our own
    for row, expected in zip(read, matrix(gate, gateset), strict=True):
        assert row == pytest.approx(expected)


def test_every_promise_of_adapters_is_documented() -> None:
    """docs/conformance.md has a row for each check of the kit, with its promise, and for no other."""
    text = (ROOT / "docs" / "conformance.md").read_text("utf-8")
    rows = re.findall(r"^\| `([a-z_]+)` \| (.+) \|$", text.partition("## The promises")[2], re.MULTILINE)
    assert rows == [(name_of(check), promise_of(check)) for check in CHECKS]
    members = re.findall(r"^\| `([a-z_]+)` \|", text.partition("## The bench")[2].partition("## ")[0], re.MULTILINE)
    assert ["make", *members] == [field.name for field in dataclasses.fields(Bench)]

"""Imports run downhill, plugins keep to the rooms they may use, and the core carries no numerics."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: Rooms from the bottom up; each may import those of earlier lines. A new room gets its place here.
LAYERS = (
    {"errors", "clock"},
    {"lifecycle", "circuits", "workers", "settings", "datafolder", "process"},
    {"model", "events"},
    {"hooks", "histogram", "client"},
    {"storage"},
    {"bus", "backends", "telemetry"},
    {"accounts", "dispatch", "housekeeping", "notify", "submission", "subscription", "waiting"},
    {"service"},
    {"api", "testing"},
    {"bench"},
    {"cli"},
)
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}

#: What a backend's author may rely on; the clock is part of the adapter's context.
FOR_PLUGINS = {"backends", "circuits", "clock", "model", "events", "errors", "workers", "client", "testing"}
NUMERICS = {"numpy", "scipy", "numba", "pandas", "qiskit", "cirq", "pennylane"}


def imported(file: Path) -> Iterator[str]:
    """Modules a file imports when it runs, also within functions; what only type checkers read is left out."""

    def walk(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for other in node.orelse:
                yield from walk(other)
            return
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            bare = node.module == "orchestrator"
            yield from (f"orchestrator.{alias.name}" for alias in node.names) if bare else (node.module,)
        for child in ast.iter_child_nodes(node):
            yield from walk(child)

    return walk(ast.parse(file.read_text("utf-8")))


def rooms(file: Path) -> set[str]:
    """The rooms of the core that a file imports."""
    return {name.split(".")[1] for name in imported(file) if name.startswith("orchestrator.")}


def files(folder: str) -> list[Path]:
    """All modules below a folder of the repository."""
    return sorted((ROOT / folder).rglob("*.py"))


def room_of(file: Path) -> str:
    """The room a module of the core lives in; empty for the package itself, which only exports."""
    name = file.relative_to(ROOT / "orchestrator").parts[0].removesuffix(".py")
    return "" if name == "__init__" else name


@pytest.mark.parametrize("room", sorted({room_of(file) for file in files("orchestrator")} - {""}))
def test_imports_run_downhill(room: str) -> None:
    """A room imports only rooms below it."""
    assert room in LEVEL, f"give {room} its place in LAYERS"
    for file in files("orchestrator"):
        if room_of(file) == room:
            uphill = {other for other in rooms(file) - {room} if LEVEL[other] >= LEVEL[room]}
            assert not uphill, f"{file.relative_to(ROOT)} imports {uphill}"


def test_the_core_carries_no_numerics_and_no_plugin() -> None:
    """No module of the core imports a numerical library or a plugin."""
    for file in files("orchestrator"):
        tops = {name.split(".")[0] for name in imported(file)}
        assert not tops & NUMERICS, file
        assert not any(top.startswith("orchestrator_") for top in tops), file


def test_plugins_keep_to_their_rooms() -> None:
    """Plugins import what backends' authors are promised, and nothing else of the core."""
    for file in files("plugins"):
        assert rooms(file) <= FOR_PLUGINS, file


def test_importing_the_package_is_cheap() -> None:
    """`import orchestrator`, and the front door itself, bring neither the web, the terminal, numerics nor a plugin."""
    program = "import sys, orchestrator; orchestrator.Orchestrator; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    modules = {name.split(".")[0] for name in done.stdout.split()}
    assert not modules & {"aiohttp", "click", *NUMERICS}
    assert not any(name.startswith("orchestrator_") for name in modules)

"""Imports run downhill (docs: architecture), and plugins see only the rooms that are theirs."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "orchestrator"

#: Rooms from the bottom up. A room imports rooms of its own level or below; a module of no room counts by its name.
LEVELS = (
    {"errors"},
    {"lifecycle", "clock", "tasks", "retrying", "signals", "foreign", "loading"},
    {"circuits"},
    {"model"},
    {"events", "histogram"},
    {"workers", "process"},
    {"settings", "hooks"},
    {"storage", "datafolder"},
    {"bus", "backends"},
    {"dispatch", "notify", "subscription", "waiting", "housekeeping", "accounts", "submission", "sessions"},
    {"snapshot"},
    {"fleet"},
    {"opening"},
    {"service"},
    {"telemetry", "testing", "client"},
    {"api", "console"},
    {"bench", "authoring"},
    {"cli"},
)
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}

#: What nobody below may import at all, not even for types.
DOORS = {"api", "cli", "console", "bench"}

#: What each kind of plugin may import of the package.
PLUGIN_ROOMS = {"backends", "circuits", "model", "events", "errors", "workers", "client", "testing"}
CHANNEL_ROOMS = PLUGIN_ROOMS | {"notify"}

NUMERICS = {"numpy", "scipy", "qulacs", "qsimcirq", "qiskit", "cirq", "pennylane"}
#: Distributions outside the standard library that may be imported where a module is loaded, by room.
HEAVY = {"aiohttp", "rich", "click", "prometheus_client", "uvloop", "aiosqlite"}


class Import:
    """One import of a module.

    Attributes:
        late: Inside a function, or for types only: it costs nothing when the module is loaded.
    """

    def __init__(self, name: str, line: int, *, typing: bool, inside: bool) -> None:
        self.name, self.line, self.typing, self.late = name, line, typing, typing or inside

    @property
    def room(self) -> str | None:
        first, _, rest = self.name.partition(".")
        return rest.partition(".")[0] or None if first == PACKAGE else None


@cache
def imports(path: Path) -> list[Import]:
    """All imports of a file, relative ones resolved to nothing: the package uses none."""

    def visit(node: ast.AST, typing: bool, inside: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, typing=typing, inside=inside)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            for alias in node.names:
                name = node.module or ""
                joined = f"{name}.{alias.name}" if name == PACKAGE else name
                yield Import(joined, node.lineno, typing=typing, inside=inside)
        typing |= isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        inside |= isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, typing, inside)

    return list(visit(ast.parse(path.read_text(encoding="utf-8")), False, False))


def room_of(path: Path) -> str:
    return path.relative_to(ROOT / PACKAGE).with_suffix("").parts[0]


def modules() -> list[Path]:
    return sorted(path for path in (ROOT / PACKAGE).rglob("*.py") if room_of(path) != "__init__")


def names(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_imports_run_downhill() -> None:
    """A module imports its own level and below; nobody imports a door of the house from inside."""
    uphill = []
    for path in modules():
        room = room_of(path)
        assert room in LEVEL, f"give {room} a level"
        for found in imports(path):
            target = found.room
            if target is None or target == room or LEVEL[target] <= LEVEL[room]:
                continue
            if target in DOORS or not found.typing:
                uphill.append(f"{names(path)}:{found.line}: {found.name}")
    assert uphill == []


def test_dispatch_and_notify_are_given_what_they_write_with() -> None:
    """They know the store's contract, no store and no service."""
    for path in modules():
        if room_of(path) in {"dispatch", "notify"}:
            for found in imports(path):
                stores = ("orchestrator.storage.sqlite", "orchestrator.storage.memory")
                assert found.room != "service", f"{path}:{found.line}"
                assert not found.name.startswith(stores), f"{path}:{found.line}"


def test_the_core_carries_no_numerics() -> None:
    """Neither numerics nor a plugin are imported anywhere in the core, at no time."""
    for path in modules():
        for found in imports(path):
            top = found.name.partition(".")[0]
            assert top not in NUMERICS, f"{path}:{found.line}"
            assert not top.startswith("orchestrator_"), f"{path}:{found.line}"


def test_circuits_are_pure() -> None:
    """The circuit room needs the standard library and msgspec, and of the package its errors."""
    for path in modules():
        if room_of(path) == "circuits":
            for found in imports(path):
                assert found.room in {None, "circuits", "errors"}, f"{path}:{found.line}"
                assert found.name.partition(".")[0] not in HEAVY | {"anyio", "asyncio"}, f"{path}:{found.line}"


def test_what_embedders_load_is_light() -> None:
    """aiohttp, rich, click and their like are loaded by the doors alone; the SQLite library by its store."""
    for path in modules():
        room = room_of(path)
        for found in imports(path):
            if found.late or found.name.partition(".")[0] not in HEAVY or room in DOORS | {"client", "telemetry"}:
                continue
            library = found.name.partition(".")[0]
            assert (library, room) in {("aiosqlite", "storage")} or room in {"notify", "testing"}, (
                f"{path}:{found.line}"
            )


@pytest.mark.parametrize("plugin", sorted(path for path in (ROOT / "plugins").iterdir() if path.is_dir()), ids=names)
def test_plugins_import_the_rooms_that_are_theirs(plugin: Path) -> None:
    """An adapter sees the contract and what it is made of; a channel also the contract of channels."""
    declared = (plugin / "pyproject.toml").read_text(encoding="utf-8")
    allowed = CHANNEL_ROOMS if "orchestrator.channels" in declared else PLUGIN_ROOMS
    for path in sorted(plugin.glob("orchestrator_*/**/*.py")):
        for found in imports(path):
            where = f"{names(path)}:{found.line}: {found.name}"
            if (room := found.room) is not None:
                assert room in allowed, where
            top = found.name.partition(".")[0]
            if top.startswith("orchestrator_") and top != path.relative_to(plugin).parts[0]:
                distribution = "ion-orchestrator-" + top.removeprefix("orchestrator_").replace("_", "-")
                assert distribution in declared, where

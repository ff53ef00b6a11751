"""What importing and embedding load."""

import json
import subprocess
import sys

HEAVY = {"aiohttp", "rich", "click", "numpy", "scipy", "prometheus_client", "uvloop", "qulacs", "aiosqlite"}


def loaded(statements: str) -> set[str]:
    """Top-level modules that these statements load beyond those of a bare interpreter."""
    program = f"""
import sys
before = set(sys.modules)
{statements}
import json
print(json.dumps(sorted(set(sys.modules) - before)))
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    return set(json.loads(ended.stdout))


def test_importing_loads_nothing() -> None:
    """`import orchestrator` loads that one module and what it needs to load others lazily."""
    modules = loaded("import orchestrator")
    assert {name for name in modules if name.startswith("orchestrator")} == {"orchestrator"}
    assert not {name.partition(".")[0] for name in modules} & (HEAVY | {"msgspec", "anyio", "asyncio", "structlog"})


def test_embedding_in_memory_loads_no_server_and_no_numerics() -> None:
    """The front door loads no HTTP, no terminal library, no numerics, no plugin."""
    modules = loaded("from orchestrator import Circuit, Gate, Orchestrator, Settings")
    tops = {name.partition(".")[0] for name in modules}
    assert not tops & (HEAVY - {"rich"})  # structlog loads rich where that is installed
    assert not [name for name in modules if name.startswith(("orchestrator_", "orchestrator.api", "orchestrator.cli"))]


def test_every_exported_name_is_there() -> None:
    """The lazy exports resolve, and an unknown name is an AttributeError."""
    import orchestrator

    for name in orchestrator.__all__:
        assert getattr(orchestrator, name).__name__
    assert not hasattr(orchestrator, "nothing")

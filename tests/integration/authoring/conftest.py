"""An environment of its own, beside the one of the tests, into which plugins can be installed."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import venv
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

LIMIT_S = 300.0
BASH = shutil.which("bash") or ""

Shell = Callable[..., str]

#: Builds and installs from what is there: no network, no second copy of the build tool.
_PIP = """#!/bin/sh
[ "$1" = install ] && shift && set -- install -q --no-index --no-build-isolation "$@"
exec python -m pip "$@"
"""
_ORCHESTRATOR = """#!/bin/sh
exec python -m orchestrator.cli "$@"
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables of an active environment that has all that this one has; what is installed there stays there."""
    for module in ("pip", "hatchling"):
        if find_spec(module) is None:
            pytest.skip(f"this environment has no {module} to install a plugin with")
    if not BASH:
        pytest.skip("there is no bash")
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    [packages] = (folder / "lib").glob("python*/site-packages")
    seen = [path for path in sys.path if path.endswith("-packages")] + site.getsitepackages()
    lines = [f"import site; site.addsitedir({path!r})" for path in dict.fromkeys(seen)]
    (packages / "beside.pth").write_text("\n".join(lines))
    for name, text in (("pip", _PIP), ("orchestrator", _ORCHESTRATOR)):
        script = folder / "bin" / name
        script.write_text(text)
        script.chmod(0o755)
    ours = ("ORCHESTRATOR_", "IONQ_", "PYTEST_", "PYTHON")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**clean, "PATH": f"{folder / 'bin'}:{clean['PATH']}", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


@pytest.fixture(scope="module")
def shell(environment: dict[str, str]) -> Shell:
    """Runs a script in that environment; answers what it printed."""

    def run(script: str, cwd: Path, **variables: str) -> str:
        done = subprocess.run(
            [BASH, "-euo", "pipefail", "-c", script],
            cwd=cwd,
            env={**environment, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}"
        return done.stdout

    return run

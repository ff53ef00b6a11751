"""A real server, and the checks that the published SDKs pass against it.

The SDKs do not share an environment with this project, nor all of them one with each other: their checks are
scripts (``checks/``) for interpreters that have them, named by environment variables (CONTRIBUTING.md).
"""

from __future__ import annotations

import functools
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Report = dict[str, dict[str, Any]]

CHECKS = Path(__file__).with_name("checks")
CALIBRATIONS = Path(__file__).parents[2] / "configs" / "calibrations"
KEY = "clients_key_0123456789abcdef"
_START_S = 60
_SCRIPT_S = 300

#: Where the interpreter for a script is named: by the version of the contract that its SDK speaks.
INTERPRETERS = {"v04": "ORCHESTRATOR_CLIENTS_V04", "v03": "ORCHESTRATOR_CLIENTS_V03"}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of its own, whose QPUs do not keep anyone waiting, and one of which has prices."""
    folder = tmp_path_factory.mktemp("server")
    config, devices = folder / "config.toml", folder / "devices"
    config.write_text(f"[plugins.trapped_ion]\ntime_scale = 0.0\ncalibrations = {str(devices)!r}\n")
    devices.mkdir()
    shutil.copy(CALIBRATIONS / "lab-12.toml", devices)
    command = [sys.executable, "-c", "from orchestrator.cli import main; main()", "serve"]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            [*command, "--port", "0", "--data", str(folder / "data"), "--config", str(config)],
            env=os.environ | {"ORCHESTRATOR_BOOTSTRAP_KEY": KEY},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        select.select([process.stdout], [], [], _START_S)
        url = process.stdout.readline().strip() if process.poll() is None else ""
        assert url.startswith("http"), (folder / "log").read_text()
        yield url
        process.send_signal(signal.SIGTERM)
        assert process.wait(_START_S) == 0


@pytest.fixture(scope="session")
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Report]:
    """What the checks of a script say, by name; the script runs once, and the server starts with the first."""

    @functools.cache
    def of(script: str) -> Report:
        variable = INTERPRETERS[script.rpartition("_")[2]]
        interpreter = os.environ.get(variable)
        if not interpreter:
            pytest.skip(f"{variable} names no interpreter that has the SDKs")
        server = request.getfixturevalue("server")
        folder = tmp_path_factory.mktemp(script)
        with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
            subprocess.run(
                [interpreter, "-W", "ignore", str(CHECKS / f"{script}.py"), server, KEY],
                cwd=folder,
                stdout=out,
                stderr=err,
                timeout=_SCRIPT_S,
                check=False,
            )
        lines = [json.loads(line) for line in (folder / "out").read_text().splitlines()]
        return {line["check"]: line for line in lines} | {"": {"error": (folder / "err").read_text()}}

    return of

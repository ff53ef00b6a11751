"""A remote's backends keep the adapter contract like local ones: here those of another orchestrator."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.testing.adapter_kit import AdapterConformance, Bench
from orchestrator_remote_cloud.adapter import RemoteCloudAdapter

KEY = "conformance-key-0123456789"


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of another orchestrator, in a process of its own."""
    folder = tmp_path_factory.mktemp("remote") / "data"
    clean = {key: value for key, value in os.environ.items() if not key.startswith("ORCHESTRATOR_")}
    settings = {"ORCHESTRATOR_BOOTSTRAP_KEY": KEY, "ORCHESTRATOR_PLUGINS__TRAPPED_ION__TIME_SCALE": "0"}
    with subprocess.Popen(
        [sys.executable, "-m", "orchestrator.cli", "serve", "--port", "0", "--data", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
        env={**clean, **settings},
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split()[-1]
        process.terminate()


class TestRemoteCloud(AdapterConformance):
    """A simulator and a machine of another orchestrator."""

    @pytest.fixture
    def bench(self, remote: str, tmp_path: Path) -> Bench:
        key = tmp_path / "key"
        key.write_text(KEY)
        backends = {"far.simulator": "simulator", "far.aria-1": "qpu.aria-1"}
        table = {"url": remote, "key_file": str(key), "backends": backends}
        return Bench(RemoteCloudAdapter, settings={"remotes": {"far": table}}, limit_s=60.0, cancel_s=10.0)

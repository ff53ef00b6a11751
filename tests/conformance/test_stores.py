"""Both stores keep the store contract."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from orchestrator.storage.abc import Store
from orchestrator.storage.memory import MemoryStore
from orchestrator.storage.sqlite.store import SqliteStore
from orchestrator.testing.clock import ManualClock
from orchestrator.testing.stores.machine import StoreMachine
from orchestrator.testing.stores.suite import StoreConformance


class TestMemoryStore(StoreConformance):
    """The memory store."""

    @pytest.fixture
    def store(self, clock: ManualClock) -> Store:
        return MemoryStore(clock)


class TestSqliteStore(StoreConformance):
    """The SQLite store."""

    @pytest.fixture
    def store(self, clock: ManualClock, tmp_path: Path) -> Store:
        return SqliteStore(tmp_path / "orchestrator.db", clock)


class MemoryMachine(StoreMachine):
    """Random walks of the memory store."""

    def make(self, clock: ManualClock) -> Store:
        return MemoryStore(clock)


class SqliteMachine(StoreMachine):
    """Random walks of the SQLite store."""

    def make(self, clock: ManualClock) -> Store:
        self.folder = tempfile.TemporaryDirectory()
        return SqliteStore(Path(self.folder.name) / "orchestrator.db", clock)

    def teardown(self) -> None:
        super().teardown()
        self.folder.cleanup()


TestMemoryMachine = MemoryMachine.TestCase
TestMemoryMachine.settings = settings(max_examples=60, stateful_step_count=25, deadline=None, derandomize=True)
TestSqliteMachine = SqliteMachine.TestCase
TestSqliteMachine.settings = settings(
    max_examples=15,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)

"""Both stores keep the store contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.storage.abc import Store
from orchestrator.storage.memory import MemoryStore
from orchestrator.storage.sqlite.store import SqliteStore
from orchestrator.testing.clock import ManualClock
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

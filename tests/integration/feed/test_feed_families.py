"""Both stores know a parent's children, whatever became of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.circuits.ir import Circuit
from orchestrator.service import Orchestrator
from tests.contract.harness import Table


@pytest.mark.parametrize("durable", [False, True])
async def test_deleted_children_still_belong_to_their_parent(tmp_path: Path, durable: bool) -> None:
    """So that a feed of the parent tells of them in history as it did live."""
    async with Orchestrator.open(tmp_path if durable else None, adapters=[Table()]) as orchestrator:
        parent = await orchestrator.submit([Circuit(qubits=1)] * 3)
        single = await orchestrator.submit(Circuit(qubits=1))
        children = [child.id for child in await orchestrator.children(parent.id)]
        await orchestrator.delete([parent.id])
        assert sorted(await orchestrator.store.child_ids([parent.id, single.id, "unknown"])) == sorted(children)

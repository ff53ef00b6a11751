"""Where adapters' code may run is remembered over restarts, until an operator lets an adapter begin anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from orchestrator.backends.abc import Adapter, AdapterContext, Attempt, Capabilities
from orchestrator.backends.placements import FILE, Placements
from orchestrator.backends.running import made_by, movable, move
from orchestrator.errors import AdapterUnavailable
from orchestrator.lifecycle import JobStatus
from orchestrator.model import Result
from orchestrator.service import Orchestrator
from orchestrator.testing.adapters import FLIP, ScriptedAdapter, serving, zeros


class Movable(Adapter):
    """Nothing keeps its runs from worker processes; none is begun here."""

    name = "movable"

    def __init__(self, broken: bool = False) -> None:
        self.broken = broken
        made_by(self, "lab:Movable")

    async def open(self, context: AdapterContext) -> None:
        if self.broken:
            raise OSError("no device")

    def capabilities(self) -> list[Capabilities]:
        return [Capabilities(backend="movable", qubits=1)]

    async def run(self, attempt: Attempt) -> Result:
        return zeros(attempt)


def hosted(adapter: Adapter) -> bool:
    return adapter._execution.hosted


def moved(service: Orchestrator) -> dict[str, str]:
    return {member.name: member.moved for member in service.fleet.members()}


@pytest.fixture(autouse=True)
def quiet() -> object:
    with capture_logs() as logs:
        yield logs


async def test_a_move_holds_over_restarts(tmp_path: Path) -> None:
    """The reason is shown, in this life and the next."""
    async with serving(Movable(), data=tmp_path) as service:
        assert moved(service) == {"movable": ""}
        assert move(service.backends.adapter("movable"), "it blocked")
        assert moved(service) == {"movable": "it blocked"}
    for _ in range(2):
        again = Movable()
        async with serving(again, data=tmp_path) as service:
            assert hosted(again)
            assert moved(service) == {"movable": "it blocked"}


@pytest.mark.parametrize("way", ["replace", "enable"])
async def test_an_operator_lets_it_begin_anew(way: str, tmp_path: Path) -> None:
    """A new one of its name runs in the server again, after a restart too; a broken one changes nothing."""
    new = Movable()
    async with serving(Movable(), data=tmp_path) as service:
        move(service.backends.adapter("movable"), "it blocked")

        async def begin(adapter: Adapter) -> None:
            if way == "replace":
                await service.fleet.replace("movable", adapter, drain_s=0)
            else:
                await service.fleet.enable(adapter)

        if way == "enable":
            await service.fleet.disable("movable", drain_s=0)
            assert moved(service) == {"movable": "it blocked"}
        with pytest.raises(AdapterUnavailable, match="no device"):
            await begin(Movable(broken=True))
        assert moved(service) == {"movable": "it blocked"}
        await begin(new)
        assert not hosted(new)
        assert moved(service) == {"movable": ""}
    again = Movable()
    async with serving(again, data=tmp_path):
        assert not hosted(again)


async def test_one_replaced_by_another_is_forgotten(tmp_path: Path) -> None:
    """What it did is nothing about one that may come again under its name."""
    async with serving(Movable(), data=tmp_path) as service:
        move(service.backends.adapter("movable"), "it blocked")
        await service.fleet.replace("movable", ScriptedAdapter(), drain_s=0)
    assert Placements(tmp_path, lambda: 0).all() == {}


async def test_one_that_may_no_longer_move_stays(tmp_path: Path) -> None:
    """The settings of today win over what is remembered."""
    Placements(tmp_path, lambda: 0).put("movable", "it blocked", worker=True)
    adapter = Movable()
    async with serving(adapter, data=tmp_path, blocking="warn"):
        assert not hosted(adapter)
        assert not movable(adapter)


async def test_one_left_out_is_not_opened_until_it_is_enabled(tmp_path: Path, quiet: list[dict[str, object]]) -> None:
    """It is named with its reason and the way back; the others serve. Its jobs wait."""
    Placements(tmp_path, lambda: 0).put("movable", "it blocked the event loop", worker=False)
    async with serving(Movable(broken=True), ScriptedAdapter(), data=tmp_path) as service:
        (problem,) = service.backends.problems
        assert problem.name == "movable"
        assert problem.reason.startswith("left out: it blocked the event loop; `orchestrator plugins enable movable`")
        assert [entry["adapter"] for entry in quiet if entry["event"] == "adapter left out"] == ["movable"]
        job = await service.submit(FLIP, backend="scripted")
        assert (await service.wait(job.id)).status is JobStatus.COMPLETED
        assert await service.fleet.enable(Movable()) == ["movable"]
        assert service.backends.problems == []
    async with serving(Movable(), data=tmp_path) as service:
        assert service.backends.problems == []
    Placements(tmp_path, lambda: 0).put("foreign", "it blocked", worker=False)
    async with serving(Movable(), data=tmp_path) as service:
        assert service.backends.problems == []  # of one that nobody wants any more


async def test_an_attempt_that_took_the_process_with_it_has_failed(tmp_path: Path) -> None:
    """It counts, unlike one that a stop or a kill ended; the last one fails the job, served or not."""

    async def stopped_in(life: int) -> tuple[str, str]:
        adapter = ScriptedAdapter(held=True)
        async with serving(adapter, data=tmp_path) as service:
            if life == 1:
                first = await service.submit(FLIP, backend="scripted")
                other = await service.submit(FLIP, backend="scripted")
                ids.extend((first.id, other.id))
            await adapter.until_seen(2)
            service._dispatcher.lines["scripted"].let_go()  # as a process leaves them that is gone at once
        return ids[0], ids[1]

    ids: list[str] = []
    for life in (1, 2, 3):
        lost, other = await stopped_in(life)
        Placements(tmp_path, lambda: 0).put("scripted", "it blocked", worker=False, lost={lost: life, other: life - 1})
        if life < 3:
            Placements(tmp_path, lambda: 0).forget("scripted")
    async with serving(ScriptedAdapter(), data=tmp_path) as service:
        assert Placements(tmp_path, lambda: 0).lost() == {}
        failed, waiting = await service.get(lost), await service.get(other)
        assert (failed.status, failed.attempt, failed.failed_attempts) == (JobStatus.FAILED, 3, 3)
        assert failed.outcome.failure is not None
        assert failed.outcome.failure.code == "InternalError"
        assert failed.outcome.failure.message == "the backend blocked the event loop"
        assert (waiting.status, waiting.failed_attempts) == (JobStatus.READY, 0)
        assert (await service.verify()).problems == ()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.write_bytes(b"{"),
        lambda file: file.write_bytes(b'{"adapters": {"a": 1}}'),
        lambda file: file.mkdir(),
    ],
    ids=["cut", "foreign", "folder"],
)
def test_a_file_that_cannot_be_used_costs_what_it_says_alone(
    spoil: Callable[[Path], object], tmp_path: Path, quiet: list[dict[str, object]]
) -> None:
    """It is told; nothing is remembered, and what is new is remembered for this life at least."""
    spoil(tmp_path / FILE)
    placements = Placements(tmp_path, lambda: 5)
    assert placements.all() == {}
    placements.put("lab", "it blocked", worker=True)
    found = placements.of("lab")
    assert found is not None
    assert (found.reason, found.at) == ("it blocked", 5)
    assert quiet[0]["event"] == "what was remembered of adapters cannot be read"

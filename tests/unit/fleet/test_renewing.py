"""Adapters whose backends change while they are served."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.backends.abc import AdapterContext, Capabilities
from orchestrator.lifecycle import JobStatus
from orchestrator.model import Job
from orchestrator.service import Orchestrator
from orchestrator.testing.adapters import FLIP, ScriptedAdapter, serving
from orchestrator.testing.clock import ManualClock
from orchestrator.testing.uncertain import turns
from orchestrator_fault.adapter import FaultAdapter


class Growing(ScriptedAdapter):
    """Serves what a test says."""

    def __init__(self, **widths: int) -> None:
        super().__init__(held=True)
        self.widths = widths
        self.broken = False

    async def open(self, context: AdapterContext) -> None:
        self.context = context

    def capabilities(self) -> Sequence[Capabilities]:
        if self.broken:
            raise RuntimeError("no list")
        return [Capabilities(backend=name, qubits=qubits) for name, qubits in self.widths.items()]

    async def change(self, **widths: int) -> None:
        self.widths = widths
        self.context.changed()
        await turns(30)


async def submit(service: Orchestrator, backend: str) -> Job:
    return await service.submit(FLIP, backend=backend)


async def test_a_backend_more_is_served_and_the_others_notice_nothing() -> None:
    """Also where there was none before."""
    adapter = Growing()
    async with serving(adapter) as service:
        assert service.backends.names() == []
        await adapter.change(one=2)
        job = await submit(service, "one")
        await adapter.until_seen(1)
        await adapter.change(one=2, two=3)
        assert service.backends.names() == ["one", "two"]
        other = await submit(service, "two")
        await adapter.until_seen(2)
        adapter.release()
        assert (await service.wait(job.id)).attempt == 1
        assert (await service.wait(other.id)).status is JobStatus.COMPLETED


async def test_a_backend_that_can_do_something_else_is_served_anew() -> None:
    """What runs has the drain limit to end, else it is put back and counted as nobody's failure; what waits, waits."""
    clock, adapter = ManualClock(), Growing(one=1)
    async with serving(adapter, clock=clock) as service:
        running, waiting = await submit(service, "one"), await submit(service, "one")
        await adapter.until_seen(1)
        await adapter.change(one=5)
        assert service.backends.capabilities("one").qubits == 5
        await adapter.until_seen(2)
        adapter.release()
        ended = await service.wait(running.id)
        assert (ended.status, ended.attempt, ended.failed_attempts) == (JobStatus.COMPLETED, 2, 0)
        assert (await service.wait(waiting.id)).attempt == 1
        assert service.backends.state("one").status == "available"
        assert (await service.verify()).problems == ()


async def test_a_backend_that_is_gone_is_retired() -> None:
    """It stays known, its jobs wait, and they run once it is back."""
    adapter = Growing(one=1, two=1)
    adapter.release()
    async with serving(adapter) as service:
        await service.fleet.pause("one")
        job = await submit(service, "one")
        await adapter.change(two=1)
        state = service.backends.state("one")
        assert (state.status, state.reason) == ("retired", "its adapter scripted does not serve it any more")
        await adapter.change(one=1, two=1)
        await service.fleet.resume("one")
        assert (await service.wait(job.id)).status is JobStatus.COMPLETED


async def test_nothing_changes_where_nothing_has_changed_or_can_be_told() -> None:
    """Running jobs keep their attempts; an adapter that raises is left as it was, and heard again afterwards."""
    adapter = Growing(one=1)
    async with serving(adapter) as service:
        job = await submit(service, "one")
        await adapter.until_seen(1)
        await adapter.change(one=1)
        adapter.broken = True
        await adapter.change(two=1)
        assert service.backends.names() == ["one"]
        adapter.broken = False
        await adapter.change(one=1, two=1)
        assert service.backends.names() == ["one", "two"]
        adapter.release()
        assert (await service.wait(job.id)).attempt == 1


async def test_an_adapter_that_went_is_not_asked() -> None:
    """News of one that was disabled change nothing."""
    adapter = Growing(one=1)
    async with serving(adapter) as service:
        await service.fleet.disable("scripted")
        await adapter.change(two=1)
        assert service.backends.names() == ["one"]


async def test_what_a_wrapped_adapter_serves_may_change_too() -> None:
    """Under the names of the wrapper."""
    adapter = Growing(one=1)
    adapter.release()
    async with serving(FaultAdapter(adapter, prefix="faulty.")) as service:
        await adapter.change(one=1, two=2)
        assert service.backends.names() == ["faulty.one", "faulty.two"]
        job = await submit(service, "faulty.two")
        assert (await service.wait(job.id)).status is JobStatus.COMPLETED

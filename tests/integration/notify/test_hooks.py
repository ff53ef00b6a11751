"""Hooks of a whole orchestrator, over both stores, with a channel that keeps what it is given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator import Circuit, Gate, JobRequest, Orchestrator
from orchestrator.errors import ChannelUnavailable, ExecutionError, HookNotFound, InvalidRequest
from orchestrator.events import Event, EventKind
from orchestrator.testing.adapters import ScriptedAdapter
from orchestrator.testing.channels import RecordingChannel

BELL = Circuit(qubits=2, gates=(Gate("h", (0,)), Gate("x", (1,), (0,))))
TO = {"to": "someone"}

Open = Callable[..., Orchestrator]


def failing() -> ScriptedAdapter:
    return ScriptedAdapter(answer=lambda attempt: ExecutionError("SimulationError", "it broke"))


@pytest.fixture(params=["memory", "sqlite"])
def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens orchestrators over the same store, as far as that store outlives its orchestrator."""
    data = tmp_path / "data" if request.param == "sqlite" else None

    def opened(channel: RecordingChannel, adapter: ScriptedAdapter | None = None) -> Orchestrator:
        return Orchestrator.open(data, adapters=[adapter or ScriptedAdapter()], channels=[channel])

    return opened


async def test_failure_reaches_the_channel(opening: Open) -> None:
    """By default a hook tells of failed jobs, once each, with the job, its project and the failure; the log says so."""
    channel = RecordingChannel()
    async with opening(channel, failing()) as orchestrator:
        hook = await orchestrator.hooks.add("recording", TO)
        job = await orchestrator.submit(BELL, backend="scripted")
        (told,) = await channel.received(1)
        assert told.event.kind is EventKind.JOB_FAILED
        assert told.event.data == {"failure": {"code": "SimulationError", "message": "it broke"}}
        assert told.job == await orchestrator.get(job.id)
        assert told.project == orchestrator.project
        assert channel.attempts[0][0] == {"to": "someone", "secret": "drawn by the channel"}
    assert hook.kinds == (EventKind.JOB_FAILED,)
    assert len(channel.attempts) == 1


async def test_delivery_log(opening: Open) -> None:
    """Every attempt stands in the hook's log, latest first; what was delivered waits no more."""
    channel = RecordingChannel()
    async with opening(channel) as orchestrator:
        hook = await orchestrator.hooks.add("recording", TO, kinds=["job.submitted", "job.completed"])
        job = await orchestrator.submit(BELL, backend="scripted")
        await channel.received(2)
        while len(lines := await orchestrator.hooks.log(hook.id)) < 2:
            pass
        assert [line.kind for line in lines] == ["job.completed", "job.submitted"]
        assert {(line.verdict, line.detail, line.number, line.job_id) for line in lines} == {
            ("delivered", "kept", 1, job.id)
        }
        assert await orchestrator.hooks.pending(hook.id) == []
        assert (await orchestrator.hooks.log(hook.id, before=lines[0].position)) == lines[1:]

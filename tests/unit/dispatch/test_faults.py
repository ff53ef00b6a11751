"""Adapters say how they fail, which decides what becomes of the job; what they do not say is contained."""

import asyncio
import signal
from collections.abc import Iterator, Sequence

import anyio
import anyio.lowlevel
import pytest
from structlog.testing import capture_logs

from orchestrator.backends.abc import Attempt
from orchestrator.backends.guarding import guarded, guarded_batch
from orchestrator.errors import (
    BackendFault,
    CanceledByBackend,
    ExecutionError,
    InfrastructureFault,
    UserFault,
    WorkerLost,
)
from orchestrator.foreign import Escaped, contained
from orchestrator.lifecycle import JobStatus
from orchestrator.model import Failure, Job, JobSpec, Result
from orchestrator.testing.adapters import FLIP, ScriptedAdapter, serving
from orchestrator.testing.clock import ManualClock
from orchestrator.testing.uncertain import turns
from orchestrator.workers.protocol import Failed


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Tracebacks in colour take longer than all the rest."""
    with capture_logs():
        yield


def attempt_of(name: str) -> Attempt:
    spec = JobSpec(backend="lab")
    return Attempt(Job(id=name, project_id="p", spec=spec, status=JobStatus.STARTED, submitted_at=0), 1, b"")


class LabFault(UserFault):
    """An author's own."""


FAULTS = [
    (UserFault("too hot"), "InvalidInput", 1),
    (UserFault("too wide", "NotEnoughQubits"), "NotEnoughQubits", 1),
    (LabFault("too cold"), "InvalidInput", 1),
    (BackendFault("no beam"), "", 1),
    (BackendFault("no beam", "OptimizationError"), "OptimizationError", 1),
    (InfrastructureFault("no line"), "InternalError", 3),
    (WorkerLost("killed by SIGKILL"), "InternalError", 3),
    (ExecutionError("SimulationError", "odd"), "SimulationError", 1),
    (ExecutionError("SimulationError", "odd", retryable=True), "SimulationError", 3),
]


@pytest.mark.parametrize("kind", ["simulator", "qpu"])
@pytest.mark.parametrize(("fault", "code", "attempts"), FAULTS, ids=lambda value: type(value).__name__)
async def test_a_fault_decides_code_and_retries(fault: ExecutionError, code: str, attempts: int, kind: str) -> None:
    """Only infrastructure and what says so is tried again; a backend's fault without a code has that of its kind."""
    clock, adapter = ManualClock(), ScriptedAdapter(answer=lambda _: fault, kind=kind)
    async with serving(adapter, clock=clock) as service:
        job = await service.submit(FLIP, backend="scripted")
        await clock.advanced(10.0)
        job = await service.wait(job.id)
        usual = "SimulationError" if kind == "simulator" else "QuantumComputerError"
        assert job.outcome.failure == Failure(code=code or usual, message=fault.message)
        assert (job.attempt, len(adapter.seen)) == (attempts, attempts)


async def test_a_backend_that_cancels_ends_the_job_canceled() -> None:
    """By its operator's will: no failure, and no other try."""
    adapter = ScriptedAdapter(answer=lambda _: CanceledByBackend("maintenance"))
    async with serving(adapter) as service:
        job = await service.wait((await service.submit(FLIP, backend="scripted")).id)
        assert (job.status, job.outcome.failure, len(adapter.seen)) == (JobStatus.CANCELED, None, 1)


@pytest.mark.parametrize(
    "fault", [*(fault for fault, _, _ in FAULTS), CanceledByBackend("maintenance")], ids=lambda fault: fault.message
)
def test_a_fault_arrives_from_a_worker_process_as_what_it_was(fault: ExecutionError) -> None:
    """Class, code, message and retryable; an author's subclass arrives as the nearest of ours."""
    arrived = Failed.of(fault).error()
    assert isinstance(fault, type(arrived))
    assert type(arrived).__mro__[1:] in {ExecutionError.__mro__, ExecutionError.__mro__[1:]}
    for member in ("failure_code", "message", "retryable", "fault"):
        assert getattr(arrived, member) == getattr(fault, member)


def test_what_a_fault_says_is_cut_to_what_can_be_sent() -> None:
    """Objects in place of texts, surrogates and long texts do not break the protocol."""
    fault = ExecutionError(None, "\ud800" + "x" * 10_000)  # type: ignore[arg-type]
    failed = Failed.of(fault)
    assert failed.failure_code == "None"
    assert failed.message.startswith("?x")
    assert len(failed.message) == 2_000


class Unheard(BaseException):
    """What no ``except Exception`` catches."""


@pytest.mark.parametrize(
    ("error", "name"),
    [(SystemExit(1), "SystemExit"), (Unheard(), "Unheard"), (asyncio.CancelledError(), "CancelledError")],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_run_that_raises_no_exception_fails_its_job_alone(error: BaseException, name: str) -> None:
    """An exit, and a cancel that nobody asked for, neither end the service nor a lane."""

    def answer(attempt: Attempt) -> object:
        return error if attempt.job.spec.name == "bad" else Result(qubits=1, probabilities={1: 1.0})

    adapter = ScriptedAdapter(answer=answer, concurrency=1)
    async with serving(adapter) as service:
        for _ in range(3):
            job = await service.wait((await service.submit(FLIP, backend="scripted", name="bad")).id)
            assert job.outcome.failure == Failure(code="InternalError", message=f"the backend raised {name}")
            assert (await service.wait((await service.submit(FLIP, backend="scripted")).id)).terminal


async def test_a_cancel_somebody_asked_for_and_ctrl_c_pass() -> None:
    """They are not the adapter's."""
    with anyio.CancelScope() as scope:
        scope.cancel()
        with contained():
            await anyio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    for error in (KeyboardInterrupt, GeneratorExit):
        with pytest.raises(error), contained():
            raise error
    with pytest.raises(Escaped, match="SystemExit: 3"), contained():
        raise SystemExit(3)


async def test_a_ctrl_c_that_nobody_can_have_pressed_is_contained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a thread hears the signal, no `KeyboardInterrupt` comes of it: whoever raises one has made it up."""
    monkeypatch.setattr("orchestrator.signals.heard", lambda number: number is signal.SIGINT)
    with pytest.raises(Escaped, match="KeyboardInterrupt"), contained():
        raise KeyboardInterrupt


async def test_a_fault_in_a_task_group_of_the_author_is_still_the_fault() -> None:
    """A group of one is unwrapped, one of several is an exception like any other; lack of memory has its own words."""

    async def run(*errors: Exception) -> Result:
        raise ExceptionGroup("tasks", errors)

    fault, attempt = UserFault("too hot"), attempt_of("a")
    assert await guarded(run(fault), attempt) is fault
    several = await guarded(run(fault, ValueError()), attempt)
    assert isinstance(several, ExecutionError)
    assert (several.failure_code, several.message) == ("InternalError", "the backend raised ExceptionGroup")
    starved = await guarded(run(MemoryError()), attempt)
    assert isinstance(starved, BackendFault)


async def test_adapters_whose_other_members_exit_are_contained() -> None:
    """`serve`, `heartbeat`, `cancel` and `recover` that exit are crashes of the adapter."""

    class Leaving(ScriptedAdapter):
        async def heartbeat(self, attempts: object) -> object:  # type: ignore[override]
            raise SystemExit(1)

        async def cancel(self, attempt: Attempt) -> None:
            raise SystemExit(1)

        async def serve(self, *arguments: object) -> None:
            raise SystemExit(1)

    clock, well, held = ManualClock(), ScriptedAdapter("well"), ScriptedAdapter("held", held=True)
    held.heartbeat = held.cancel = Leaving().heartbeat  # type: ignore[method-assign, assignment]
    async with serving(Leaving("leaving"), held, well, clock=clock, lease_s=9.0) as service:
        waiting = await service.submit(FLIP, backend="leaving")
        stuck = await service.submit(FLIP, backend="held")
        await held.until_seen(1)
        await clock.advanced(5.0)
        await service.cancel([stuck.id])
        await turns(20)
        assert (await service.wait((await service.submit(FLIP, backend="well")).id)).status is JobStatus.COMPLETED
        assert (await service.get(waiting.id)).status is JobStatus.READY


async def test_a_batch_that_exits_is_run_again_one_by_one() -> None:
    """The bad job fails alone, whatever it raised; the log says whose it was, by job and backend."""

    async def run_batch(attempts: Sequence[Attempt]) -> list[Result | ExecutionError]:
        if "bad" in {attempt.id for attempt in attempts}:
            raise Unheard
        return [Result(qubits=1, probabilities={0: 1.0}) for _ in attempts]

    with capture_logs() as lines:
        good, bad, also = await guarded_batch(run_batch, [attempt_of(name) for name in ("good", "bad", "also")])
    told = [{name: value for name, value in line.items() if name not in {"exc_info", "log_level"}} for line in lines]
    assert told == [
        {"event": "adapter raised", "backend": "lab", "jobs": 3},
        {"event": "adapter raised", "backend": "lab", "job": "bad"},
    ]
    assert isinstance(good, Result)
    assert isinstance(bad, ExecutionError)
    assert isinstance(also, Result)


async def test_a_batch_with_too_few_answers_is_named_in_the_log() -> None:
    """Its jobs are run again alone, so nothing else would tell of it."""

    async def short(attempts: Sequence[Attempt]) -> list[Result | ExecutionError]:
        return [Result(qubits=1, probabilities={0: 1.0}) for _ in attempts[:2]]

    with capture_logs() as logs:
        outcomes = await guarded_batch(short, [attempt_of(name) for name in "abc"])
    assert all(isinstance(outcome, Result) for outcome in outcomes)
    [line] = [line for line in logs if line["event"] == "adapter answers too few or too many"]
    assert (line["backend"], line["answers"], line["jobs"]) == ("lab", 2, 3)

"""The work of ``submitted``."""

from collections.abc import Iterator, Sequence
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from orchestrator.backends.abc import Attempt, Prepared
from orchestrator.circuits import ir
from orchestrator.errors import BackendFault, CanceledByBackend, ExecutionError, InfrastructureFault, UserFault
from orchestrator.events import EventKind
from orchestrator.lifecycle import JobStatus
from orchestrator.model import Failure, Job
from orchestrator.testing.adapters import FLIP, ScriptedAdapter, serving
from orchestrator.testing.clock import ManualClock
from orchestrator.testing.uncertain import turns


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Tracebacks in colour take longer than all the rest."""
    with capture_logs():
        yield


COMPILED = ir.dumps(ir.Circuit(qubits=1, gates=(ir.Gate("gpi", (0,), params=(0.0,)),), gateset="native"))


class Compiling(ScriptedAdapter):
    """Compiles when the test lets it; jobs named ``bad`` go wrong as `bad` says."""

    def __init__(self, bad: Any = None, **options: Any) -> None:
        super().__init__(instant_prepare=False, **options)
        self.bad = bad
        self.asked: list[list[str]] = []
        self.may_compile = anyio.Event()
        self.may_compile.set()

    async def prepare(self, attempts: Sequence[Attempt]) -> list[Prepared | Failure]:
        if "hang" in map(_name, attempts):
            await anyio.sleep_forever()
        self.asked.append([attempt.id for attempt in attempts])
        await self.may_compile.wait()
        good = Prepared(compiled=COMPILED, predicted_execution_ms=7, native_gates_1q=1, warnings=("slow",))
        answers: list[Any] = [self.bad if attempt.job.spec.name == "bad" else good for attempt in attempts]
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return answers if self.bad != "short" or "bad" not in map(_name, attempts) else answers[1:]


def _name(attempt: Attempt) -> str | None:
    return attempt.job.spec.name


async def test_a_job_is_compiled_before_it_is_ready() -> None:
    """The compiled circuit, its sizes and warnings are kept, and handed to the run."""
    adapter = Compiling()
    async with serving(adapter) as service:
        job = await service.submit(FLIP, backend="scripted")
        assert job.status is JobStatus.SUBMITTED
        job = await service.wait(job.id)
        assert job.status is JobStatus.COMPLETED
        assert (job.outcome.predicted_execution_ms, job.outcome.native_gates_1q) == (7, 1)
        assert job.outcome.warnings == ("slow",)
        assert adapter.seen[0].compiled == COMPILED
        assert await service.compiled(job.id) == ir.loads(COMPILED)
        assert (await service.verify()).problems == ()


async def test_a_failure_of_compilation_is_the_jobs() -> None:
    """What `prepare` answers as a failure is why the job failed."""
    async with serving(Compiling(Failure(code="CompilationError", message="no such gate"))) as service:
        job = await service.wait((await service.submit(FLIP, backend="scripted", name="bad")).id)
        assert job.status is JobStatus.FAILED
        assert job.outcome.failure == Failure(code="CompilationError", message="no such gate")


@pytest.mark.parametrize(
    "bad",
    [
        RuntimeError("broken"),
        SystemExit(1),
        None,
        "short",
        Prepared(compiled=b"\xff"),
        Prepared(predicted_execution_ms="7"),  # type: ignore[arg-type]
        Prepared(warnings=("\ud800",)),
    ],
    ids=str,
)
async def test_a_bad_job_is_tried_again_and_fails_alone(bad: object) -> None:
    """Raising, or answering nonsense, is tried three times; its neighbours are ready at once."""
    clock, adapter = ManualClock(), Compiling(bad)
    adapter.may_compile = anyio.Event()
    async with serving(adapter, clock=clock) as service:
        jobs = [await service.submit(FLIP, backend="scripted", name=name) for name in ("first", "a", "bad", "b")]
        adapter.may_compile.set()
        good = [await service.wait(jobs[index].id) for index in (0, 1, 3)]
        assert {job.status for job in good} == {JobStatus.COMPLETED}
        assert not (await service.get(jobs[2].id)).terminal
        await clock.advanced(10.0)
        job = await service.wait(jobs[2].id)
        assert job.outcome.failure is not None
        assert job.outcome.failure.code == "CompilationError"
        assert adapter.asked.count([job.id]) >= 3
        assert job.attempt == 0
        assert (await service.verify()).problems == ()


async def test_a_dry_run_is_checked_and_compiled_and_never_run() -> None:
    """A dry run goes through all states without an attempt, and has no result; a canceled neighbour harms nobody."""
    adapter = Compiling()
    adapter.may_compile = anyio.Event()
    async with serving(adapter) as service:
        dry = await service.submit(FLIP, backend="scripted", dry_run=True)
        await turns(20)  # it is being prepared; the next three will be prepared together
        gone, also, real = [
            await service.submit(FLIP, backend="scripted", dry_run=dry_run) for dry_run in (True, True, False)
        ]
        await service.cancel([gone.id])
        adapter.may_compile.set()
        assert (await service.wait(dry.id)).status is JobStatus.COMPLETED
        assert (await service.wait(also.id)).status is JobStatus.COMPLETED
        assert (await service.wait(real.id)).status is JobStatus.COMPLETED
        assert [attempt.id for attempt in adapter.seen] == [real.id]
        kinds = [event.kind for event in await service.store.events(0, limit=100, jobs=[dry.id])]
        expected = ["job.submitted", "job.ready", "job.started", "job.completed"]
        assert kinds == [EventKind(kind) for kind in expected]
        assert (await service.get(gone.id)).status is JobStatus.CANCELED
        assert (await service.verify()).problems == ()


async def test_a_cancel_wins_over_a_compilation_under_way() -> None:
    """A job canceled while it is prepared stays canceled."""
    adapter = Compiling()
    adapter.may_compile = anyio.Event()
    async with serving(adapter) as service:
        job = await service.submit(FLIP, backend="scripted")
        await turns(20)
        assert adapter.asked == [[job.id]]
        await service.cancel([job.id])
        adapter.may_compile.set()
        await turns(20)
        assert (await service.get(job.id)).status is JobStatus.CANCELED
        assert adapter.seen == []
        assert (await service.verify()).problems == ()


async def test_too_wide_a_circuit_is_accepted_and_failed() -> None:
    """Wider than the backend: failed as NotEnoughQubits, the check being instant or not, the adapter not asked."""
    wide = ir.Circuit(qubits=9, gates=tuple(ir.Gate("h", (wire,)) for wire in range(9)))
    slow, instant = Compiling(backend="slow"), ScriptedAdapter("instant")
    async with serving(slow, instant) as service:
        for backend in ("slow", "instant"):
            job: Job = await service.wait((await service.submit(wide, backend=backend)).id)
            assert job.outcome.failure is not None
            assert job.outcome.failure.code == "NotEnoughQubits"
        family = await service.wait((await service.submit([wide, FLIP], backend="instant")).id)
        assert family.status is JobStatus.FAILED
        statuses = [child.status for child in await service.children(family.id)]
        assert statuses == [JobStatus.FAILED, JobStatus.CANCELED]
        assert slow.asked == []
        assert instant.seen == []
        assert (await service.verify()).problems == ()


@pytest.mark.parametrize(
    ("fault", "status", "code", "tries"),
    [
        (UserFault("no such gate", "UnsupportedGate"), JobStatus.FAILED, "UnsupportedGate", 1),
        (BackendFault("the compiler is confused"), JobStatus.FAILED, "CompilationError", 1),
        (InfrastructureFault("no licence server"), JobStatus.FAILED, "InternalError", 3),
        (ExecutionError("", "unsaid"), JobStatus.FAILED, "CompilationError", 1),
        (CanceledByBackend("closed for today"), JobStatus.CANCELED, None, 1),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_fault_of_preparing_decides_what_becomes_of_the_job(
    fault: ExecutionError, status: JobStatus, code: str | None, tries: int
) -> None:
    """The job's own fault ends it at once, the infrastructure's after some tries; the operator's cancels it."""
    clock, adapter = ManualClock(), Compiling(fault)
    async with serving(adapter, clock=clock) as service:
        job = await service.submit(FLIP, backend="scripted", name="bad")
        await clock.advanced(10.0)
        job = await service.wait(job.id)
        assert job.status is status
        assert (job.outcome.failure and job.outcome.failure.code) == code
        assert len(adapter.asked) == tries
        assert (await service.verify()).problems == ()


async def test_a_prepare_that_hangs_fails_its_own_jobs_and_preparing_goes_on() -> None:
    """A batch beyond the limit is tried one by one; who hangs alone fails after its tries, the others are ready."""
    clock, adapter = ManualClock(), Compiling()
    async with serving(adapter, clock=clock, prepare_limit_s=20.0) as service:
        jobs = [await service.submit(FLIP, backend="scripted", name=name) for name in ("first", "a", "hang", "b")]
        await clock.advanced(45.0)  # the batch, then the one alone
        for index in (0, 1, 3):
            assert (await service.wait(jobs[index].id)).status is JobStatus.COMPLETED
        await clock.advanced(60.0)
        job = await service.wait(jobs[2].id)
        message = "preparing took longer than 20 s"
        assert job.outcome.failure == Failure(code="CompilationError", message=message)
        late = await service.submit(FLIP, backend="scripted")
        assert (await service.wait(late.id)).status is JobStatus.COMPLETED
        assert (await service.verify()).problems == ()

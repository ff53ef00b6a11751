"""Whatever an adapter does, its job fails with the right code; the service and the other backends go on."""

import importlib
import inspect
import linecache
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import anyio
import anyio.to_thread
import pytest
from structlog.testing import capture_logs

from orchestrator.backends.abc import Adapter
from orchestrator.backends.running import HANG_S
from orchestrator.clock import Clock
from orchestrator.lifecycle import JobStatus
from orchestrator.model import Failure, Job
from orchestrator.service import Orchestrator
from orchestrator.settings import DispatchSettings, Settings
from orchestrator.testing.adapters import FLIP
from orchestrator.testing.clock import ManualClock

SOURCE = Path(__file__).with_name("faulty_lab.py")
LIMIT_S = 60


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The distribution ``faulty-lab``, installed; its adapters are named by their entry points."""
    (tmp_path / "faulty_lab.py").write_text(SOURCE.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "faulty_import.py").write_text("raise RuntimeError('no driver')\n", encoding="utf-8")
    (tmp_path / "faulty_exit.py").write_text("import sys\nsys.exit('no driver')\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("faulty_lab")
    points = {kind.name: f"faulty_lab:{kind.__name__}" for kind in adapters(module)}
    points |= {"fails_at_import": "faulty_import:Adapter", "exits_at_import": "faulty_exit:Adapter"}
    points |= {"no_adapter": "faulty_lab:Unheard"}
    information = tmp_path / "faulty_lab-0.1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty-lab\nVersion: 0.1\n", encoding="utf-8")
    lines = ["[orchestrator.backends]", *(f"{name} = {value}" for name, value in points.items())]
    (information / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    module.__dict__["names"] = tuple(name for name in points if not name.endswith(("_for_good", "blocks_at_open")))
    yield module
    module.released.set()
    del sys.modules["faulty_lab"]


def adapters(module: ModuleType) -> list[type[Adapter]]:
    found = [kind for _, kind in inspect.getmembers(module, inspect.isclass) if issubclass(kind, Adapter)]
    return [kind for kind in found if hasattr(kind, "name")]


def opened(lab: ModuleType, clock: Clock | None = None) -> Orchestrator:
    dispatch = DispatchSettings(lease_s=0.3, retry_base_s=0.0, drain_s=0.0, blocked_ms=20)
    settings = Settings(dispatch=dispatch, backends=lab.names, plugins={"isolated": {"answer": 3}})
    return Orchestrator.open(settings=settings, clock=clock)


async def run(service: Orchestrator, backend: str, name: str | None = None) -> Job:
    job = await service.submit(FLIP, backend=backend, name=name)
    return await service.wait(job.id, timeout_s=LIMIT_S)


async def process_of(service: Orchestrator, job: Job) -> int:
    (warning,) = (await service.result(job.id)).warnings
    return int(warning.removeprefix("process "))


Ends = dict[tuple[str, str | None], tuple[JobStatus, str | None, int]]

#: Backend and name of a job, then how it ends: status, failure code, attempts.
FAILED, CANCELED = JobStatus.FAILED, JobStatus.CANCELED
INTERNAL = (FAILED, "InternalError", 1)
ENDS: Ends = {
    ("hangs", None): (FAILED, "SimulationTimeout", 1),
    ("hangs_in_thread", None): (FAILED, "SimulationTimeout", 1),
    ("swallows", None): (FAILED, "SimulationTimeout", 1),
    ("hangs_isolated", None): (FAILED, "SimulationTimeout", 1),
    **{
        (backend, name): INTERNAL
        for backend in ("answers", "answers_isolated")
        for name in ("counts", "nan", "inf", "negative", "wide", "text", "nothing", "member", "object")
    },
    **{
        (backend, name): end
        for backend in ("raises", "raises_plain", "raises_isolated")
        for name, end in {
            "exit": INTERNAL,
            "unheard": INTERNAL,
            "value": INTERNAL,
            "user": (FAILED, "InvalidInput", 1),
            "canceled": (CANCELED, None, 1),
            "memory": (FAILED, "SimulationError", 1),
        }.items()
    },
    ("kills", None): (FAILED, "InternalError", 3),
    ("floods", None): (FAILED, "SimulationError", 1),
}


async def test_every_fault_is_its_jobs_alone(lab: ModuleType) -> None:
    """All of them at once, and again: a neighbour completes jobs all the while, the log equals the tables."""
    async with opened(lab) as service:
        ends: Ends = {}
        completed = 0

        async def fail(backend: str, name: str | None) -> None:
            for _ in range(1 if backend == "kills" else 2):
                job = await run(service, backend, name)
                failure = job.outcome.failure or Failure(code="", message="")
                assert backend not in {"answers", "answers_isolated"} or failure.message.startswith("invalid result: ")
                ends[backend, name] = (job.status, failure.code or None, job.attempt)

        async def go_on() -> None:
            nonlocal completed
            while True:
                job = await run(service, "neighbour")
                assert job.status is JobStatus.COMPLETED, job.outcome.failure
                completed += 1

        with capture_logs():
            async with anyio.create_task_group() as neighbour:
                neighbour.start_soon(go_on)
                async with anyio.create_task_group() as faults:
                    for backend, name in ENDS:
                        if backend != "hangs_in_thread":
                            faults.start_soon(fail, backend, name)
                    faults.start_soon(hang_in_threads, service, ends)
                neighbour.cancel_scope.cancel()
        assert ends == ENDS
        assert completed > 10
        well = await run(service, "kills", "well")
        assert well.status is JobStatus.COMPLETED, well.outcome.failure
        assert (await service.verify()).problems == ()


async def hang_in_threads(service: Orchestrator, ends: Ends) -> None:
    """Both lanes at once: a third job would wait for a thread that does not return."""
    jobs = [await service.submit(FLIP, backend="hangs_in_thread") for _ in range(2)]
    for job in jobs:
        failed = await service.wait(job.id, timeout_s=LIMIT_S)
        assert failed.outcome.failure is not None
        ends["hangs_in_thread", None] = (failed.status, failed.outcome.failure.code, failed.attempt)


async def test_plugins_that_cannot_be_loaded_or_opened_are_named_and_the_others_serve(lab: ModuleType) -> None:
    """Each with its reason, `sys.exit` at import too."""
    with capture_logs():
        async with opened(lab) as service:
            problems = {problem.name: problem.reason for problem in service.backends.problems}
            assert problems == {
                "fails_at_import": "RuntimeError: no driver",
                "exits_at_import": "SystemExit: no driver",
                "no_adapter": "its entry point does not make an Adapter",
                "fails_to_open": "RuntimeError: no such device",
                "exits_at_open": "SystemExit: no such device",
                "cannot_be_isolated": "no run in a worker process: it has a cancel of its own",
            }
            assert (await run(service, "neighbour")).status is JobStatus.COMPLETED


async def test_isolated_runs_are_executed_in_processes_with_the_adapters_settings(lab: ModuleType) -> None:
    """Coroutine or plain; opened once per process, with the table of the configuration; none is left."""
    async with opened(lab) as service:
        pids = set()
        for backend, answer in (("isolated", 3), ("isolated_plain", 0)):
            for _ in range(3):
                job = await run(service, backend)
                assert (await service.result(job.id)).counts == {answer: 100}
                pids.add(await process_of(service, job))
        assert os.getpid() not in pids
        assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_an_adapter_that_blocks_the_loop_is_named_and_moved(lab: ModuleType) -> None:
    """Its line stands in the log; what blocked ends as it ends; further runs are executed in worker processes."""
    with capture_logs() as logs:
        async with opened(lab) as service:
            assert await process_of(service, await run(service, "blocks")) == os.getpid()
            with anyio.fail_after(LIMIT_S):
                while await process_of(service, await run(service, "blocks")) == os.getpid():
                    pass  # a machine under load may hide a block from the watch
            assert (await run(service, "neighbour")).status is JobStatus.COMPLETED
    named = [entry for entry in logs if entry["event"] == "adapter blocks the event loop"]
    assert [(entry["adapter"], entry["function"]) for entry in named] == [("blocks", "Blocks.run")]
    assert Path(named[0]["file"]).name == "faulty_lab.py"
    assert "time.sleep" in linecache.getline(named[0]["file"], named[0]["line"])
    moved = [entry for entry in logs if entry["event"] == "adapter moved to worker processes"]
    assert [entry["adapter"] for entry in moved] == ["blocks"]


async def test_an_adapter_whose_thread_hangs_is_moved_and_its_backend_goes_on(lab: ModuleType) -> None:
    """The attempt fails at the run limit; when its thread is still there much later, jobs run in processes."""
    clock = ManualClock()
    with capture_logs() as logs:
        async with opened(lab, clock) as service:
            hanging = await service.submit(FLIP, backend="hangs_in_thread")
            assert await anyio.to_thread.run_sync(lab.entered.wait, LIMIT_S)
            await clock.advanced(1.0)
            assert (await service.wait(hanging.id, timeout_s=LIMIT_S)).status is JobStatus.FAILED
            await clock.advanced(HANG_S + 1.0)
            jobs = [await run(service, "hangs_in_thread") for _ in range(3)]
            assert os.getpid() not in {await process_of(service, job) for job in jobs}
    names = [entry["event"] for entry in logs]
    assert [names.count(f"adapter {what}") for what in ("hangs in a thread", "moved to worker processes")] == [1, 1]

"""An orchestrator over a watched adapter, and short ways to use it."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio

from orchestrator.backends.abc import Adapter, Capabilities
from orchestrator.circuits.ir import Circuit
from orchestrator.datafolder import DATABASE
from orchestrator.events import Event
from orchestrator.lifecycle import TERMINAL, JobStatus
from orchestrator.model import Failure, Job, JobRequest, Result
from orchestrator.service import Orchestrator
from orchestrator.settings import DispatchSettings, Settings, StorageSettings, WorkerSettings
from orchestrator.testing.adapter_kit.bench import Bench
from orchestrator.testing.adapter_kit.freezing import Freezer
from orchestrator.testing.adapter_kit.watch import Watch

T = TypeVar("T")

#: Turns of the event loop in which what was set in motion gets going.
_TURNS: Final = 10
#: How long a frozen adapter is kept so when its orchestrator is left: it is stopped with its work in hand.
_FROST_S: Final = 0.1
#: Failed attempts of a job: a check that takes some of them away shall not use them up.
_TRIES: Final = 10
#: Events of one job are not more.
_ALL: Final = 10_000


@dataclass(frozen=True)
class Host:
    """See the module; made by `hosted`.

    Attributes:
        backends: What the checks look at.
    """

    bench: Bench
    orchestrator: Orchestrator
    adapter: Adapter
    watch: Watch
    freezer: Freezer
    backends: tuple[Capabilities, ...]

    # -- submitting -----------------------------------------------------------------------

    def request(self, backend: Capabilities, circuit: Circuit | None = None, **options: Any) -> JobRequest:
        """A job of one circuit, by default the plain one."""
        circuits = (circuit or self.bench.circuit(backend, 1),)
        return JobRequest(backend=backend.backend, circuits=circuits, **{**self.bench.options, **options})

    async def submit(self, backend: Capabilities, circuit: Circuit | None = None, **options: Any) -> Job:
        """Submit a job, see `request`."""
        return await self.orchestrator.submit(self.request(backend, circuit, **options))

    async def submit_all(self, backend: Capabilities, circuits: Sequence[Circuit], **options: Any) -> list[Job]:
        """Submit jobs in one commit, so that they wait together."""
        return await self.orchestrator.submit_many([self.request(backend, each, **options) for each in circuits])

    # -- waiting --------------------------------------------------------------------------

    async def within(self, work: Awaitable[T], what: str) -> T:
        """Wait for something, at most the bench's limit."""
        try:
            with anyio.fail_after(self.bench.limit_s):
                return await work
        except TimeoutError:
            raise AssertionError(f"{what} within {self.bench.limit_s:g} s") from None

    async def ended(self, job: Job, what: str = "a job") -> Job:
        """The job once it has ended; its events are then a path with one end."""
        try:
            job = await self.orchestrator.wait(job.id, timeout_s=self.bench.limit_s)
        except TimeoutError:
            raise AssertionError(await self._stuck(job, what)) from None
        await self.path(job)
        return job

    async def _stuck(self, job: Job, what: str) -> str:
        now = await self.orchestrator.get(job.id)
        text = f"{what} did not end within {self.bench.limit_s:g} s: it is {now.status}"
        attempt = next((each for each in self.watch.held if each.id == job.id), None)
        if attempt is None:
            waiting = now.status is JobStatus.READY
            return f"{text}, and the adapter takes no more jobs" if waiting else text
        with anyio.move_on_after(1.0):
            if attempt in await self.adapter.heartbeat([attempt]):
                text += "; the adapter has it, and vouches for it"
        return text

    async def completed(self, job: Job, what: str = "a job") -> Result:
        """The result of a job, which has to complete."""
        job = await self.ended(job, what)
        failure = job.outcome.failure
        assert failure is None, f"{what} failed: {failure.code}: {self._words(job, failure)}"
        assert job.status is JobStatus.COMPLETED, f"{what} ended {job.status}"
        result = await self.orchestrator.fetch_result(job.id)
        wires = job.spec.stats.declared
        assert result.qubits == wires, (
            f"{what} of {wires} declared qubits got a result of {result.qubits}: bit k of an outcome is qubit k of "
            f"the circuit, idle ones included"
        )
        return result

    def _words(self, job: Job, failure: Failure) -> str:
        """What a failure says; of an exception in the adapter's code, with its words and its line."""
        raised = self.watch.raised.get(job.id)
        ours, name, after = failure.message.partition("the backend raised ")
        if raised is None or not name:
            return failure.message
        return f"{ours}{name}{raised}" + ("".join(after.partition(" ")[1:]))

    async def run(
        self, backend: Capabilities, circuit: Circuit | None = None, *, what: str = "", **options: Any
    ) -> Result:
        """Submit a job and get its result."""
        what = what or f"a job on {backend.backend}"
        return await self.completed(await self.submit(backend, circuit, **options), what)

    async def usable(self, backend: Capabilities, after: str) -> None:
        """The backend still runs as many jobs at a time as it declares."""
        number = min(backend.concurrency, 8)
        circuits = [self.bench.circuit(backend, 1)] * number
        for job in await self.submit_all(backend, circuits):
            await self.completed(job, f"a job after {after}")

    async def turns(self) -> None:
        """Let the event loop turn a few times."""
        for _ in range(_TURNS):
            await asyncio.sleep(0)

    async def freezing(self, at: int = 1, *, handed: bool = False) -> asyncio.Event:
        """As `Freezer.arm`, once what the adapter did before has come to rest."""
        await self.turns()
        return self.freezer.arm(at, handed=handed)

    async def frozen(self, event: asyncio.Event, *jobs: Job) -> bool:
        """Wait for the frost that `Freezer.arm` announced; false if all the jobs ended before it came."""
        frost = asyncio.ensure_future(event.wait())
        ends = asyncio.ensure_future(self._all_ended(jobs))
        try:
            await asyncio.wait({frost, ends}, return_when=asyncio.FIRST_COMPLETED)
            return event.is_set()
        finally:
            frost.cancel()
            ends.cancel()
            await asyncio.gather(frost, ends, return_exceptions=True)

    async def _all_ended(self, jobs: Sequence[Job]) -> None:
        with anyio.move_on_after(self.bench.limit_s):
            for job in jobs:
                await self.orchestrator.wait(job.id)

    # -- looking --------------------------------------------------------------------------

    async def events(self, job: Job) -> list[Event]:
        """What the log holds about a job."""
        return await self.orchestrator.store.events(0, limit=_ALL, jobs=[job.id])

    async def path(self, job: Job) -> None:
        """The events of an ended job lead from its submit to its end, which is one."""
        events = await self.events(job)
        kinds = " ".join(event.kind.removeprefix("job.") for event in events)
        assert kinds.startswith("submitted"), f"its events do not begin with the submit: {kinds}"
        assert all(one.after is two.before for one, two in pairwise(events)), f"no path: {kinds}"
        ends = [event for event in events if event.after in TERMINAL and event.before is not event.after]
        assert ends == events[-1:], f"not one end, and that last: {kinds}"

    def snapshot(self, folder: Path) -> None:
        """What a crash at this moment would leave of the data folder, in another folder."""
        data = self.orchestrator.data
        assert data is not None
        folder.mkdir(parents=True)
        with closing(sqlite3.connect(data / DATABASE)) as source, closing(sqlite3.connect(folder / DATABASE)) as target:
            source.backup(target)
        if (plugins := data / "plugins").exists():
            for file in sorted(plugins.rglob("*")):
                copy = folder / file.relative_to(data)
                if file.is_file():
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    copy.write_bytes(file.read_bytes())


@asynccontextmanager
async def hosted(
    bench: Bench, *, data: Path | None = None, seed: int | None = None, lease_s: float = 30.0
) -> AsyncIterator[Host]:
    """An orchestrator over a new adapter of the bench, none of whose methods has crashed in the end.

    Args:
        data: Folder of a SQLite store; without it everything is kept in memory.
        seed: Of seeds, ids and delays; None for others every time.
    """
    adapter = bench.make()
    assert isinstance(adapter, Adapter), f"Bench.make made a {type(adapter).__name__}, not an Adapter"
    freezer = Freezer()
    watch = Watch(adapter, freezer)
    settings = Settings(
        dispatch=DispatchSettings(
            drain_s=0.0,
            lease_s=lease_s,
            retry_base_s=0.0,
            max_failed_attempts=_TRIES,
            blocked_ms=0,  # what blocks is looked for by a check, and not moved out of its sight
        ),
        storage=StorageSettings(synchronous="NORMAL"),  # no power is cut here
        workers=WorkerSettings(count=bench.workers),
        plugins={adapter.name: dict(bench.settings)},
    )
    rng = None if seed is None else random.Random(seed)
    async with Orchestrator.open(data, settings=settings, adapters=[adapter], rng=rng) as orchestrator:
        assert not orchestrator.backends.problems, f"it did not open: {orchestrator.backends.problems[0].reason}"
        told = tuple(each for _, each in orchestrator.backends.served())
        try:
            yield Host(bench, orchestrator, adapter, watch, freezer, bench.chosen(told))
        finally:
            asyncio.get_running_loop().call_later(_FROST_S, freezer.thaw)  # what is shielded would wait for ever
    freezer.thaw()
    assert not watch.crashes, watch.crashes[0]

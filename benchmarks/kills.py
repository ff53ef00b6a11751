"""Kill a server at random moments under load: what it acknowledged is there, and ends, exactly once.

The server is ``orchestrator serve`` in a process of its own, with the synchronous mode of its defaults. Submitters
go on through all its lives; a job counts from the moment its 201 has been read.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import aiohttp

from benchmarks.report import Report
from orchestrator.clock import SystemClock
from orchestrator.datafolder import DATABASE
from orchestrator.events import CAUSE_OF
from orchestrator.lifecycle import TERMINAL
from orchestrator.storage.abc import JobFilter
from orchestrator.storage.sqlite.store import SqliteStore

KEY: Final = "rehearsal-key-0123456789"
HEADERS: Final = {"Authorization": f"apiKey {KEY}"}
#: Pause of a submitter between two jobs, seconds: what is acknowledged has to fit the time after the last start.
PAUSE_S: Final = 0.05
#: Time between two kills, seconds.
LEAST_S, MOST_S = 0.2, 1.2
#: Share of the kills whose time begins with the first answer; for the others with the start, which is hit too.
ANSWERING: Final = 0.5
#: After its last start the server has so long to end all jobs, seconds.
LIMIT_S: Final = 20.0
GATES: Final = [{"gate": "h", "target": 0}, {"gate": "cnot", "control": 0, "target": 1}]


def _body(number: int, rng: random.Random) -> dict[str, Any]:
    """A job: mostly Bell pairs on the simulator, some compiled for a QPU, some of several circuits."""
    name = f"job {number}"
    backend = "qpu.aria-1" if rng.random() < 0.1 else "simulator"
    circuit = {"qubits": 2, "gateset": "qis", "circuit": GATES}
    if rng.random() < 0.1:
        job = {"type": "ionq.multi-circuit.v1", "input": {"qubits": 2, "gateset": "qis", "circuits": [circuit] * 3}}
    else:
        job = {"type": "ionq.circuit.v1", "input": circuit}
    return {**job, "name": name, "backend": backend, "shots": 100, "metadata": {"number": str(number)}}


class Lives:
    """A server, one process after the other on one port.

    Args:
        folder: Where its data and its log are.
        options: Further options of ``serve``.
        environment: Further variables.
    """

    def __init__(self, folder: Path, *options: str, environment: Mapping[str, str] = MappingProxyType({})) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.folder = folder
        self.options = options
        self.environment = environment
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        environment = {
            **os.environ,
            "ORCHESTRATOR_BOOTSTRAP_KEY": KEY,
            "ORCHESTRATOR_PLUGINS__TRAPPED_ION__TIME_SCALE": "0",
            **self.environment,
        }
        with (self.folder / "server.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "orchestrator.cli", "serve", "--port", str(self.port)),
                *("--data", str(self.folder / "data"), "--log-level", "ERROR", *self.options),
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=log,
            )

    async def answering(self, session: aiohttp.ClientSession) -> None:
        """Wait until it answers, or has ended."""
        while self.process is not None and self.process.returncode is None:
            with suppress(aiohttp.ClientError, TimeoutError, OSError):
                async with session.get(f"{self.url}/healthz") as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(0.02)

    async def end(self, how: signal.Signals) -> int:
        if self.process is None:
            return 0
        with suppress(ProcessLookupError):
            self.process.send_signal(how)
        return await self.process.wait()


class Load:
    """Submitters, and what was acknowledged to them.

    Args:
        make: From a number and the random numbers to the body of a job.
    """

    def __init__(
        self, url: str, rng: random.Random, make: Callable[[int, random.Random], dict[str, Any]] = _body
    ) -> None:
        self.url = url
        self.rng = rng
        self.make = make
        self.acknowledged: dict[str, dict[str, Any]] = {}
        self.refused: Counter[int] = Counter()
        self._number = 0

    async def submit(self, session: aiohttp.ClientSession) -> None:
        """Submit for ever; a connection that breaks leaves the outcome unknown and is no acknowledgement."""
        while True:
            self._number += 1
            body = self.make(self._number, self.rng)
            with suppress(aiohttp.ClientError, TimeoutError, OSError):
                async with session.post(f"{self.url}/v0.4/jobs", json=body, headers=HEADERS) as response:
                    answer = await response.json()
                    if response.status == 201:
                        self.acknowledged[answer["id"]] = body
                    else:
                        self.refused[response.status] += 1
            await asyncio.sleep(PAUSE_S)

    async def left(self, session: aiohttp.ClientSession, ids: set[str]) -> set[str]:
        """Those of the jobs that have not ended, or could not be asked about."""
        left = set(ids)
        for job_id in sorted(ids):
            try:
                async with session.get(f"{self.url}/v0.4/jobs/{job_id}", headers=HEADERS) as response:
                    answer = await response.json()
            except (aiohttp.ClientError, TimeoutError, OSError):
                break
            if answer.get("status") not in {"submitted", "ready", "started"}:
                left.discard(job_id)
        return left


async def rehearse(folder: Path, kills: int, submitters: int, seed: int) -> Report:
    """Kill so many times, start once more, wait, stop, and look at what is left in the folder."""
    rng, report = random.Random(seed), Report()
    lives = Lives(folder)
    load = Load(lives.url, rng)
    answering = 0
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5.0)) as session:
        tasks = [asyncio.create_task(load.submit(session)) for _ in range(submitters)]
        try:
            for number in range(1, kills + 1):
                before = len(load.acknowledged)
                await lives.start()
                if rng.random() < ANSWERING:
                    await lives.answering(session)
                await asyncio.sleep(rng.uniform(LEAST_S, MOST_S))
                code = await lives.end(signal.SIGKILL)
                report.expect(code == -signal.SIGKILL, f"the server ended by itself with {code}")
                answering += len(load.acknowledged) > before
                if number % max(1, kills // 10) == 0:
                    print(f"{number} kills, {len(load.acknowledged)} acknowledged", flush=True)
            await lives.start()
            begun = time.monotonic()
            await lives.answering(session)
            await asyncio.sleep(1.0)  # it also takes new jobs after the last start
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        try:
            left = set(load.acknowledged)
            while left and time.monotonic() - begun < LIMIT_S:
                left = await load.left(session, left)
                await asyncio.sleep(0.05)
            report.figures.append(f"all ended {time.monotonic() - begun:.1f} s after the last start")
            report.expect(not left, f"{len(left)} jobs had not ended {LIMIT_S} s after the last start")
        finally:
            code = await lives.end(signal.SIGTERM)
    report.expect(code == 0, f"the server stopped with {code}")
    report.expect(not load.refused, f"submits were refused: {dict(load.refused)}")
    report.figures.append(f"{kills} kills, {answering} of them while it answered")
    report.figures.append(f"{len(load.acknowledged)} acknowledged")
    report.expect(answering > 0, "it was never killed while it answered")
    if answering:
        await _inspect(folder / "data" / DATABASE, load.acknowledged, report)
    if report.problems:
        report.figures += (folder / "server.log").read_text(errors="replace").splitlines()[-20:]
    return report


async def _inspect(path: Path, acknowledged: dict[str, dict[str, Any]], report: Report) -> None:
    """What the database says."""
    store = SqliteStore(path, SystemClock())
    await store.open(_ignore)
    try:
        verified = await store.verify()
        report.problems += verified.problems
        ends: Counter[str] = Counter()
        requeued = after = 0
        while page := await store.events(after, limit=5_000):
            after = page[-1].sequence
            ends.update(e.job_id for e in page if e.job_id and e.kind in CAUSE_OF and e.after in TERMINAL)
            requeued += sum(event.kind == "job.requeued" for event in page)
        report.expect(set(ends.values()) <= {1}, "a job ended more than once")
        project = (await store.projects())[0].id
        ids = sorted(acknowledged)
        for begin in range(0, len(ids), 500):
            part = ids[begin : begin + 500]
            found = {job.id: job for job in await store.jobs(project, JobFilter(ids=part), limit=len(part))}
            for job_id in part:
                job = found.get(job_id)
                if job is None:
                    report.problems.append(f"{job_id} was acknowledged and is lost")
                    continue
                asked = acknowledged[job_id]
                same = (job.spec.name, job.spec.metadata) == (asked["name"], asked["metadata"])
                report.expect(same, f"{job_id} is not what was submitted")
                report.expect(job.status == "completed" and ends[job_id] == 1, f"{job_id} is {job.status}")
                leaves = await store.children(project, job_id) if job.children else [job]
                report.expect(not any(leaf.failed_attempts for leaf in leaves), f"{job_id} has failed attempts")
        report.figures.append(f"{verified.jobs} jobs, {verified.events} events, {requeued} attempts put back")
    finally:
        await store.aclose()


def _ignore(_entries: object) -> None:
    """Nothing is written any more."""

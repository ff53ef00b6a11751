"""Kill an orchestrator that buys from another, at random moments in the middle of submissions, over a bad link.

*Near* serves the backends of *far*; both are ``orchestrator serve`` in processes of their own. Between them a proxy of
the rehearsal's delays, cuts before and after, and answers 429 and 503 by itself. Near is killed again and again while
jobs are submitted to it. In the end far must have been given each of them exactly once, and all must have ended.

Far is spoken to as an orchestrator, or as any cloud: then the proxy hides the routes that are ours and spoils the
idempotency keys, so that the client token alone finds a lost job again.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import aiohttp

from benchmarks.kills import GATES, KEY, Lives, Load
from benchmarks.report import Report
from orchestrator.clock import SystemClock
from orchestrator.datafolder import DATABASE
from orchestrator.model import Job
from orchestrator.storage.abc import JobFilter
from orchestrator.storage.sqlite.store import SqliteStore

#: Time between two kills, seconds.
LEAST_S, MOST_S = 0.2, 1.5
#: After near's last start the jobs have so long to end, seconds.
LIMIT_S: Final = 90.0
#: Share of the requests that something happens to.
TROUBLE: Final = 0.15
_DELAY_S: Final = 0.1
#: Longer than any request is delayed.
_GRACE_S: Final = 2.0
_METHODS: Final = (b"GET ", b"POST ", b"PUT ")


def _body(number: int, rng: random.Random) -> dict[str, Any]:
    """A Bell pair on far's simulator, or several as one job."""
    circuit = {"qubits": 2, "gateset": "qis", "circuit": GATES}
    if rng.random() < 0.2:
        job = {"type": "ionq.multi-circuit.v1", "input": {"qubits": 2, "gateset": "qis", "circuits": [circuit] * 3}}
    else:
        job = {"type": "ionq.circuit.v1", "input": circuit}
    return {
        **job,
        "name": f"job {number}",
        "backend": "far.simulator",
        "shots": 10,
        "metadata": {"number": str(number)},
    }


class Proxy:
    """The link between the two, which misbehaves until `calm`."""

    def __init__(self, port: int, rng: random.Random, *, plain: bool) -> None:
        self.port = port
        self.rng = rng
        self.plain = plain
        self.calm = False
        self.troubles: Counter[str] = Counter()
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        far: asyncio.StreamWriter | None = None
        with suppress(OSError, asyncio.CancelledError):
            back, far = await asyncio.open_connection("127.0.0.1", self.port)
            answers = asyncio.create_task(self._copy(back, writer))
            try:
                await self._requests(reader, writer, far)
            finally:
                answers.cancel()
                await asyncio.gather(answers, return_exceptions=True)
        for end in (far, writer):
            if end is not None and end.transport is not None:
                end.transport.abort()

    @staticmethod
    async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await source.read(65_536):
                target.write(chunk)
                await target.drain()
            target.close()

    async def _requests(
        self, source: asyncio.StreamReader, back: asyncio.StreamWriter, target: asyncio.StreamWriter
    ) -> None:
        """Pass requests on; where trouble comes, the connection ends."""
        while chunk := await source.read(65_536):
            request = chunk
            if self.plain and request.startswith(_METHODS):
                if b" /events/" in request[:40] or b" /results/" in request[:40]:
                    back.write(_refusal(b"404 Not Found"))
                    return
                request = request.replace(b"Idempotency-Key", b"X-Ignored-Token")
            trouble = self._trouble(request)
            if trouble:
                self.troubles[trouble] += 1
            if trouble == "delayed":
                await asyncio.sleep(self.rng.uniform(0, _DELAY_S))
            elif trouble == "cut before":
                return
            elif trouble == "429":
                back.write(_refusal(b"429 Too Many Requests", b"Retry-After: 0\r\n"))
                await back.drain()
                return
            elif trouble == "503":
                back.write(_refusal(b"503 Service Unavailable", b"Retry-After: 1\r\n"))
                await back.drain()
                return
            target.write(request)
            await target.drain()
            if trouble == "cut after":
                await asyncio.sleep(self.rng.uniform(0, 0.01))
                return

    def _trouble(self, request: bytes) -> str:
        if self.calm or not request.startswith(_METHODS) or self.rng.random() > TROUBLE:
            return ""
        return self.rng.choice(["delayed", "cut before", "cut after", "429", "503"])


def _refusal(status: bytes, headers: bytes = b"") -> bytes:
    body = b'{"code":"proxy","message":"not now"}'
    return b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (status, headers, len(body), body)


async def rehearse(folder: Path, kills: int, submitters: int, seed: int, *, plain: bool = False) -> Report:
    """Kill near so many times, start it once more, wait, stop both, and compare what they hold."""
    report = Report()
    (folder / "far").mkdir()
    (folder / "near").mkdir()
    far = Lives(folder / "far", environment={"ORCHESTRATOR_WORKERS__COUNT": "1"})
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10.0)) as session,
        Proxy(far.port, random.Random(seed + 1), plain=plain) as proxy,
    ):
        config = folder / "near.toml"
        config.write_text(_CONFIG.format(url=proxy.url, kind="cloud" if plain else "auto", grace_s=_GRACE_S))
        near = Lives(folder / "near", "--config", str(config), environment={"FAR_KEY": KEY})
        load = Load(near.url, random.Random(seed), _body)
        try:
            proxy.calm = True
            await far.start()
            await far.answering(session)
            await near.start()  # sees far's backends once
            await near.answering(session)
            await near.end(signal.SIGKILL)
            proxy.calm = False
            tasks = [asyncio.create_task(load.submit(session)) for _ in range(submitters)]
            try:
                report.problems += await _kill(near, kills, session, load)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            proxy.calm = True  # when the link is well again, all has to end
            begun, left = time.monotonic(), set(load.acknowledged)
            while left and time.monotonic() - begun < LIMIT_S:
                left = await load.left(session, left)
                await asyncio.sleep(0.2)
            report.expect(not left, f"{len(left)} jobs had not ended {LIMIT_S} s after the last start")
            report.figures.append(f"all ended {time.monotonic() - begun:.1f} s after the load")
        finally:
            codes = [await near.end(signal.SIGTERM), await far.end(signal.SIGTERM)]
        report.expect(codes == [0, 0], f"the servers stopped with {codes}")
        troubles = ", ".join(f"{number} {name}" for name, number in sorted(proxy.troubles.items()))
        report.figures += [f"{kills} kills, {len(load.acknowledged)} jobs acknowledged by near", f"link: {troubles}"]
    await _compare(folder, load.acknowledged, report)
    if report.problems:
        report.figures += (folder / "near" / "server.log").read_text(errors="replace").splitlines()[-20:]
    return report


async def _kill(near: Lives, kills: int, session: aiohttp.ClientSession, load: Load) -> list[str]:
    """Kill near at random moments, and leave it running; answers what was wrong."""
    problems = []
    for number in range(1, kills + 1):
        await near.start()
        if load.rng.random() < 0.7:
            await near.answering(session)
        await asyncio.sleep(load.rng.uniform(LEAST_S, MOST_S))
        code = await near.end(signal.SIGKILL)
        if code != -signal.SIGKILL:
            problems.append(f"near ended by itself with {code}")
        if number % max(1, kills // 10) == 0:
            print(f"{number} kills, {len(load.acknowledged)} acknowledged", flush=True)
    await near.start()
    await near.answering(session)
    await asyncio.sleep(1.0)
    return problems


async def _compare(folder: Path, acknowledged: dict[str, dict[str, Any]], report: Report) -> None:
    """What far was given, beside what near acknowledged."""
    near, far = await _jobs(folder / "near" / "data", report), await _jobs(folder / "far" / "data", report)
    given = Counter((job.spec.metadata or {}).get("number") for job in far)
    twice = {number: count for number, count in given.items() if count > 1}
    report.expect(not twice, f"far was given jobs more than once: {twice}")
    asked = {(job.spec.metadata or {}).get("number") for job in near}
    report.expect(set(given) <= asked, "far was given jobs that near does not know")
    held = {job.id: job for job in near}
    for job_id, body in acknowledged.items():
        number = body["metadata"]["number"]
        report.expect(given[number] == 1, f"job {number} arrived {given[number]} times")
        job = held.get(job_id)
        report.expect(job is not None and job.status == "completed", f"job {number} is {job and job.status}")
        if job is not None and job.outcome.failure is not None:
            report.figures.append(f"job {number}: {job.outcome.failure.code}: {job.outcome.failure.message}")
    report.figures.append(f"far was given {len(far)} jobs, near holds {len(near)}")


async def _jobs(data: Path, report: Report) -> list[Job]:
    """All jobs but children, and whether log and tables agree."""
    store = SqliteStore(data / DATABASE, SystemClock())
    await store.open(lambda _: None)
    try:
        report.problems += (await store.verify()).problems
        project = (await store.projects())[0].id
        found: list[Job] = []
        before: str | None = None
        while page := await store.jobs(project, JobFilter(), limit=500, before=before):
            found += page
            before = page[-1].id
        return found
    finally:
        await store.aclose()


_CONFIG: Final = """
backends = ["remote_cloud"]

[plugins.remote_cloud.remotes.far]
url = "{url}/v0.4"
key_env = "FAR_KEY"
kind = "{kind}"
prefix = "far."
grace_s = {grace_s}
poll_least_s = 0.2
poll_most_s = 1.0
probe_most_s = 1.0
"""

"""A cloud in memory that does what a test says, and an orchestrator in front of it whose time the test moves."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import msgspec

from orchestrator.client import FeedFrame, FeedUnavailable
from orchestrator.model import Job
from orchestrator.service import Orchestrator
from orchestrator.settings import DispatchSettings, Settings
from orchestrator.testing.adapters import FLIP
from orchestrator.testing.clock import ManualClock
from orchestrator_remote_cloud.adapter import RemoteCloudAdapter
from orchestrator_remote_cloud.remotes import Remotes
from orchestrator_remote_cloud.shapes import Bulk
from orchestrator_remote_cloud.transport import Answer, Lost, NotSent

#: What can become of a request before it is answered well; each consumes one request that it is meant for.
LOST_BEFORE, LOST_AFTER, NOT_SENT = "lost before", "lost after", "not sent"
BACKEND = "cloud.qpu"
HEADERS: Mapping[str, str] = {}
SIMULATOR: dict[str, Any] = {
    "backend": "simulator",
    "status": "available",
    "qubits": 29,
    "average_queue_time": 0,
    "last_updated": "2026-01-01T00:00:00Z",
    "noise_models": ["ideal", "aria-1"],
}
QPU: dict[str, Any] = {
    "backend": "qpu.far-1",
    "status": "available",
    "qubits": 4,
    "average_queue_time": 1234,
    "last_updated": "2026-01-01T00:00:00Z",
    "supported_native_gates": ["gpi"],
}


class Cloud:
    """A vendor's cloud: v0.4 routes, no idempotency keys, no feed. It is a `Transport`.

    Attributes:
        jobs: Jobs by id, in the order they came; what a listing shows of them.
        bodies: The submissions, by id.
        faults: What becomes of the next requests, by method and path prefix; a status, or a status with headers.
        asked: Requests, as method and path.
        hold: While set, answers to submissions are held back: "before" or "after" the job is made.
        outcome: What a job comes to when it is let go.
        always: What a path is answered, whatever is there: a status and a body.
        bulk, rogue, poison: Of an orchestrator's answers about many jobs: members of a job instead of its own; a job
            more than was asked for; the id that no question may name.
    """

    def __init__(self, clock: ManualClock, *, honours_keys: bool = False) -> None:
        self.clock = clock
        self.honours_keys = honours_keys
        self.jobs: dict[str, dict[str, Any]] = {}
        self.bodies: dict[str, dict[str, Any]] = {}
        self.backends: list[dict[str, Any]] = [SIMULATOR, QPU]
        self.calibrations: dict[str, dict[str, Any]] = {}
        self.faults: list[tuple[str, str, Any]] = []
        self.asked: list[str] = []
        self.keys: list[str | None] = []
        self.tokens: list[str | None] = []
        self.hold: str | None = None
        self.held = 0
        self.cost: float | None = 2.5
        self.estimate: dict[str, Any] = {"estimated_total_cost": 1.0, "estimated_unit": "usd"}
        self.by_key: dict[str, str] = {}
        self.page = 25
        self.always: dict[str, tuple[int, bytes]] = {}
        self.bulk: dict[str, dict[str, Any]] = {}
        self.rogue: dict[str, Any] | None = None
        self.poison = ""

    def fault(self, what: Any, method: str = "POST", path: str = "/v0.4/jobs", times: int = 1) -> None:
        """Let the next such requests meet this."""
        self.faults += [(method, path, what)] * times

    def count(self, method: str, path: str) -> int:
        """How many such requests came."""
        return sum(asked.startswith(f"{method} {path}") for asked in self.asked)

    def start(self) -> None:
        """All jobs begin."""
        for job in self.jobs.values():
            if job["status"] == "ready":
                job["status"] = "started"

    def end(self, status: str = "completed", **members: Any) -> None:
        """All jobs end."""
        for job in self.jobs.values():
            if job["status"] in {"ready", "started"}:
                job.update(status=status, execution_duration_ms=7, results={"probabilities": {}, "histogram": {}})
                job.update(members)

    # -- the transport ----------------------------------------------------------------------

    async def send(
        self,
        method: str,
        path: str,
        *,
        key: str | None,
        params: Sequence[tuple[str, str]] = (),
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        await asyncio.sleep(0)
        self.asked.append(f"{method} {path}")
        self.keys.append(key)
        what = self._fault(method, path)
        if what == NOT_SENT:
            raise NotSent("no connection")
        if what == LOST_BEFORE:
            raise Lost("cut")
        if isinstance(what, int):
            said = f"as told: {what}; your key is {key}"  # some clouds repeat it
            return _answer(what, {"message": said, "code": "told"})
        if isinstance(what, tuple):
            return Answer(what[0], what[1], b"<html>")
        if path in self.always:
            return Answer(self.always[path][0], {}, self.always[path][1])
        answer = await self._held(method, path, dict(headers or {}), params, body)
        if what == LOST_AFTER:
            raise Lost("cut")
        return answer

    def _fault(self, method: str, path: str) -> Any:
        for place, (when, where, what) in enumerate(self.faults):
            if method == when and path.startswith(where):
                del self.faults[place]
                return what
        return None

    async def _held(
        self, method: str, path: str, headers: Mapping[str, str], params: Sequence[tuple[str, str]], body: bytes | None
    ) -> Answer:
        if method == "POST" and self.hold == "before":
            self.held += 1
            await asyncio.Event().wait()
        answer = self._routed(method, path, headers, params, body)
        if method == "POST" and self.hold == "after":
            self.held += 1
            await asyncio.Event().wait()
        return answer

    def _routed(
        self, method: str, path: str, headers: Mapping[str, str], params: Sequence[tuple[str, str]], body: bytes | None
    ) -> Answer:
        if path == "/results/v1" and self.honours_keys:
            ids = [value for _, value in params]
            if self.poison in ids:
                return _answer(500, {})
            told = [self._bulk(job_id) for job_id in ids if job_id in self.jobs]
            return _answer(200, {"jobs": told if self.rogue is None else [self.rogue, *told], "left": []})
        parts = path.removeprefix("/v0.4/").split("/")
        match method, parts:
            case "POST", ["jobs"]:
                return self._created(msgspec.json.decode(body or b""), headers)
            case "GET", ["jobs"]:
                return self._listed(list(params))
            case "GET", ["jobs", "estimate"]:
                return _answer(200, self.estimate)
            case "GET", ["jobs", job_id] if job_id in self.jobs:
                children = [child["id"] for child in self.jobs.values() if child.get("parent_job_id") == job_id]
                return _answer(200, {**self.jobs[job_id], "child_job_ids": children or None})
            case "GET", ["jobs", job_id, "cost"]:
                cost = None if self.cost is None else {"value": self.cost, "unit": "usd"}
                return _answer(200, {"dry_run": False, "cost": cost})
            case "GET", ["jobs", job_id, "results", *kind] if job_id in self.jobs:
                return self._result(job_id, kind)
            case "PUT", ["jobs", "status", "cancel"]:
                ids = msgspec.json.decode(body or b"")["ids"]
                if not all(job_id in self.jobs for job_id in ids):
                    return _answer(404, {"message": "no such job"})
                for job_id in ids:
                    self._cancel(job_id)
                return _answer(200, {"ids": ids, "status": "canceled"})
            case "PUT", ["jobs", job_id, "status", "cancel"] if job_id in self.jobs:
                self._cancel(job_id)
                return _answer(200, {"id": job_id, "status": "canceled"})
            case "GET", ["backends"]:
                return _answer(200, self.backends)
            case "GET", ["backends", _, "characterizations", found]:
                return _answer(200, self.calibrations[found])
        return _answer(404, {"message": "not found"})

    def _created(self, body: dict[str, Any], headers: Mapping[str, str]) -> Answer:
        key = headers.get("Idempotency-Key")
        self.tokens.append(key)
        if self.honours_keys and key is not None and key in self.by_key:
            return _answer(201, {"id": self.by_key[key], "status": "submitted", "session_id": None})
        job_id = f"remote-{len(self.bodies)}"
        if key is not None:
            self.by_key[key] = job_id
        self.bodies[job_id] = body
        self.jobs[job_id] = {
            "id": job_id,
            "status": "ready",
            "backend": body["backend"],
            "submitted_at": f"2026-01-01T00:{self.clock.now_ms() // 60_000 % 60:02d}:00.000Z",
            "metadata": body.get("metadata"),
        }
        return _answer(201, {"id": job_id, "status": "submitted", "session_id": None})

    def _listed(self, params: list[tuple[str, str]]) -> Answer:
        ids = {value for name, value in params if name == "ids"}
        asked = dict(params)
        found = [
            job
            for job in reversed(self.jobs.values())
            if (not ids or job["id"] in ids)
            and asked.get("parent_job_id") == job.get("parent_job_id")
            and asked.get("status", job["status"]) == job["status"]
            and asked.get("target", job["backend"]) == job["backend"]
        ]
        begin = int(asked.get("next", 0))
        end = begin + min(self.page, int(asked.get("limit", 25)))
        return _answer(200, {"jobs": found[begin:end], "next": str(end) if end < len(found) else None})

    def _result(self, job_id: str, kind: list[str]) -> Answer:
        body = self.bodies[job_id]
        shots = body.get("shots", 100)
        match kind:
            case ["probabilities"]:
                return _answer(200, {"1": 1.0})
            case ["probabilities", "aggregated"]:
                circuits = body["input"]["circuits"]
                return _answer(200, {f"{job_id}-{n}": {"1": 0.25, "0": 0.75} for n in range(len(circuits))})
            case ["histogram"]:
                return _answer(200, {"1": shots})
        return _answer(404, {"message": "no such result"})

    def _bulk(self, job_id: str) -> dict[str, Any]:
        job, shots = self.jobs[job_id], self.bodies[job_id].get("shots", 100)
        result = {"qubits": 1, "probabilities": {"1": 1.0}, "counts": {"1": shots}, "execution_ms": 7}
        completed = job["status"] == "completed"
        bulk = {"id": job_id, "status": job["status"], "failure": job.get("failure")}
        return {**bulk, "result": result if completed else None, **self.bulk.get(job_id, {})}

    def _cancel(self, job_id: str) -> None:
        if self.jobs[job_id]["status"] in {"ready", "started"}:
            self.jobs[job_id]["status"] = "canceled"

    async def events(self, *, key: str | None, backend: str) -> AsyncGenerator[FeedFrame]:
        raise FeedUnavailable(404, "not_found", "no feed")
        yield

    async def results(self, *, key: str | None, backend: str) -> AsyncGenerator[Bulk | None]:
        raise Lost("no live results")
        yield

    async def aclose(self) -> None:
        """Nothing is held."""


def _answer(status: int, body: object) -> Answer:
    return Answer(status, {}, msgspec.json.encode(body))


class Fronting(RemoteCloudAdapter):
    """The adapter, led to a cloud in memory."""

    def __init__(self, cloud: Any) -> None:
        super().__init__(Remotes(lambda _settings, _context: cloud))


@asynccontextmanager
async def in_front(
    cloud: Any,
    clock: ManualClock,
    data: Path | None = None,
    *,
    adapter: RemoteCloudAdapter | None = None,
    queue_limit_s: float = 0.0,
    remotes: Mapping[str, Any] | None = None,
    **remote: Any,
) -> AsyncIterator[Orchestrator]:
    """An orchestrator that serves the cloud's backends as `cloud.qpu` and `cloud.simulator`.

    Args:
        remotes: Further tables of remotes, which lead to the same cloud.
        remote: Settings of the first.
    """
    table = {
        "url": "https://far.test/v0.4",
        "kind": "cloud",
        "backends": {BACKEND: "qpu.far-1", "cloud.simulator": "simulator"},
    }
    settings = Settings(
        plugins={"remote_cloud": {"remotes": {"far": {**table, **remote}, **(remotes or {})}}},
        dispatch=DispatchSettings(drain_s=0.0, queue_limit_s=queue_limit_s),
    )
    serving = Orchestrator.open(
        data, settings=settings, adapters=[adapter or Fronting(cloud)], clock=clock, rng=random.Random(1)
    )
    async with serving as orchestrator:
        yield orchestrator


async def until(condition: Callable[[], bool], clock: ManualClock | None = None, step_s: float = 0.5) -> None:
    """Turn the loop until something holds; with a clock, time goes on whenever nobody works in a thread."""
    threads = anyio.to_thread.current_default_thread_limiter()
    idle = 0
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0)
            idle = 0 if threads.borrowed_tokens else idle + 1
            if clock is not None and idle >= 50:
                idle = 0
                await clock.advanced(step_s)


async def ended(orchestrator: Orchestrator, job: Job, clock: ManualClock, step_s: float = 0.5) -> Job:
    """The job, once it has ended; time goes on meanwhile."""
    waiting = asyncio.ensure_future(orchestrator.wait(job.id))
    await until(waiting.done, clock, step_s)
    return waiting.result()


async def failure_of(orchestrator: Orchestrator, job: Job, clock: ManualClock) -> tuple[str, str]:
    """Code and message of a job's failure, once it has ended."""
    job = await ended(orchestrator, job, clock)
    assert job.outcome.failure is not None
    return job.outcome.failure.code, job.outcome.failure.message


async def submitted(orchestrator: Orchestrator, backend: str = BACKEND, **options: Any) -> Job:
    """A job of one flip."""
    return await orchestrator.submit(FLIP, backend=backend, **options)


async def image(orchestrator: Orchestrator, data: Path, copy: Path) -> Path:
    """The folder as a kill at this moment would leave it."""
    await orchestrator.verify()
    shutil.copytree(data, copy, ignore=shutil.ignore_patterns("lock", "*.sock"))
    return copy

"""The client itself: requests, the feed with resume and reconnect, and waiting on it."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import aiohttp
import anyio
import msgspec

from orchestrator.circuits.formats.ionq import write_circuit
from orchestrator.circuits.ir import Circuit
from orchestrator.client.shapes import (
    BackendInfo,
    FeedEvent,
    FeedFrame,
    FeedUnavailable,
    JobInfo,
    JobList,
    RemoteError,
    Unreachable,
    read_frame,
)
from orchestrator.clock import Clock, SystemClock
from orchestrator.errors import CursorExpired, JobCanceled, JobFailed, ResultNotReady
from orchestrator.lifecycle import TERMINAL, JobStatus
from orchestrator.model import CIRCUIT, MULTI_CIRCUIT, JobRequest, Result

T = TypeVar("T")
Work = Circuit | Sequence[Circuit] | JobRequest | Mapping[str, Any]

_TIMEOUT: Final = aiohttp.ClientTimeout(total=60, connect=10)
_HEARTBEAT_S: Final = 30.0
_BACKOFF_S: Final = 0.2
_BACKOFF_CAP_S: Final = 15.0
_CLOSED_KEY: Final = 4401
_CLOSED_EXPIRED: Final = 4410


class Client:
    """See the module.

    Args:
        url: Address of the server, with or without ``/v0.4``.
        key: An API key.
        clock, rng: Time and jitter of reconnecting.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        connector: aiohttp.BaseConnector | None = None,
    ) -> None:
        self.root = url.rstrip("/").removesuffix("/v0.4").removesuffix("/v0.3")
        self._headers = {} if key is None else {"Authorization": f"apiKey {key}"}
        self._connector = connector
        self._clock = clock or SystemClock()
        self._rng = rng or random.Random()
        self._feed_params: list[tuple[str, str]] = []

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=_TIMEOUT, connector=self._connector)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    # -- jobs ---------------------------------------------------------------------------

    async def submit(self, work: Work, *, idempotency_key: str | None = None, **options: Any) -> str:
        """Submit a circuit, several (one parent), a request or a body of ``POST /v0.4/jobs``; answers the job's id.

        Args:
            work: What to run.
            idempotency_key: The same key and work again answer the first job.
            options: Members of the body, such as ``backend``, ``shots``, ``name``, ``noise``.

        Raises:
            RemoteError: The server refused it; Unreachable: it was not there (the outcome is then unknown).
        """
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        body = msgspec.json.encode(job_body(work, **options))
        created: dict[str, Any] = await self.ask(dict[str, Any], "POST", "/v0.4/jobs", data=body, headers=headers)
        return str(created["id"])

    async def get(self, job_id: str) -> JobInfo:
        """A job."""
        return await self.ask(JobInfo, "GET", f"/v0.4/jobs/{job_id}")

    async def jobs(
        self, *, status: str | None = None, backend: str | None = None, limit: int = 25, after: str | None = None
    ) -> JobList:
        """A page of jobs, newest first; `after` is ``next`` of the page before."""
        params = _given(status=status, target=backend, limit=limit, next=after)
        return await self.ask(JobList, "GET", "/v0.4/jobs", params=params)

    async def cancel(self, job_ids: Sequence[str]) -> None:
        """Cancel jobs; those that have ended stay as they are. An unknown one refuses all."""
        body = msgspec.json.encode({"ids": job_ids})
        await self.ask(dict[str, Any], "PUT", "/v0.4/jobs/status/cancel", data=body)

    async def backends(self) -> list[BackendInfo]:
        """All backends."""
        return await self.ask(list[BackendInfo], "GET", "/v0.4/backends")

    async def wait(self, job_id: str, *, timeout_s: float | None = None) -> JobInfo:
        """The job, once it has ended: told by the feed, or asked for now and then where there is none.

        Raises:
            TimeoutError: It has not ended in time.
        """
        with anyio.fail_after(timeout_s):
            job = await self.get(job_id)
            try:
                async with aclosing(self.events(jobs=[job_id])) as frames:
                    while not job.terminal:
                        frame = await anext(frames)
                        if not isinstance(frame, FeedEvent) or (frame.job_id == job_id and frame.after in TERMINAL):
                            job = await self.get(job_id)
            except FeedUnavailable:
                job = await self._poll(job_id)
            return job

    async def _poll(self, job_id: str) -> JobInfo:
        pauses = 0
        while not (job := await self.get(job_id)).terminal:
            pauses += 1
            await self._pause(pauses, cap_s=2.0)
        return job

    async def result(self, job_id: str, *, timeout_s: float | None = None) -> Result:
        """The result of a single-circuit job, once it has completed; see `results`."""
        return (await self.results(job_id, timeout_s=timeout_s))[0]

    async def results(self, job_id: str, *, timeout_s: float | None = None) -> list[Result]:
        """The results of a job's circuits in their order, once it has completed.

        Raises:
            JobFailed, JobCanceled: It ended without.
            ResultNotReady: It was a dry run.
            TimeoutError: It has not ended in time.
        """
        job = await self.wait(job_id, timeout_s=timeout_s)
        if job.failure is not None:
            raise JobFailed(job.id, job.failure.code, job.failure.message)
        if job.status is JobStatus.CANCELED:
            raise JobCanceled(job.id)
        leaves = [await self.get(child) for child in job.child_job_ids or ()] or [job]
        return [await self.measured(leaf) for leaf in leaves]

    async def measured(self, job: JobInfo) -> Result:
        """The result of a completed job of one circuit."""
        if job.results is None:
            raise ResultNotReady(job.id)
        base = f"/v0.4/jobs/{job.id}/results"
        probabilities = await self.ask(dict[int, float], "GET", f"{base}/probabilities")
        counts = None
        if "histogram" in job.results:
            counts = await self.ask(dict[int, int], "GET", f"{base}/histogram")
        qubits = max(int(job.stats.get("qubits", 1)), max(probabilities, default=0).bit_length(), 1)
        took = job.execution_duration_ms or 0
        return Result(qubits=qubits, probabilities=probabilities, counts=counts, execution_ms=took)

    # -- events -------------------------------------------------------------------------

    async def events(
        self, cursor: str = "latest", *, jobs: Collection[str] = (), kinds: Collection[str] = ()
    ) -> AsyncGenerator[FeedFrame]:
        """Committed events after the cursor, then live ones, without end; close it (`contextlib.aclosing`).

        A lost connection is made again, after a pause with full jitter, and goes on where it stood: no event is
        missing, none comes twice.

        Raises:
            Unreachable: No server was there to begin with.
            FeedUnavailable: The server refuses, or the key was revoked.
            CursorExpired: Retention has removed events after the cursor.
        """
        failures, reached = 0, False
        wishes = [*self._feed_params, *(("job", job) for job in jobs), *(("kind", kind) for kind in kinds)]
        while True:
            try:
                address, params = f"{self.root}/events/v1", [("cursor", cursor), *wishes]
                async with self._session.ws_connect(address, params=params, heartbeat=_HEARTBEAT_S) as socket:
                    reached = True
                    while (message := await socket.receive()).type is aiohttp.WSMsgType.TEXT:
                        frame = read_frame(message.data)
                        cursor, failures = frame.cursor, 0
                        yield frame
                _refuse_end(socket.close_code, str(message.extra or ""))
            except aiohttp.WSServerHandshakeError as error:
                if error.status < 500:
                    raise FeedUnavailable(error.status, "feed_unavailable", "the feed was refused") from None
            except (aiohttp.ClientError, TimeoutError) as error:
                if not reached:
                    raise Unreachable(f"no server at {self.root}") from error
            failures += 1
            await self._pause(failures)

    async def _pause(self, failures: int, cap_s: float = _BACKOFF_CAP_S) -> None:
        await self._clock.sleep(self._rng.uniform(0, min(cap_s, _BACKOFF_S * 2 ** min(failures, 16))))

    # -- the wire -----------------------------------------------------------------------

    async def ask(self, shape: type[T], method: str, path: str, **request: Any) -> T:
        """One request, its answer decoded.

        Raises:
            RemoteError, Unreachable: See `submit`.
        """
        try:
            async with self._session.request(method, self.root + path, **request) as response:
                body, status = await response.read(), response.status
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unreachable(f"no server at {self.root}") from error
        try:
            if status >= 400:
                refusal = msgspec.json.decode(body, type=dict[str, Any])
                raise RemoteError(status, str(refusal.get("code", status)), _told(refusal))
            return msgspec.json.decode(body, type=shape)
        except msgspec.DecodeError:
            raise RemoteError(status, "unexpected_answer", f"HTTP {status}, not an answer of this API") from None


def job_body(work: Work, **options: Any) -> dict[str, Any]:
    """The body of ``POST /v0.4/jobs`` for a piece of work; options replace its members."""
    if isinstance(work, Mapping):
        return {**work, **options}
    if isinstance(work, JobRequest):
        members = ("backend", "shots", "name", "metadata", "noise", "settings", "session_id", "dry_run")
        given = {name: value for name in members if (value := getattr(work, name)) not in (None, {}, False)}
        return job_body(work.circuits if work.multi else work.circuits[0], **given | options)
    if isinstance(work, Circuit):
        return {"type": CIRCUIT, "backend": "simulator", "input": write_circuit(work), **options}
    circuits = [write_circuit(circuit) for circuit in work]
    return {"type": MULTI_CIRCUIT, "backend": "simulator", "input": {"circuits": circuits}, **options}


def _told(refusal: dict[str, Any]) -> str:
    """What a refusal says, and which members it is about."""
    message = str(refusal.get("message", "refused"))
    validation = refusal.get("validation")
    members = validation.get("keys") if isinstance(validation, dict) else None
    return f"{message} ({', '.join(map(str, members))})" if members else message


def _given(**params: str | int | None) -> dict[str, str | int]:
    return {name: value for name, value in params.items() if value is not None}


def _refuse_end(code: int | None, reason: str) -> None:
    """Raise where a closed feed must not be opened again."""
    if code == _CLOSED_KEY:
        raise FeedUnavailable(401, "unauthorized", reason or "the key was revoked")
    if code == _CLOSED_EXPIRED:
        raise CursorExpired(reason)

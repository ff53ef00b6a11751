"""Submits and life cycles through ``POST /v0.4/jobs``, and the empty handler beside them."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import msgspec
from aiohttp import web

from orchestrator.api.limits import Limits
from orchestrator.api.server import serve
from orchestrator.bench.load import Load, request_bytes
from orchestrator.bench.workload import BACKEND
from orchestrator.errors import OrchestratorError
from orchestrator.lifecycle import TERMINAL
from orchestrator.service import Orchestrator
from orchestrator.storage.abc import Committed

CONNECTIONS: Final = 64
_PATH: Final = "/v0.4/jobs"
_ANSWER: Final = {"id": "00000000-0000-7000-8000-000000000000", "status": "submitted", "session_id": None}
#: Jobs that have not ended so many seconds after the last submit are a fault, not a figure.
_PATIENCE_S: Final = 120.0


class LoadError(OrchestratorError):
    """The load generator failed, or the server refused its requests: there is no figure."""

    code = "load_failed"


def body(backend: str = BACKEND) -> bytes:
    """The body of every request, to the empty handler too: a Bell circuit, 100 shots."""
    gates = [{"gate": "h", "target": 0}, {"gate": "cnot", "control": 0, "target": 1}]
    return msgspec.json.encode(
        {
            "type": "ionq.circuit.v1",
            "backend": backend,
            "shots": 100,
            "name": "bell",
            "input": {"gateset": "qis", "qubits": 2, "circuit": gates},
        }
    )


async def load(base: str, request_body: bytes, seconds: float, *, key: str = "bench") -> Load:
    """Send requests from a process of its own over `CONNECTIONS` connections that are kept.

    Raises:
        LoadError: Not every request was accepted.
    """
    url = base + _PATH
    request = request_bytes(url, request_body, {"Authorization": f"apiKey {key}"})
    arguments = ("-m", "orchestrator.bench.load", url, str(CONNECTIONS), str(seconds))
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        out, errors = await process.communicate(request)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise LoadError(errors.decode(errors="replace").strip().splitlines()[-1])
    answer = msgspec.json.decode(out, type=Load)
    if answer.refused or not answer.answers:
        raise LoadError(f"the server refused {answer.refused} of {answer.refused + answer.answers} requests")
    return answer


@asynccontextmanager
async def empty_server() -> AsyncIterator[str]:
    """A server with the settings of ours whose only handler takes JSON, answers JSON and does nothing; its base URL."""

    async def handler(request: web.Request) -> web.Response:
        await request.json()
        return web.json_response(_ANSWER, status=201)

    app = web.Application()
    app.router.add_post(_PATH, handler)
    runner = web.AppRunner(app, access_log=None, auto_decompress=False, keepalive_timeout=Limits().keepalive_s)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield "http://{}:{}".format(*runner.addresses[0])
    finally:
        await runner.cleanup()


@asynccontextmanager
async def served(orchestrator: Orchestrator) -> AsyncIterator[tuple[str, str]]:
    """The orchestrator behind HTTP, on a free port: base URL and a key."""
    _, key = await orchestrator.accounts.add_key(orchestrator.project.id, "bench")
    async with serve(orchestrator, "127.0.0.1", 0) as bound:
        yield bound.url, key


async def cycles_per_second(orchestrator: Orchestrator, base: str, key: str, seconds: float, backend: str) -> float:
    """Jobs a second from the first submit to the commit of the last terminal event."""
    ended = _Ended(orchestrator)
    try:
        sent = await load(base, body(backend), seconds, key=key)
        async with asyncio.timeout(_PATIENCE_S):
            last = await ended.reached(sent.answers)
    finally:
        ended.close()
    return sent.answers / (last - sent.begun)


class _Ended:
    """Counts terminal events as they are committed."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._count = 0
        self._last = 0.0
        self._wanted: int | None = None
        self._done = asyncio.Event()
        self.close = orchestrator.bus.subscribe(self._notice)

    def _notice(self, entries: Sequence[Committed]) -> None:
        if number := sum(event.after in TERMINAL for event, _ in entries):
            self._count += number
            self._last = time.monotonic()
            self._check()

    def _check(self) -> None:
        if self._wanted is not None and self._count >= self._wanted:
            self._done.set()

    async def reached(self, number: int) -> float:
        """When that many had ended, monotonic seconds."""
        self._wanted = number
        self._check()
        await self._done.wait()
        return self._last

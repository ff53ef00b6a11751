"""A real server for tests, with an adapter that needs no physics, and clients that speak to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import anyio
import msgspec
from aiohttp import ClientSession

from orchestrator.api.limits import Limits
from orchestrator.api.server import Bound, serve
from orchestrator.backends.abc import Adapter, AdapterContext, Attempt, Capabilities, NoiseModel, Prepared
from orchestrator.circuits import ir
from orchestrator.model import BackendState, Characterization, Failure, Result
from orchestrator.service import Orchestrator
from orchestrator.settings import DispatchSettings, Settings

BELL = {
    "type": "ionq.circuit.v1",
    "backend": "simulator",
    "shots": 100,
    "input": {
        "gateset": "qis",
        "qubits": 2,
        "circuit": [{"gate": "h", "target": 0}, {"gate": "cnot", "control": 0, "target": 1}],
    },
}
NOISY = {**BELL, "noise": {"model": "aria-1", "seed": 42}}
MULTI = {
    "type": "ionq.multi-circuit.v1",
    "backend": "simulator",
    "input": {
        "gateset": "qis",
        "qubits": 2,
        "circuits": [
            {"name": "a", "circuit": [{"gate": "x", "target": 0}]},
            {"name": "b", "circuit": [{"gate": "x", "target": 1}]},
            {"name": "c", "circuit": []},
        ],
    },
}
CALIBRATION = "0197c3a2-0000-7000-8000-000000000001"


class Table(Adapter):
    """Answers every circuit with half zeros and half ones; jobs named ``hold`` wait until let go."""

    name = "table"

    def __init__(self) -> None:
        super().__init__()
        self.held = anyio.Event()

    def capabilities(self) -> Sequence[Capabilities]:
        models = {"ideal": NoiseModel(qubits=29), "aria-1": NoiseModel(qubits=25)}
        return [
            Capabilities(backend="simulator", qubits=29, noise_models=models, concurrency=4),
            Capabilities(
                backend="qpu.aria-1",
                qubits=25,
                kind="qpu",
                native_gates=("gpi", "gpi2", "ms"),
                cost_model="QCT",
                instant_prepare=False,
                location="lab",
                power_kw=1.5,
            ),
        ]

    async def open(self, context: AdapterContext) -> None:
        self._now_ms = context.clock.now_ms

    def state(self, backend: str) -> BackendState:
        known = CALIBRATION if backend.startswith("qpu") else None
        return BackendState(backend=backend, characterization_id=known)

    def initial_characterizations(self) -> Sequence[Characterization]:
        return [
            Characterization(
                id=CALIBRATION,
                backend="qpu.aria-1",
                recorded_at=1_769_860_800_000,
                qubits=25,
                connectivity=[(0, 1), (0, 2)],
                fidelity={"spam": {"median": 0.995}, "1q": {"median": 0.9998}, "2q": {"median": 0.99}},
                timing={"readout": 0.0003, "reset": 0.00002, "1q": 0.00013, "2q": 0.0006, "t1": 100.0, "t2": 1.0},
            )
        ]

    async def prepare(self, attempts: Sequence[Attempt]) -> list[Prepared | Failure]:
        native = ir.Circuit(qubits=2, gates=(ir.Gate("gpi", (0,), (), (0.25,)),), gateset="native")
        return [
            Prepared(compiled=ir.dumps(native), predicted_execution_ms=7, native_gates_1q=1, native_gates_2q=0)
            for _ in attempts
        ]

    async def run(self, attempt: Attempt) -> Result:
        if attempt.job.spec.name == "hold":
            await self.held.wait()
        shots, noise = attempt.job.spec.shots, attempt.job.spec.noise
        qubits = max(attempt.circuit.qubits, 1)
        high = (1 << qubits) - 1
        ideal = attempt.job.backend == "simulator" and (noise is None or noise.model == "ideal")
        if ideal:
            return Result(qubits=qubits, probabilities={0: 0.5, high: 0.5}, execution_ms=3)
        counts = {0: shots // 2, high: shots - shots // 2}
        return Result(
            qubits=qubits,
            probabilities={key: count / shots for key, count in counts.items()},
            counts=counts,
            execution_ms=3,
        )


class Service:
    """A server and clients that speak to it."""

    def __init__(
        self, orchestrator: Orchestrator, bound: Bound, adapter: Table, clients: AsyncExitStack, server: AsyncExitStack
    ) -> None:
        self.orchestrator, self.bound, self.adapter = orchestrator, bound, adapter
        self._stack, self._server = clients, server

    async def stop(self) -> None:
        """Stop the server, not its clients and not the orchestrator."""
        await self._server.aclose()

    async def client(self, project: str = "", **headers: str) -> Client:
        """A client with a new key of a project, the first one unless named."""
        accounts = self.orchestrator.accounts
        if project and project not in {known.name for known in accounts.projects()}:
            await accounts.add_project(project)
        key, secret = await accounts.add_key(project or self.orchestrator.project.id, "test")
        session = ClientSession(self.bound.url, headers={"Authorization": f"apiKey {secret}", **headers})
        return Client(await self._stack.enter_async_context(session), key.id)

    async def stranger(self) -> Client:
        """A client without a key."""
        return Client(await self._stack.enter_async_context(ClientSession(self.bound.url)), "")


class Client:
    """Asks and answers status, decoded body and headers."""

    def __init__(self, session: ClientSession, key_id: str) -> None:
        self.session, self.key_id = session, key_id
        self.headers: Any = None

    async def ask(self, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        status, raw = await self.raw(method, path, body, **options)
        return status, msgspec.json.decode(raw)

    async def raw(self, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, bytes]:
        data = body if isinstance(body, bytes | None) else msgspec.json.encode(body)
        sent = None if data is None else BytesIO(data)  # the client warns of large bytes
        async with self.session.request(method, path, data=sent, **options) as response:
            self.headers = response.headers
            return response.status, await response.read()

    async def submit(self, body: Any = BELL, version: str = "v0.4") -> str:
        status, answer = await self.ask("POST", f"/{version}/jobs", body)
        assert status in {200, 201}, answer
        job_id: str = answer["id"]
        return job_id


@asynccontextmanager
async def launched(
    *, limits: Limits | None = None, data: Path | None = None, beside: Sequence[Adapter] = (), **options: Any
) -> AsyncIterator[Service]:
    """A server on a free port, over a memory store unless there is a data folder; `beside` are more adapters."""
    adapter = Table()
    settings = Settings(dispatch=DispatchSettings(drain_s=0.0))
    async with (
        Orchestrator.open(data, adapters=[adapter, *beside], settings=settings, **options) as orchestrator,
        AsyncExitStack() as clients,
        AsyncExitStack() as server,
    ):
        bound = await server.enter_async_context(serve(orchestrator, "127.0.0.1", 0, limits=limits))
        yield Service(orchestrator, bound, adapter, clients, server)

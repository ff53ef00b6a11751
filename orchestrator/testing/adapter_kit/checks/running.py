"""Checks of jobs and their results, whatever the physics."""

from __future__ import annotations

import msgspec

from orchestrator.backends.abc import Capabilities
from orchestrator.circuits.gates import GATES
from orchestrator.circuits.ir import Circuit, Gate
from orchestrator.lifecycle import JobStatus
from orchestrator.model import JobRequest, Noise
from orchestrator.testing.adapter_kit.bench import Bench, Skipped, plain
from orchestrator.testing.adapter_kit.host import Host, hosted

#: Most jobs of one check.
_MOST_JOBS = 60
#: Declared qubits of circuits whose wires are mostly idle.
_WIDTHS = (1, 2, 3)


async def check_plain_job(bench: Bench) -> None:
    """A plain job completes, with probabilities that sum to 1 and counts that sum to its shots."""
    async with hosted(bench) as host:
        for backend in host.backends:
            job = await host.ended(await host.submit(backend), f"a job on {backend.backend}")
            invalid = host.watch.invalid()
            assert not invalid, f"it answered an invalid result: {invalid}"
            await host.completed(job, f"a job on {backend.backend}")


async def check_registers(bench: Bench) -> None:
    """A result has a bit for every declared qubit, the idle ones included."""
    async with hosted(bench) as host:
        for backend in host.backends:
            for width in (*_WIDTHS, backend.qubits + 1):
                if width <= 1024:
                    await host.run(backend, bench.circuit(backend, width))


async def check_empty_circuit(bench: Bench) -> None:
    """A circuit without gates runs like any other."""
    async with hosted(bench) as host:
        for backend in host.backends:
            empty = msgspec.structs.replace(bench.circuit(backend, 1), qubits=1, gates=())
            result = await host.run(backend, empty, what="a circuit without gates")
            if backend.physics == "exact":
                assert set(result.probabilities) == {0}, f"idle qubits read {result.probabilities}"


async def check_gatesets(bench: Bench) -> None:
    """It runs circuits of every gate set it declares, and every native gate."""
    async with hosted(bench) as host:
        for backend in host.backends:
            for circuit in _every_gateset(backend, bench):
                names = " ".join(gate.name for gate in circuit.gates)
                await host.run(backend, circuit, what=f"a {circuit.gateset} circuit ({names}) on {backend.backend}")


def _every_gateset(backend: Capabilities, bench: Bench) -> list[Circuit]:
    if bench.circuit is not plain:
        return [bench.circuit(backend, 1)]
    circuits = []
    if "qis" in backend.gatesets:
        circuits.append(plain(backend))
    for name in backend.native_gates if "native" in backend.gatesets else ():
        row = GATES["native"][name]
        if row.targets <= backend.qubits:
            gate = Gate(name, tuple(range(row.targets)), params=(0.1,) * len(row.params))
            circuits.append(Circuit(qubits=row.targets, gates=(gate,), gateset="native"))
    return circuits


async def check_noise_models(bench: Bench) -> None:
    """It runs jobs under every noise model it declares."""
    async with hosted(bench) as host:
        if not any(backend.noise_models for backend in host.backends):
            raise Skipped("it declares no noise models")
        for backend in host.backends:
            for model in backend.noise_models:
                await host.run(backend, noise=Noise(model=model), what=f"a job under the noise model {model}")


async def check_shots(bench: Bench) -> None:
    """It takes one shot, and as many as it declares (up to the bench's limit); where it counts, it counts all."""
    async with hosted(bench) as host:
        for backend in host.backends:
            for shots in (1, bench.most_shots(backend)):
                result = await host.run(backend, shots=shots, what=f"a job of {shots} shots on {backend.backend}")
                counted = shots if result.counts is None else sum(result.counts.values())
                assert counted == shots, f"{counted} counts for {shots} shots"


async def check_many_jobs(bench: Bench) -> None:
    """Of many jobs at one time each gets its own answer: batches are answered in order, and lanes share nothing."""
    async with hosted(bench) as host:
        for backend in host.backends:
            number = min(3 * backend.concurrency * backend.batch + 3, _MOST_JOBS)
            circuits = [bench.circuit(backend, _WIDTHS[index % len(_WIDTHS)]) for index in range(number)]
            marked = bench.circuit is plain and "qis" in backend.gatesets and backend.physics is not None
            if marked:
                circuits = [_mark(index % backend.qubits, backend.qubits) for index in range(number)]
            jobs = await host.submit_all(backend, circuits)
            for index, job in enumerate(jobs):
                result = await host.completed(job, f"one of {number} jobs at a time on {backend.backend}")
                if marked:
                    best = max(result.probabilities, key=lambda outcome: result.probabilities[outcome])
                    wanted = 1 << index % backend.qubits
                    assert best == wanted, f"of {number} jobs at a time, one got the outcome {best} and not {wanted}"


def _mark(wire: int, qubits: int) -> Circuit:
    return Circuit(qubits=qubits, gates=(Gate("x", (wire,)),))


async def check_families(bench: Bench) -> None:
    """The circuits of one job all complete, each with its own result."""
    async with hosted(bench) as host:
        for backend in host.backends:
            number = min(3, backend.max_circuits)
            circuits = tuple(bench.circuit(backend, width) for width in _WIDTHS[:number])
            request = JobRequest(backend=backend.backend, circuits=circuits, multi=True, **bench.options)
            parent = await host.orchestrator.submit(request)
            await host.ended(parent, "a job of several circuits")
            for child in await host.orchestrator.children(parent.id):
                await host.completed(child, f"circuit {child.child_index} of several")


async def check_told_once(bench: Bench) -> None:
    """Each attempt is answered once, batches in one piece, and only attempts that were handed over."""
    async with hosted(bench) as host:
        await _all_through(host)
        told = [fault for fault in host.watch.faults if "progress" not in fault]
        assert not told, told[0]


async def check_progress(bench: Bench) -> None:
    """Progress goes from 0 to 1, never back, and ends with the answer."""
    async with hosted(bench) as host:
        await _all_through(host)
        told = [fault for fault in host.watch.faults if "progress" in fault]
        assert not told, told[0]
        if not host.watch.fractions:
            raise Skipped("it tells no progress")


async def _all_through(host: Host) -> None:
    """Several jobs on every backend, long ones among them; their ends are looked at elsewhere."""
    for backend in host.backends:
        number = min(2 * backend.concurrency * backend.batch + 1, 8)
        circuits = [host.bench.circuit(backend, 1)] * number
        for job in await host.submit_all(backend, circuits, shots=host.bench.most_shots(backend)):
            ended = await host.ended(job)
            assert ended.status in {JobStatus.COMPLETED, JobStatus.FAILED}, f"a job nobody canceled is {ended.status}"
    await host.turns()

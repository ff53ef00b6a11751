"""Checks of what is beyond an adapter: it fails as it should, and harms nobody."""

from __future__ import annotations

from orchestrator.backends.abc import Capabilities
from orchestrator.circuits.gates import GATES
from orchestrator.circuits.ir import Circuit, Gate
from orchestrator.circuits.validation import MAX_QUBITS
from orchestrator.model import MAX_SHOTS
from orchestrator.testing.adapter_kit.bench import Bench, Skipped, plain
from orchestrator.testing.adapter_kit.host import Host, hosted


async def check_limits(bench: Bench) -> None:
    """Jobs beyond its width, its shots or its gate sets fail with the code for that, and it goes on."""
    async with hosted(bench) as host:
        for backend in host.backends:
            if backend.qubits < MAX_QUBITS:
                wires = range(backend.qubits + 1)
                qis = "qis" in backend.gatesets
                gates = tuple(Gate("x", (wire,)) if qis else Gate("gpi", (wire,), params=(0.0,)) for wire in wires)
                wide = Circuit(qubits=len(wires), gates=gates, gateset="qis" if qis else "native")
                await _fails(host, backend, wide, {"NotEnoughQubits"}, f"a circuit of {len(wires)} wires")
            if backend.max_shots < MAX_SHOTS:
                shots = backend.max_shots + 1
                circuit = bench.circuit(backend, 1)
                await _fails(host, backend, circuit, {"TooManyShots"}, f"a job of {shots} shots", shots=shots)
            if "native" not in backend.gatesets:
                foreign = Circuit(qubits=1, gates=(Gate("gpi", (0,), params=(0.0,)),), gateset="native")
                await _fails(host, backend, foreign, {"UnsupportedGate"}, "a native circuit, which it does not declare")
            if "qis" not in backend.gatesets:
                foreign = Circuit(qubits=1, gates=(Gate("x", (0,)),))
                await _fails(host, backend, foreign, {"UnsupportedGate"}, "a qis circuit, which it does not declare")
            await host.usable(backend, "one beyond its limits")


async def check_foreign_gates(bench: Bench) -> None:
    """A native gate that it does not declare fails the job with UnsupportedGate, and it goes on."""
    async with hosted(bench) as host:
        lacking = False
        for backend in host.backends:
            missing = [name for name in GATES["native"] if name not in (*backend.native_gates, "nop")]
            if "native" not in backend.gatesets or not missing or bench.circuit is not plain:
                continue
            for name in missing:
                row = GATES["native"][name]
                if row.targets > backend.qubits:
                    continue
                lacking = True
                gate = Gate(name, tuple(range(row.targets)), params=(0.1,) * len(row.params))
                foreign = Circuit(qubits=row.targets, gates=(gate,), gateset="native")
                await _fails(
                    host, backend, foreign, {"UnsupportedGate"}, f"a circuit with {name}, which it does not declare"
                )
            await host.usable(backend, "one with a gate it does not have")
        if not lacking:
            raise Skipped("it declares every native gate, or none")


async def _fails(
    host: Host, backend: Capabilities, circuit: Circuit, codes: set[str], what: str, *, shots: int = 100
) -> None:
    job = await host.ended(await host.submit(backend, circuit, shots=shots), what)
    failure = job.outcome.failure
    assert failure is not None, f"{what} ended {job.status}, where it has to fail"
    assert failure.code in codes, f"{what} failed with {failure.code} ({failure.message}), not {' or '.join(codes)}"

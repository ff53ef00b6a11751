"""Checks of what backends measure, where they declare `physics`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from orchestrator.backends.abc import Capabilities
from orchestrator.model import Noise
from orchestrator.testing.adapter_kit import known
from orchestrator.testing.adapter_kit.bench import Bench, Skipped
from orchestrator.testing.adapter_kit.host import Host, hosted

_SHOTS: Final = 1000
#: Noise models that are none.
_IDEAL: Final = ("ideal", "none")


async def check_bit_order(bench: Bench) -> None:
    """Qubit k of a circuit is bit k of an outcome, in every gate set, and idle qubits keep their bits."""
    await _compared(bench, known.bit_order)


async def check_gates(bench: Bench) -> None:
    """Controls control, targets are targets, and angles are in radians (qis) or turns (native)."""
    await _compared(bench, known.gates)


async def check_entanglement(bench: Bench) -> None:
    """Bell and GHZ states read all zeros or all ones, half and half, in every gate set."""
    await _compared(bench, known.entangled)


async def check_noisy_outcomes(bench: Bench) -> None:
    """Under every noise model it declares, known circuits still mostly read what they should."""
    async with hosted(bench) as host:
        cases = [(each, name) for each in host.backends if each.physics for name in each.noise_models]
        if not cases:
            raise Skipped("it declares no noise models, or no physics")
        for backend, name in cases:
            width = backend.noise_models[name].qubits
            circuits = [*known.bit_order(backend), *known.entangled(backend)]
            fitting = [each for each in circuits if each.circuit.width <= width]
            exact = backend.physics == "exact" and name in _IDEAL
            await _compare(host, backend, fitting, exact=exact, noise=name)


async def _compared(bench: Bench, circuits: Callable[[Capabilities], Iterator[known.Known]]) -> None:
    async with hosted(bench) as host:
        if all(backend.physics is None for backend in host.backends):
            raise Skipped("it declares no physics: what it measures need not follow the circuit")
        for backend in host.backends:
            if backend.physics is not None:
                await _compare(host, backend, list(circuits(backend)), exact=backend.physics == "exact")


async def _compare(
    host: Host, backend: Capabilities, cases: list[known.Known], *, exact: bool, noise: str | None = None
) -> None:
    options = {"shots": min(_SHOTS, host.bench.most_shots(backend)), "noise": noise and Noise(model=noise)}
    jobs = await host.submit_all(backend, [each.circuit for each in cases], **options)
    place = backend.backend if noise is None else f"{backend.backend} under {noise}"
    for case, job in zip(cases, jobs, strict=True):
        result = await host.completed(job, f"{case.what} on {place}")
        wrong = known.departs(case, result, exact=exact)
        assert not wrong, f"on {place}, {wrong}"

"""Checks of what backends measure, where they declare `physics`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from orchestrator.backends.abc import Capabilities
from orchestrator.model import Noise
from orchestrator.testing.adapter_kit import drawing, known
from orchestrator.testing.adapter_kit.bench import Bench, Skipped
from orchestrator.testing.adapter_kit.host import Host, hosted

_SHOTS: Final = 1000
#: Noise models that are none.
_IDEAL: Final = ("ideal", "none")
#: Circuits that are made as small as can be, to tell the smallest.
_STARTS: Final = 3
#: Codes of failures that refuse what a job asks, and are no fault of the backend's.
_REFUSALS: Final = ("UnsupportedGate", "InvalidInput")


async def check_bit_order(bench: Bench) -> None:
    """Qubit k of a circuit is bit k of an outcome, in every gate set, and idle qubits keep their bits."""
    await _compared(bench, known.bit_order)


async def check_gates(bench: Bench) -> None:
    """Controls control, targets are targets, and angles are in radians (qis) or turns (native)."""
    await _compared(bench, known.gates)


async def check_every_gate(bench: Bench) -> None:
    """Alone, under controls and in random circuits, every gate does what its matrix says, or is refused."""
    async with hosted(bench) as host:
        chosen = [backend for backend in host.backends if backend.physics is not None]
        if not chosen:
            raise Skipped("it declares no physics: what it measures need not follow the circuit")
        for backend in chosen:
            exact = backend.physics == "exact"
            every = [(form, drawing.alone(backend, form)) for form in drawing.forms(backend)]
            forms, alone = await _drawn(host, backend, every, exact=exact)
            circuits = [(form, each) for form in forms for each in drawing.mixed(backend, form, forms, exact=exact)]
            _, among = await _drawn(host, backend, circuits, exact=exact)
            if wrong := [*alone, *among]:
                starts = sorted(wrong, key=_gates)[:_STARTS]
                least = min([await _least(host, backend, each, exact=exact) for each in starts], key=_gates)
                raise AssertionError(
                    f"on {backend.backend}, {len(wrong)} of {len(every) + len(circuits)} circuits are not what the "
                    f"matrices of orchestrator.circuits.gates make of them; the smallest is the {least.departs}"
                )


class _Wrong(NamedTuple):
    form: drawing.Form
    case: known.Known
    departs: str


async def _drawn(
    host: Host, backend: Capabilities, circuits: list[tuple[drawing.Form, known.Known]], *, exact: bool
) -> tuple[list[drawing.Form], list[_Wrong]]:
    """The forms of those that were run, and of these the ones that measured something else."""
    ran: list[drawing.Form] = []
    wrong: list[_Wrong] = []
    shots = min(_SHOTS, host.bench.most_shots(backend))
    jobs = await host.submit_all(backend, [each.circuit for _, each in circuits], shots=shots)
    for (form, case), job in zip(circuits, jobs, strict=True):
        what = f"a circuit with {form} on {backend.backend}"
        failure = (await host.ended(job, what)).outcome.failure
        if failure is not None and failure.code in _REFUSALS:
            assert not drawing.declared(backend, form), f"{what}, which it declares, failed: {failure.message}"
            continue
        result = await host.completed(job, what)
        ran.append(form)
        if departs := known.departs(case, result, exact=True) if exact else known.drowns(case, result):
            wrong.append(_Wrong(form, case, departs))
    return ran, wrong


async def _least(host: Host, backend: Capabilities, wrong: _Wrong, *, exact: bool) -> _Wrong:
    """What is left of a circuit once all gates are taken out that it is wrong without."""
    while wrong.case.circuit.gates:
        circuits = [(wrong.form, each) for each in drawing.smaller(wrong.case)]
        _, still = await _drawn(host, backend, circuits, exact=exact)
        if not still:
            break
        wrong = still[0]
    return wrong


def _gates(wrong: _Wrong) -> int:
    return len(wrong.case.circuit.gates)


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

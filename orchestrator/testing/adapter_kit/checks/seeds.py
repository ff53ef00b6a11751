"""Checks of seeds, where backends declare `seeded`."""

from __future__ import annotations

from typing import Final

from orchestrator.backends.abc import Capabilities
from orchestrator.circuits.ir import Circuit
from orchestrator.model import Noise, Result
from orchestrator.testing.adapter_kit import known
from orchestrator.testing.adapter_kit.bench import Bench, Skipped
from orchestrator.testing.adapter_kit.host import Host, hosted

_JOBS: Final = 5
_SHOTS: Final = 500
#: Beyond this probability of one outcome there is nothing random to compare.
_CERTAIN: Final = 0.999
_DERIVE: Final = "every random choice has to derive from attempt.job.spec.seed, and from nothing else"


async def check_same_seed(bench: Bench) -> None:
    """The same seed gives the same counts: alone, among others, and after a restart."""
    async with hosted(bench, seed=1) as host:
        chosen = _seeded(host)
        alone = [await _counted(host, backend, one_by_one=True) for backend in chosen]
    async with hosted(bench, seed=1) as host:
        together = [await _counted(host, backend, one_by_one=False) for backend in chosen]
    for backend, first, second in zip(chosen, alone, together, strict=True):
        for (seed, one), (again, two) in zip(first, second, strict=True):
            assert seed == again, "the kit could not give the same seed twice"
            assert _same(one, two), (
                f"on {backend.backend}, seed {seed} gave {one.counts}, and then {two.counts}; {_DERIVE}"
            )


async def check_other_seed(bench: Bench) -> None:
    """Other seeds give other counts: jobs are independent samples."""
    async with hosted(bench, seed=2) as host:
        told = False
        for backend in _seeded(host):
            results = [result for _, result in await _counted(host, backend, one_by_one=False)]
            if any(_certain(result) for result in results):
                continue
            told = True
            assert not all(_same(results[0], each) for each in results), (
                f"on {backend.backend}, {len(results)} jobs with seeds of their own all counted {results[0].counts}; "
                f"{_DERIVE}"
            )
        if not told:
            raise Skipped("it counts nothing, or nothing random")


async def check_noise_seed(bench: Bench) -> None:
    """A seed that comes with the job's noise model decides its counts."""
    async with hosted(bench) as host:
        chosen = [backend for backend in _seeded(host) if backend.noise_models]
        if not chosen:
            raise Skipped("it declares no noise models")
        for backend in chosen:
            name, model = next(iter(backend.noise_models.items()))
            circuit = _circuit(host, backend)
            if circuit.width > model.qubits:
                continue
            counts = []
            for seed in (11, 11, 12):
                noise = Noise(model=name, seed=seed)
                counts.append(await host.run(backend, circuit, shots=_shots(host, backend), noise=noise))
            assert _same(counts[0], counts[1]), (
                f"noise seed 11 gave {counts[0].counts}, and then {counts[1].counts}; {_DERIVE}"
            )
            if not any(_certain(each) for each in counts):
                assert not _same(counts[0], counts[2]), f"noise seeds 11 and 12 gave the same counts; {_DERIVE}"


def _seeded(host: Host) -> list[Capabilities]:
    chosen = [backend for backend in host.backends if backend.seeded]
    if not chosen:
        raise Skipped("it declares that its counts follow no seed")
    return chosen


def _shots(host: Host, backend: Capabilities) -> int:
    return min(_SHOTS, host.bench.most_shots(backend))


def _circuit(host: Host, backend: Capabilities) -> Circuit:
    """A random one where results follow the circuit and it can run; else the plain one."""
    random = known.spread(backend)
    return random if backend.physics and known.runs(backend, random) else host.bench.circuit(backend, 1)


async def _counted(host: Host, backend: Capabilities, *, one_by_one: bool) -> list[tuple[int, Result]]:
    """Seeds and results of a few jobs."""
    circuit, shots = _circuit(host, backend), _shots(host, backend)
    what = f"a job on {backend.backend}"
    jobs = []
    for _ in range(_JOBS):
        jobs.append(await host.submit(backend, circuit, shots=shots))
        if one_by_one:
            await host.completed(jobs[-1], what)
    return [(job.spec.seed, await host.completed(job, what)) for job in jobs]


def _same(one: Result, two: Result) -> bool:
    return (one.counts, one.shots) == (two.counts, two.shots)


def _certain(result: Result) -> bool:
    return result.counts is None or max(result.probabilities.values()) > _CERTAIN

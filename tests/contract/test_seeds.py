"""One seed, one result: through every door, on backends with and without noise to choose."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import anyio.to_thread
import msgspec
import pytest
from click.testing import CliRunner

from orchestrator.backends.abc import Attempt, NoiseModel
from orchestrator.circuits.ir import Circuit, Gate
from orchestrator.cli.submit import command
from orchestrator.model import Noise, Result
from orchestrator.testing.adapters import ScriptedAdapter
from tests.contract.harness import BELL, MULTI, Service, launched

BELLS = Circuit(qubits=2, gates=(Gate("h", (0,)), Gate("x", (1,), (0,))))
SEEDED = {**BELL, "backend": "dice", "shots": 500, "noise": {"model": "ideal", "seed": 9}}


def thrown(attempt: Attempt) -> Result:
    """Fair dice, by the seed of the job."""
    shots, rng = attempt.job.spec.shots, random.Random(attempt.job.spec.seed)
    zeros = sum(rng.random() < 0.5 for _ in range(shots))
    counts = {0: zeros, 3: shots - zeros}
    return Result(qubits=2, probabilities={key: count / shots for key, count in counts.items()}, counts=counts)


def dice(**members: Any) -> ScriptedAdapter:
    return ScriptedAdapter("dice", answer=thrown, **members)


async def commanded(service: Service, folder: Path, *options: str) -> str:
    """The id of the job that ``orchestrator submit`` makes of Bell's circuit."""
    _, secret = await service.orchestrator.accounts.add_key(service.orchestrator.project.id, "command")
    (folder / "bell.json").write_bytes(msgspec.json.encode(BELL["input"]))
    arguments = [
        str(folder / "bell.json"),
        "--url",
        service.bound.url,
        "--key",
        secret,
        "--backend",
        "dice",
        "--shots",
        "500",
        *options,
    ]
    done = await anyio.to_thread.run_sync(lambda: CliRunner().invoke(command, arguments))
    assert done.exit_code == 0, done.output
    return done.output.strip()


@pytest.mark.parametrize("models", [{}, {"ideal": NoiseModel(qubits=3)}], ids=["no-models", "models"])
async def test_a_seed_gives_the_same_counts_through_every_door(models: dict[str, NoiseModel], tmp_path: Path) -> None:
    """HTTP in both versions, the command line and an embedder: the seed is the job's, also where nothing is noisy."""
    async with launched(beside=[dice(noise_models=models)]) as service:
        client, orchestrator = await service.client(), service.orchestrator
        old = {"target": "dice", "shots": 500, "noise": {"model": "ideal", "seed": 9}, "input": BELL["input"]}
        seeded = [
            await client.submit(SEEDED),
            await client.submit(SEEDED),
            await client.submit(old, "v0.3"),
            await commanded(service, tmp_path, "--seed", "9"),
            (await orchestrator.submit(BELLS, backend="dice", shots=500, noise=Noise(seed=9))).id,
        ]
        found = [(await orchestrator.result(job_id)).counts for job_id in seeded]
        assert found == [found[0]] * len(found)
        assert {(await orchestrator.get(job_id)).spec.seed for job_id in seeded} == {9}
        drawn = [await client.submit({**BELL, "backend": "dice"}) for _ in range(2)]
        assert len({(await orchestrator.get(job_id)).spec.seed for job_id in drawn}) == 2


async def test_circuits_of_one_job_share_a_seed_that_was_given() -> None:
    """As on a backend with noise models; without one each circuit draws its own."""
    async with launched(beside=[dice()]) as service:
        client, orchestrator = await service.client(), service.orchestrator
        for body, seeds in (({**MULTI, "noise": {"model": "ideal", "seed": 9}}, 1), (MULTI, 3)):
            parent = await orchestrator.get(await client.submit({**body, "backend": "dice"}))
            children = await orchestrator.children(parent.id)
            assert len({child.spec.seed for child in children}) == seeds


async def test_a_seed_asks_for_no_noise() -> None:
    """The model `ideal` stays left out where there are no models; another one fails the job, seed or not."""
    async with launched(beside=[dice()]) as service:
        client, orchestrator = await service.client(), service.orchestrator
        job = await orchestrator.wait(await client.submit(SEEDED))
        assert job.spec.noise is None
        noisy = await orchestrator.wait(await client.submit({**SEEDED, "noise": {"model": "aria-1", "seed": 9}}))
        assert noisy.outcome.failure is not None
        assert noisy.outcome.failure.code == "InvalidInput"


async def test_a_clone_on_a_backend_without_noise_keeps_the_seed() -> None:
    """The old job's model is not asked for there, its seed is."""
    async with launched(beside=[dice()]) as service:
        client, orchestrator = await service.client(), service.orchestrator
        old = await client.submit({**BELL, "noise": {"model": "aria-1", "seed": 9}})
        status, answer = await client.ask("POST", f"/v0.4/jobs/{old}/clone", {"backend": "dice"})
        assert status == 201
        spec = (await orchestrator.get(answer["id"])).spec
        assert (spec.seed, spec.noise) == (9, None)

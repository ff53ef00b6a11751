"""What a job asks beyond its backend, over a real socket: accepted, then failed with the contract's code."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.backends.abc import NoiseModel
from orchestrator.testing.adapters import ScriptedAdapter
from tests.contract.harness import BELL, Service, launched

NATIVE = {"gateset": "native", "qubits": 2, "circuit": [{"gate": "zz", "targets": [0, 1], "angle": 0.25}]}
WIDE = {"gateset": "qis", "qubits": 9, "circuit": [{"gate": "h", "targets": list(range(9))}]}
FLIPS = {"gateset": "qis", "qubits": 1, "circuits": [{"circuit": [{"gate": "x", "target": 0}]}] * 3}
MULTI = {"type": "ionq.multi-circuit.v1", "input": FLIPS}

#: What is asked beyond `small`, the code, and a word of the message.
BEYOND: list[tuple[dict[str, Any], str, str]] = [
    ({"input": WIDE}, "NotEnoughQubits", "9 qubits"),
    ({"shots": 501}, "TooManyShots", "500 shots"),
    ({"input": NATIVE}, "UnsupportedGate", "no zz"),
    ({"noise": {"model": "aria-1"}}, "InvalidInput", "noise model aria-1"),
    ({"settings": {"error_mitigation": {"symmetry_verification": True}}}, "DebiasingError", "symmetry verification"),
    ({"settings": {"error_mitigation": {"debias": True}}}, "DebiasingError", "at least 500 shots"),
    (MULTI, "PreflightError", "at most 2"),
]


async def asked(service: Service, backend: str, **members: Any) -> dict[str, Any]:
    """The job, once it has ended, that a submit of Bell's circuit with these members makes."""
    client = await service.client()
    job_id = await client.submit({**BELL, "backend": backend, **members})
    await service.orchestrator.wait(job_id, timeout_s=10)
    _, job = await client.ask("GET", f"/v0.4/jobs/{job_id}")
    found: dict[str, Any] = job
    return found


@pytest.mark.parametrize("instant", [True, False], ids=["instant", "prepared"])
@pytest.mark.parametrize(("members", "code", "word"), BEYOND, ids=[f"{code}-{word}" for _, code, word in BEYOND])
async def test_what_is_asked_beyond_a_backend_fails_the_job(
    members: dict[str, Any], code: str, word: str, instant: bool
) -> None:
    """The submit is answered 201; the job fails with a code of the contract and says what the limit is."""
    small = ScriptedAdapter(
        "small",
        kind="qpu",
        native_gates=("gpi", "gpi2", "ms"),
        max_shots=500,
        max_circuits=2,
        error_mitigations=("debiasing",),
        instant_prepare=instant,
    )
    async with launched(beside=[small]) as service:
        job = await asked(service, "small", **members)
        assert (job["status"], job["failure"]["code"]) == ("failed", code)
        assert word in job["failure"]["message"]
        assert small.seen == []
        assert (await service.orchestrator.verify()).problems == ()


async def test_what_a_backend_offers_is_run() -> None:
    """Nothing is refused that is within the limits, nor that asks for nothing."""
    able = ScriptedAdapter(
        "able",
        native_gates=("gpi", "zz"),
        error_mitigations=("debiasing", "symmetry_verification"),
        noise_models={"wild": NoiseModel(qubits=2)},
    )
    plain = ScriptedAdapter("plain", native_gates=("gpi",))
    mitigated = {"error_mitigation": {"debiasing": True, "symmetry_verification": True}}
    idle = {**NATIVE, "circuit": [{"gate": "nop", "target": 0}, {"gate": "gpi", "target": 0, "phase": 0}]}
    async with launched(beside=[able, plain]) as service:
        for backend, members in (
            ("able", {"input": NATIVE}),
            ("able", {"shots": 500, "settings": mitigated}),
            ("able", {"noise": {"model": "wild"}}),
            ("plain", {"input": idle}),
            ("plain", {"noise": {"model": "ideal", "seed": 3}}),
            ("plain", {"settings": {"error_mitigation": {"debiasing": False}}}),
            ("plain", {"settings": {"error_mitigation": {"of_tomorrow": True}}}),
        ):
            job = await asked(service, backend, **members)
            assert job["status"] == "completed", (members, job["failure"])


async def test_a_job_moved_from_a_simulator_leaves_its_noise_behind() -> None:
    """Noise that only the old backend knows is not asked of the new one; noise that is asked for is."""
    plain = ScriptedAdapter("plain")
    async with launched(beside=[plain]) as service:
        client = await service.client()
        noisy = await client.submit({**BELL, "noise": {"model": "aria-1", "seed": 4}})
        outcomes = []
        for members in ({"backend": "plain"}, {"backend": "plain", "noise": {"model": "aria-1"}}):
            _, made = await client.ask("POST", f"/v0.4/jobs/{noisy}/clone", members)
            outcomes.append((await service.orchestrator.wait(made["id"], timeout_s=10)).status)
        assert outcomes == ["completed", "failed"]


async def test_only_what_the_contract_calls_a_bad_request_is_one() -> None:
    """Limits of the contract are refused at the submit, whatever the backend allows."""
    many = {"circuit": [{"gate": "x", "target": 0}]}
    async with launched(beside=[ScriptedAdapter("roomy", max_circuits=10_000, max_shots=10**9)]) as service:
        client = await service.client()
        for members in (
            {"shots": 1_000_001},
            {"type": "ionq.multi-circuit.v1", "input": {"gateset": "qis", "qubits": 1, "circuits": [many] * 5_001}},
        ):
            status, _ = await client.ask("POST", "/v0.4/jobs", {**BELL, "backend": "roomy", **members})
            assert status == 400

"""qiskit-ionq 0.5.13, which speaks v0.3."""

from __future__ import annotations

import os
from typing import Any

import harness
import requests
from harness import check, raises, within
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister, transpile
from qiskit.providers import JobStatus
from qiskit_ionq import ErrorMitigation, GPI2Gate, GPIGate, IonQProvider, MSGate, ZZGate, exceptions
from qiskit_shared import (
    bell,
    commonest,
    each_gate,
    expected,
    finished,
    ghz,
    in_order,
    laborious,
    lopsided,
    measured,
    same,
    spelled,
    spread,
    states,
    too_wide,
)

os.environ["IONQ_API_URL"] = f"{harness.URL}/v0.3"
os.environ["IONQ_API_TOKEN"] = harness.KEY
provider = IonQProvider()
simulator = provider.get_backend("ionq_simulator")
aria = provider.get_backend("qpu.aria-1")
forte = provider.get_backend("ionq_qpu.forte-1")


def ran(backend: Any, circuit: Any, **options: Any) -> Any:
    """The finished job."""
    job = backend.run(circuit, **options)
    job.wait_for_final_state(wait=0.02, timeout=20)
    return job


def raw(job: Any) -> dict[int, float]:
    """Every probability of a job, as the server gave it."""
    return {int(outcome): p for outcome, p in job._client.get_results(job.job_id()).items()}


@check
def classic_example() -> None:
    """The example of the vendor's documentation, with only the URL set."""
    counts = aria.run(bell(), shots=500).result(wait=0.05).get_counts()
    assert sum(counts.values()) == 500, counts
    assert counts["00"] + counts["11"] > 450, counts


@check
def each_gate_is_exact() -> None:
    """Every gate the client can send equals Qiskit's state vector."""
    for name, circuit in each_gate().items():
        try:
            same(raw(ran(simulator, measured(circuit))), expected(circuit))
        except AssertionError as error:
            raise AssertionError(name) from error


@check
def many_circuits_are_exact_and_in_order() -> None:
    """One job of many circuits of different widths."""
    circuits = list(each_gate().values()) + [finished(lopsided(width)) for width in (1, 5, 2, 6)]
    job = ran(simulator, [measured(circuit) for circuit in circuits])
    found = job._client.get_results(job.job_id())
    for got, circuit in zip(found.values(), circuits, strict=True):
        same({int(outcome): p for outcome, p in got.items()}, expected(circuit))
    result = job.result()
    assert sum(result.get_counts(3).values()) == 1024
    assert len(result.get_probabilities()) == len(circuits)


@check
def transpiled_circuits_are_exact() -> None:
    """A transpiled circuit is padded to the backend's width; its idle wires cost nothing."""
    circuit = finished(lopsided(4))
    for level in (0, 1, 3):
        job = ran(simulator, transpile(measured(circuit), simulator, optimization_level=level), shots=100_000)
        same({int(outcome, 2): p for outcome, p in job.get_probabilities().items()}, expected(circuit))


@check
def measurements_follow_their_registers() -> None:
    """The server keeps `registers.meas_mapped`: permuted bits, unmeasured qubits, fewer bits than qubits."""
    wires, low, high = QuantumRegister(4, "q"), ClassicalRegister(2, "low"), ClassicalRegister(3, "high")
    circuit = QuantumCircuit(wires, low, high)
    circuit.x(wires[0])
    circuit.x(wires[3])
    circuit.measure(wires[3], low[1])
    circuit.measure(wires[0], high[2])
    circuit.measure(wires[1], high[0])
    narrow = QuantumCircuit(5, 2)
    narrow.x(4)
    narrow.h(2)
    narrow.measure([4, 3], [0, 1])
    assert ran(simulator, circuit, shots=10).get_counts() == {"100 10": 10}
    assert ran(simulator, narrow, shots=10).get_counts() == {"01": 10}
    assert ran(aria, narrow, shots=200).get_counts()["01"] > 180
    together = ran(simulator, [narrow, circuit, bell()], shots=10).result()
    assert together.get_counts(0) == {"01": 10}
    assert together.get_counts(1) == {"100 10": 10}
    assert set(together.get_counts(2)) <= {"00", "11"}


@check
def counts_are_a_plausible_draw() -> None:
    """Counts of an ideal job follow its probabilities."""
    circuit = finished(lopsided(3))
    wanted = {f"{outcome:03b}": p for outcome, p in expected(circuit).items()}
    spread(ran(simulator, measured(circuit), shots=4000).get_counts(), 4000, wanted)


@check
def noise_repeats_by_seed() -> None:
    """A noisy job counts whole shots and repeats by its seed."""
    for model in ("aria-1", "aria-2", "forte-1", "harmony"):
        noisy = provider.get_backend("ionq_simulator")
        noisy.set_options(noise_model=model, sampler_seed=11)
        first = ran(noisy, ghz(6), shots=2000).get_counts()
        assert first == ran(noisy, ghz(6), shots=2000).get_counts()
        assert sum(first.values()) == 2000
        assert len(first) > 2


@check
def native_gates_are_exact() -> None:
    """GPi, GPi2, MS and ZZ with angles of their own."""
    native = provider.get_backend("ionq_simulator", gateset="native")
    circuit = QuantumCircuit(3)
    for gate, wires in (
        (GPI2Gate(0.13), [0]),
        (GPIGate(-0.4), [1]),
        (GPI2Gate(0.71), [2]),
        (MSGate(0.1, -0.3, 0.2), [2, 0]),
        (ZZGate(0.17), [1, 2]),
        (GPI2Gate(0.33), [1]),
        (GPI2Gate(0.91), [2]),
    ):
        circuit.append(gate, wires)
    same(raw(ran(native, measured(circuit))), expected(circuit))


@check
def processors_know_which_qubit_is_which() -> None:
    """Bit order survives compilation and readout; a parent's counts come in circuit order."""
    for backend in (aria, forte):
        circuit = QuantumCircuit(5, 5)
        circuit.x([0, 3])
        circuit.cx(3, 1)
        circuit.swap(0, 4)
        circuit.measure(range(5), [4, 3, 2, 1, 0])
        assert commonest(ran(backend, circuit, shots=300).get_counts()) == "01011"
    result = ran(aria, [spelled(value, 2) for value in range(4)], shots=200).result()
    assert [commonest(counts) for counts in result.get_counts()] == ["00", "01", "10", "11"]


@check
def states_are_qiskits() -> None:
    """Submitted shows as initializing, ready as queued, started as running, completed as done."""
    compiling = aria.run(laborious(6, 150), shots=10)
    assert states(compiling)[0][0] == "INITIALIZING"
    running, waiting = states(aria.run(laborious(10, 8), shots=2000), aria.run(bell(), shots=10))
    assert "RUNNING" in running, running
    assert "QUEUED" in waiting, waiting
    assert in_order(running), running
    assert in_order(waiting), waiting


@check
def detail_counts_children() -> None:
    """The detailed status of a job of many circuits."""
    job = ran(simulator, [ghz(2), ghz(3)], shots=10)
    detail = job.status(detailed=True)
    assert (detail["total"], detail["completed"], detail["failed"]) == (2, 2, 0)
    assert detail["statuses"] == [JobStatus.DONE, JobStatus.DONE]


@check
def metadata_comes_back() -> None:
    """Name, metadata of the circuit and of the job, and unknown members."""
    circuit = bell()
    circuit.name = "größe"
    circuit.metadata = {"theta": 0.5}
    job = ran(
        simulator,
        circuit,
        shots=20,
        extra_metadata={"experiment": "e-1", "ionq_compiler_synthesis": True},
        extra_query_params={"unheard_of": [1]},
    )
    assert job._metadata["name"] == "größe"
    assert job._metadata["metadata"]["experiment"] == "e-1"
    assert job.result().results[0].header.metadata == {"theta": 0.5}


@check
def settings_are_accepted() -> None:
    """Mitigation, compilation and sharpening."""
    job = ran(aria, bell(), shots=600, error_mitigation=ErrorMitigation.DEBIASING, job_settings={"unheard_of": 1})
    assert job._metadata["error_mitigation"] == {"debias": True}
    for sharpen in (None, True, False):
        assert sum(job.result(sharpen=sharpen).get_counts().values()) == 600
    assert job.result(extra_query_params={"anything": 1}) is not None


@check
def cancel_at_once_and_later() -> None:
    """Cancel right after submission, and of a job that has ended, both answer."""
    job = aria.run(too_wide(10), shots=1000)
    job.cancel()
    within(10, lambda: job.status() in {JobStatus.CANCELLED, JobStatus.DONE})
    if job.status() is JobStatus.CANCELLED:
        raises(exceptions.IonQJobStateError, job.result)
    done = ran(simulator, bell())
    assert simulator.cancel_job(done.job_id()) == {"id": done.job_id(), "status": "canceled"}
    assert sum(done.get_counts().values()) == 1024


@check
def failed_jobs_say_why() -> None:
    """A circuit wider than its backend or model is accepted and fails with the code and the reason."""
    error = raises(exceptions.IonQJobFailureError, lambda: ran(aria, too_wide(27)).result())
    assert "NotEnoughQubits" in str(error), error
    error = raises(exceptions.IonQJobFailureError, lambda: ran(aria, [bell(), too_wide(27)]).result())
    assert "NotEnoughQubits" in str(error), error


@check
def refusals_reach_the_user() -> None:
    """A 4xx carries the vendor's body into the client's exception."""
    error = raises(exceptions.IonQAPIError, lambda: simulator.run(bell(), shots=0))
    assert (error.status_code, error.error_type) == (400, "Bad Request"), error
    unheard = provider.get_backend("ionq_qpu.unheard-of")
    error = raises(exceptions.IonQAPIError, lambda: unheard.run(bell()))
    assert error.status_code == 400, error
    assert "target" in str(error), error
    error = raises(exceptions.IonQAPIError, lambda: simulator.retrieve_job("0197c3a2-4f10-7e6b-8a2d-5d7c1b0e9f31"))
    assert (error.status_code, error.error_type) == (404, "Not Found Error"), error
    stranger = IonQProvider("not-a-key", url=f"{harness.URL}/v0.3").get_backend("ionq_simulator")
    error = raises(exceptions.IonQAPIError, lambda: stranger.run(bell()))
    assert (error.status_code, error.error_type) == (401, "Unauthorized Error"), error


@check
def retrieve_and_delete() -> None:
    """A job is found again by id, and no longer once deleted."""
    job = ran(simulator, [ghz(2), ghz(3)], shots=30)
    again = simulator.retrieve_job(job.job_id())
    assert [sum(counts.values()) for counts in again.result().get_counts()] == [30, 30]
    assert simulator.client.delete_job(job.job_id()) == {"id": job.job_id(), "status": "deleted"}
    assert raises(exceptions.IonQAPIError, lambda: simulator.retrieve_job(job.job_id())).status_code == 404


@check
def calibrations_describe_processors() -> None:
    """The current characterization, in the words of this version."""
    found = aria.calibration()
    assert (found.target, found.num_qubits) == ("qpu.aria-1", 25)
    assert len(found.connectivity) == 300
    assert 0.9 < found.fidelities["spam"]["mean"] <= 1
    assert "2q" in found.timings
    assert found.uuid
    assert found.calibration_time is not None
    assert aria.status().operational


@check
def both_versions_show_one_job() -> None:
    """A job of this client, seen through v0.4: same facts in the other words."""
    job = ran(simulator, [bell(), ghz(3)], shots=64)
    headers = {"Authorization": f"apiKey {harness.KEY}"}
    old = requests.get(f"{harness.URL}/v0.3/jobs/{job.job_id()}", headers=headers, timeout=10).json()
    new = requests.get(f"{harness.URL}/v0.4/jobs/{job.job_id()}", headers=headers, timeout=10).json()
    assert old["target"] == new["backend"] == "simulator"
    assert old["children"] == new["child_job_ids"]
    assert old["metadata"] == new["metadata"]
    assert (old["qubits"], old["circuits"]) == (new["stats"]["qubits"], new["stats"]["circuits"]) == (3, 2)
    assert new["type"] == "ionq.multi-circuit.v1"
    found = requests.get(harness.URL + new["results"]["probabilities"]["url"], headers=headers, timeout=10).json()
    assert found == requests.get(harness.URL + old["results_url"], headers=headers, timeout=10).json()


if __name__ == "__main__":
    harness.main()

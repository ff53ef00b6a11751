"""qiskit-ionq 1.1.1, which speaks v0.4."""

from __future__ import annotations

import os
from typing import Any

import harness
from harness import check, raises, within
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister, transpile
from qiskit.circuit.random import random_circuit
from qiskit.providers import JobStatus
from qiskit_ionq import ErrorMitigation, GPI2Gate, GPIGate, IonQProvider, MSGate, ZZGate, exceptions
from qiskit_ionq.ionq_session import Session
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

os.environ["IONQ_API_URL"] = f"{harness.URL}/v0.4"
os.environ["IONQ_API_KEY"] = harness.KEY
provider = IonQProvider()
simulator = provider.get_backend("simulator")
aria = provider.get_backend("qpu.aria-1")
forte = provider.get_backend("qpu.forte-1")


def ran(backend: Any, circuit: Any, **options: Any) -> Any:
    """The finished job."""
    job = backend.run(circuit, **options)
    job.wait_for_final_state(wait=0.02, timeout=20)
    return job


def raw(job: Any) -> dict[int, float]:
    """Every probability of a job, as the server gave it."""
    found = job._client.get_results(job._results_urls["probabilities"])
    return {int(outcome): p for outcome, p in found.items()}


@check
def classic_example() -> None:
    """The example of the vendor's documentation, with only the URL set."""
    job = aria.run(bell(), shots=500)
    counts = job.result(wait=0.05).get_counts()
    assert sum(counts.values()) == 500, counts
    assert counts["00"] + counts["11"] > 450, counts


@check
def widths_come_from_the_server() -> None:
    """`get_n_qubits` asks the server, without a key."""
    assert (simulator.num_qubits, aria.num_qubits, forte.num_qubits) == (29, 25, 36)


@check
def each_gate_is_exact() -> None:
    """Every gate the client can send equals Qiskit's state vector."""
    circuits = each_gate()
    for name, circuit in circuits.items():
        job = ran(simulator, measured(circuit))
        try:
            same(raw(job), expected(circuit))
        except AssertionError as error:
            raise AssertionError(name) from error


@check
def many_circuits_are_exact_and_in_order() -> None:
    """One job of many circuits of different widths."""
    circuits = list(each_gate().values()) + [finished(lopsided(width)) for width in (1, 5, 2, 6)]
    job = ran(simulator, [measured(circuit) for circuit in circuits])
    found = job._client.get_results(job._results_urls["probabilities"])
    assert len(found) == len(circuits)
    for got, circuit in zip(found.values(), circuits, strict=True):
        same({int(outcome): p for outcome, p in got.items()}, expected(circuit))
    result = job.result()
    assert len(result.results) == len(circuits)
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
    """Registers, permuted bits, unmeasured qubits and fewer bits than qubits."""
    wires, low, high = QuantumRegister(4, "q"), ClassicalRegister(2, "low"), ClassicalRegister(3, "high")
    circuit = QuantumCircuit(wires, low, high)
    circuit.x(wires[0])
    circuit.x(wires[3])
    circuit.measure(wires[3], low[1])
    circuit.measure(wires[0], high[2])
    circuit.measure(wires[1], high[0])
    assert ran(simulator, circuit, shots=10).get_counts() == {"100 10": 10}
    narrow = QuantumCircuit(5, 2)
    narrow.x(4)
    narrow.h(2)
    narrow.measure([4, 3], [0, 1])
    assert ran(simulator, narrow, shots=10).get_counts() == {"01": 10}
    assert ran(aria, narrow, shots=200).get_counts()["01"] > 180


@check
def counts_are_a_plausible_draw() -> None:
    """Counts and probabilities of an ideal job agree."""
    circuit = finished(lopsided(3))
    wanted = {f"{outcome:03b}": p for outcome, p in expected(circuit).items()}
    job = ran(simulator, measured(circuit), shots=4000)
    spread(job.get_counts(), 4000, wanted)
    for outcome, p in job.get_probabilities().items():
        assert abs(p - wanted[outcome]) < 1e-9


@check
def noise_repeats_by_seed() -> None:
    """A noisy job counts whole shots, differs from the ideal one, and repeats by its seed."""
    wanted: dict[str, float] = {"000000": 0.5, "111111": 0.5}
    for model in ("aria-1", "aria-2", "forte-1", "forte-enterprise-1", "harmony"):
        noisy = provider.get_backend("simulator")
        noisy.set_options(noise_model=model, sampler_seed=11)
        first = ran(noisy, ghz(6), shots=2000).get_counts()
        assert first == ran(noisy, ghz(6), shots=2000).get_counts()
        assert sum(first.values()) == 2000
        assert set(first) - set(wanted), (model, first)
        noisy.set_options(sampler_seed=12)
        assert first != ran(noisy, ghz(6), shots=2000).get_counts()


@check
def noise_is_accepted_at_run() -> None:
    """`run(noise_model=...)` names a model for one job; it shows on the job."""
    job = ran(simulator, ghz(4), noise_model="aria-1", shots=300)
    assert job._metadata["noise"]["model"] == "aria-1"
    assert sum(job.get_counts().values()) == 300


@check
def native_gates_are_exact() -> None:
    """GPi, GPi2, MS and ZZ with angles of their own."""
    native = provider.get_backend("simulator", gateset="native")
    circuit = QuantumCircuit(3)
    for gate, wires in (
        (GPI2Gate(0.13), [0]),
        (GPIGate(-0.4), [1]),
        (GPI2Gate(0.71), [2]),
        (MSGate(0.1, -0.3, 0.2), [2, 0]),
        (ZZGate(0.17), [1, 2]),
        (GPI2Gate(0.33), [1]),
        (MSGate(0, 0.25), [0, 1]),
        (GPI2Gate(0.91), [2]),
    ):
        circuit.append(gate, wires)
    job = ran(native, measured(circuit))
    same(raw(job), expected(circuit))
    job = ran(native, [measured(circuit), measured(circuit)])
    for found in job._client.get_results(job._results_urls["probabilities"]).values():
        same({int(outcome): p for outcome, p in found.items()}, expected(circuit))


@check
def circuits_compiled_by_the_client_are_exact() -> None:
    """Random circuits transpiled to either gate set: the client's native phases go beyond one turn."""
    for seed in range(8):
        circuit = random_circuit(4, 4, max_operands=3, seed=seed)
        whole = circuit.copy()
        whole.measure_all()
        device = provider.get_backend(("qpu.aria-1", "qpu.forte-1")[seed % 2], gateset="native")
        for target, gateset in ((simulator, "qis"), (device, "native")):
            compiled = transpile(whole, target, optimization_level=seed % 4, seed_transpiler=seed)
            job = ran(provider.get_backend("simulator", gateset=gateset), compiled, shots=100_000)
            wanted = expected(circuit)
            for outcome, p in job.get_probabilities().items():
                assert abs(p - wanted.get(int(outcome, 2), 0)) < 1e-9, (seed, gateset, outcome)


@check
def native_gates_run_on_processors() -> None:
    """Transpiled to native gates, Aria by MS and Forte by ZZ."""
    for name in ("qpu.aria-1", "qpu.aria-2", "qpu.forte-1", "qpu.forte-enterprise-1"):
        backend = provider.get_backend(name, gateset="native")
        counts = ran(backend, transpile(ghz(3), backend, optimization_level=1), shots=400).get_counts()
        assert sum(counts.values()) == 400, (name, counts)
        assert counts["000"] + counts["111"] > 340, (name, counts)


@check
def processors_know_which_qubit_is_which() -> None:
    """Bit order survives compilation and readout."""
    for backend in (aria, forte):
        circuit = QuantumCircuit(5, 5)
        circuit.x([0, 3])
        circuit.cx(3, 1)
        circuit.swap(0, 4)
        circuit.measure(range(5), [4, 3, 2, 1, 0])
        assert commonest(ran(backend, circuit, shots=300).get_counts()) == "01011"


@check
def processors_run_many_circuits() -> None:
    """A parent's counts come in circuit order."""
    result = ran(aria, [spelled(value, 2) for value in range(4)], shots=200).result()
    assert [commonest(counts) for counts in result.get_counts()] == ["00", "01", "10", "11"]


@check
def memory_is_per_shot() -> None:
    """`memory=True` fetches shots: of a processor, of a noisy model, and of each child."""
    circuit = QuantumCircuit(3, 2)
    circuit.x(2)
    circuit.measure([2, 0], [1, 0])
    job = ran(aria, circuit, shots=150, memory=True)
    memory = job.get_memory()
    assert len(memory) == 150
    assert max(set(memory), key=memory.count) == "10"
    noisy = provider.get_backend("simulator")
    noisy.set_options(noise_model="aria-1")
    job = ran(noisy, [ghz(3), ghz(2)], shots=120, memory=True)
    result = job.result()
    assert len(result.get_memory(0)) == 120
    assert {len(shot) for shot in result.get_memory(1)} == {2}
    tallied: dict[str, int] = {}
    for shot in result.get_memory(0):
        tallied[shot] = tallied.get(shot, 0) + 1
    assert tallied == result.get_counts(0)


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
    assert job.status() is JobStatus.DONE
    detail = job.status(detailed=True)
    assert (detail["total"], detail["completed"], detail["failed"]) == (2, 2, 0)
    assert detail["statuses"] == [JobStatus.DONE, JobStatus.DONE]


@check
def metadata_comes_back() -> None:
    """Name, metadata of the circuit and of the job, and unknown members."""
    circuit = bell()
    circuit.name = "größe"
    circuit.metadata = {"theta": 0.5, "tags": ["a", "b"]}
    job = ran(
        simulator,
        circuit,
        shots=20,
        extra_metadata={"experiment": "e-1", "ionq_compiler_synthesis": True},
        extra_query_params={"unheard_of": {"a": [1]}},
    )
    kept = job._metadata
    assert kept["name"] == "größe"
    assert kept["metadata"]["experiment"] == "e-1"
    assert kept["metadata"]["shots"] == "20"
    assert kept["shots"] == 20
    header = job.result().results[0].header
    header = header if isinstance(header, dict) else header.to_dict()
    assert header["metadata"] == {"theta": 0.5, "tags": ["a", "b"]}
    assert ran(simulator, bell(), name="mine")._metadata["name"] == "mine"


@check
def pauli_evolution_with_synthesis() -> None:
    """Terms that do not commute are one Trotter step in the listed order."""
    import numpy as np
    from qiskit.circuit.library import PauliEvolutionGate
    from qiskit.quantum_info import Operator, SparsePauliOp, Statevector

    terms, weights, time = ["XZ", "YI", "ZX"], [0.7, -0.4, 1.1], 0.6
    circuit = lopsided(2)
    circuit.append(PauliEvolutionGate(SparsePauliOp(terms, weights), time=time), [1, 0])
    circuit.measure_all()
    job = ran(simulator, circuit, extra_metadata={"ionq_compiler_synthesis": True})
    state = Statevector.from_instruction(lopsided(2))
    for term, weight in zip(terms, weights, strict=True):
        pauli = SparsePauliOp([term]).to_matrix()
        step = np.cos(weight * time) * np.eye(4) - 1j * np.sin(weight * time) * pauli
        state = state.evolve(Operator(step), qargs=[1, 0])
    same(raw(job), {index: float(p) for index, p in enumerate(state.probabilities())})


@check
def settings_are_accepted() -> None:
    """Mitigation, compilation and sharpening."""
    job = ran(
        aria,
        bell(),
        shots=600,
        error_mitigation=ErrorMitigation.DEBIASING,
        job_settings={"compilation": {"opt": 1, "precision": "1E-3"}},
    )
    settings = job._metadata["settings"]
    assert settings["error_mitigation"] == {"debiasing": True}
    assert settings["compilation"]["opt"] == 1
    for sharpen in (None, True, False):
        assert sum(job.result(sharpen=sharpen).get_counts().values()) == 600
    assert job.result(extra_query_params={"anything": 1}) is not None
    plain = ran(aria, bell(), shots=100, error_mitigation=ErrorMitigation.NO_DEBIASING)
    assert plain._metadata["settings"]["error_mitigation"] == {"debiasing": False}


@check
def dry_run_compiles_only() -> None:
    """A dry run has no results but, on a processor, a native circuit."""
    job = ran(aria, bell(), shots=100, dry_run=True)
    assert job.status() is JobStatus.DONE
    assert job.dry_run
    raises(exceptions.IonQJobError, job.result)
    native = job.compiled_circuit()
    names = {gate["gate"] for gate in native["circuit"]}
    assert names <= {"gpi", "gpi2", "ms", "zz"}, names
    assert native == job.compiled_circuit("ionq.native.v1")
    assert native["qubits"] == 2
    raises(exceptions.IonQJobError, lambda: job.compiled_circuit("ore"))
    assert ran(simulator, bell(), dry_run=True).dry_run


@check
def compiled_circuit_equals_the_original() -> None:
    """The native circuit offered by a job gives the outcomes of the circuit sent."""
    circuit = finished(lopsided(3))
    for backend in (aria, forte):
        compiled = ran(backend, measured(circuit), shots=100).compiled_circuit()
        rebuilt = QuantumCircuit(3)
        for gate in compiled["circuit"]:
            if gate["gate"] == "gpi":
                rebuilt.append(GPIGate(gate["phase"]), [gate["target"]])
            elif gate["gate"] == "gpi2":
                rebuilt.append(GPI2Gate(gate["phase"]), [gate["target"]])
            elif gate["gate"] == "ms":
                rebuilt.append(MSGate(*gate["phases"], gate.get("angle", 0.25)), gate["targets"])
            else:
                rebuilt.append(ZZGate(gate["angle"]), gate["targets"])
        same(expected(rebuilt), expected(circuit))


@check
def cancel_at_once_and_later() -> None:
    """Cancel right after submission, and of a job that has ended, both answer; a canceled job has no result."""
    job = aria.run(too_wide(10), shots=1000)
    job.cancel()
    within(10, lambda: job.status() in {JobStatus.CANCELLED, JobStatus.DONE})
    if job.status() is JobStatus.CANCELLED:
        raises(exceptions.IonQJobStateError, job.result)
    done = ran(simulator, bell())
    done.cancel()
    assert sum(done.get_counts().values()) == 1024
    assert simulator.cancel_job(done.job_id())["id"] == done.job_id()
    jobs = [simulator.run(bell()) for _ in range(3)]
    answers = simulator.cancel_jobs([job.job_id() for job in jobs])
    assert [answer["status"] for answer in answers] == ["canceled"] * 3


@check
def failed_jobs_say_why() -> None:
    """A circuit wider than its backend or model is accepted and fails with the code and the reason."""
    error = raises(exceptions.IonQJobFailureError, lambda: ran(aria, too_wide(27)).result())
    assert "NotEnoughQubits" in str(error), error
    assert "25" in str(error), error
    noisy = provider.get_backend("simulator")
    noisy.set_options(noise_model="harmony")
    error = raises(exceptions.IonQJobFailureError, lambda: ran(noisy, too_wide(12)).result())
    assert "NotEnoughQubits" in str(error), error
    error = raises(exceptions.IonQJobFailureError, lambda: ran(aria, [bell(), too_wide(27)]).result())
    assert "NotEnoughQubits" in str(error), error


@check
def refusals_reach_the_user() -> None:
    """A 4xx carries the vendor's body into the client's exception."""
    error = raises(exceptions.IonQAPIError, lambda: simulator.run(bell(), shots=0))
    assert (error.status_code, error.error_type) == (400, "Bad Request"), error
    assert "shots" in error.message, error
    error = raises(exceptions.IonQAPIError, lambda: provider.get_backend("qpu.unheard-of").run(bell()))
    assert error.status_code == 400, error
    error = raises(exceptions.IonQAPIError, lambda: simulator.retrieve_job("0197c3a2-4f10-7e6b-8a2d-5d7c1b0e9f31"))
    assert (error.status_code, error.error_type) == (404, "Not Found Error"), error
    stranger = IonQProvider("not-a-key", url=f"{harness.URL}/v0.4").get_backend("simulator")
    error = raises(exceptions.IonQAPIError, lambda: stranger.run(bell()))
    assert (error.status_code, error.error_type) == (401, "Unauthorized Error"), error


@check
def middle_measurements_are_refused() -> None:
    """OpenQASM 3 is not run here: a clear refusal, or a job that fails with a reason; never anything silent."""
    circuit = QuantumCircuit(1, 2)
    circuit.h(0)
    circuit.measure(0, 0)
    circuit.x(0)
    circuit.measure(0, 1)
    error = raises((exceptions.IonQAPIError, exceptions.IonQJobFailureError), lambda: ran(simulator, circuit).result())
    assert "type" in str(error), error


@check
def retrieve_another_clients_job() -> None:
    """A job is found again by id, singly and several, with its header."""
    job = ran(simulator, [ghz(2), ghz(3)], shots=30)
    again = simulator.retrieve_job(job.job_id())
    assert [sum(counts.values()) for counts in again.result().get_counts()] == [30, 30]
    assert len(simulator.retrieve_jobs([job.job_id(), ran(simulator, bell()).job_id()])) == 2


@check
def delete_forgets() -> None:
    """A deleted job is unknown afterwards."""
    job = ran(simulator, bell())
    assert simulator.client.delete_job(job.job_id()) == {"id": job.job_id(), "status": "deleted"}
    assert raises(exceptions.IonQAPIError, lambda: simulator.retrieve_job(job.job_id())).status_code == 404


@check
def calibrations_describe_processors() -> None:
    """Characterizations of a processor, none of the simulator."""
    for name, qubits in (("qpu.aria-1", 25), ("qpu.forte-1", 36)):
        backend = provider.get_backend(name)
        found = backend.calibration()
        assert (found.backend, found.qubits) == (name, qubits)
        assert len(found.connectivity) == qubits * (qubits - 1) // 2
        assert 0.9 < found.median_spam_fidelity <= 1
        assert set(found.timing) >= {"readout", "reset", "1q", "2q", "t1", "t2"}
        assert found.date.tzinfo is not None
        assert backend.status()
        assert backend.client.get_calibration_data(name, limit=3)
    assert simulator.calibration() is None
    assert simulator.client.get_calibration_data("simulator") == []


@check
def estimates_are_complete() -> None:
    """A cost estimate fills every attribute."""
    found = aria.client.estimate_job(backend="ionq_qpu.aria-1", oneq_gates=4, twoq_gates=2, qubits=3, shots=500)
    assert (found.backend, found.qubits, found.shots) == ("qpu.aria-1", 3, 500)
    assert (found.oneq_gates, found.twoq_gates, found.error_mitigation) == (4, 2, False)
    assert found.cost == 0
    assert found.cost_unit == "usd"
    assert found.exec_time > 0
    assert found.total_runtime is not None
    assert found.estimated_at.tzinfo is not None
    priced = aria.client.estimate_job(backend="qpu.lab-12", oneq_gates=10, twoq_gates=10, qubits=3, shots=1000)
    assert (priced.cost, priced.cost_unit) == (2.3, "usd")
    assert priced.rate_information["job_cost_minimum"] == 0.5


@check
def empty_and_unmeasured_circuits() -> None:
    """Empty circuits complete; unmeasured ones give all qubits."""
    empty = QuantumCircuit(2, 2)
    empty.measure([0, 1], [0, 1])
    assert ran(simulator, empty, shots=5).get_counts() == {"00": 5}
    unmeasured = QuantumCircuit(3)
    unmeasured.x(1)
    unmeasured.id(2)
    assert ran(simulator, unmeasured, shots=5).get_counts() == {"010": 5}
    assert ran(aria, empty, shots=50).get_counts()["00"] > 40
    both = ran(simulator, [empty, bell()], shots=8).result().get_counts()
    assert both[0] == {"00": 8}


@check
def wide_but_idle() -> None:
    """High qubit indexes and idle wires in between."""
    circuit = QuantumCircuit(29, 2)
    circuit.x(28)
    circuit.cx(28, 3)
    circuit.measure([28, 3], [0, 1])
    assert ran(simulator, circuit, shots=7).get_counts() == {"11": 7}
    device = QuantumCircuit(36, 2)
    device.x(35)
    device.measure([35, 0], [0, 1])
    assert commonest(ran(forte, device, shots=100).get_counts()) == "01"


@check
def many_circuits_at_once() -> None:
    """A job of two hundred circuits."""
    result = ran(simulator, [spelled(value, 8) for value in range(200)], shots=3).result()
    assert [int(commonest(counts), 2) for counts in result.get_counts()] == list(range(200))


@check
def sessions() -> None:
    """Opened with every kind of limit, entered, used, left; status and usage are what the SDK reads."""
    with Session(aria, max_jobs=3, max_time="10m", max_cost=5) as session:
        assert session.status() == "created"
        details = session.details()
        assert details["settings"]["duration_limit_min"] == 10
        assert details["settings"]["cost_limit"] == {"value": 5, "unit": "usd"}
        job = aria.run(spelled(1, 2), shots=100)
        assert job.result().get_counts()
        assert session.status() == "started"
        assert session.usage() > 0
        assert aria.client.retrieve_job(job.job_id())["session_id"] == session.session_id
    assert session.status() == "ended"
    error = raises(exceptions.IonQAPIError, lambda: session.run(spelled(1, 2), shots=10))
    assert error.status_code == 400, error
    session.close()  # idempotent
    again = Session.from_id(session.session_id, backend=aria)
    assert again.status() == "ended"
    assert Session.from_id("nowhere", backend=aria).status() is None  # it looks at no HTTP status


@check
def session_of_one_job() -> None:
    """Its limit reached, the next job is refused and the session is over; also on the simulator, by its SDK name."""
    session = Session(simulator, max_jobs=1, max_time=30)
    assert session.run(spelled(1, 2), shots=10).result().get_counts()
    error = raises(exceptions.IonQAPIError, lambda: session.run(spelled(1, 2), shots=10))
    assert error.status_code == 400, error
    assert session.status() == "ended"


@check
def a_session_left_by_an_error_cancels_what_is_queued() -> None:
    """The SDK asks for the queued jobs by the word of its own, and cancels them."""

    def fail() -> None:
        with Session(aria) as session:
            left.append(session)
            aria.run([spelled(value, 8) for value in range(200)], shots=1000)
            raise KeyError(session.session_id)

    left: list[Session] = []
    raises(KeyError, fail)
    assert left[0].status() == "ended"


if __name__ == "__main__":
    harness.main()

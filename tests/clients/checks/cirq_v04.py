"""cirq-ionq 1.7.0, which speaks v0.4."""

from __future__ import annotations

import datetime
import itertools
import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

import cirq
import cirq_ionq
import harness
import numpy as np
import sympy
from cirq_ionq import ionq_exceptions
from harness import check, raises, within

service = cirq_ionq.Service(remote_host=f"{harness.URL}/v0.4", api_key=harness.KEY, default_target="simulator")


def lopsided(qubits: int) -> cirq.Circuit:
    """A start from which every later gate, and every swapped qubit, shows in the outcome."""
    wires = cirq.LineQubit.range(qubits)
    circuit = cirq.Circuit(
        (cirq.ry(0.4 + 0.55 * wire.x).on(wire), cirq.rz(0.7 - 0.3 * wire.x).on(wire)) for wire in wires
    )
    circuit += [cirq.CNOT(low, high) for low, high in itertools.pairwise(wires)]
    return circuit


def finished(circuit: cirq.Circuit, qubits: int) -> cirq.Circuit:
    """The circuit and a change of basis, so that phases show."""
    return circuit + [cirq.rx(0.9 + 0.2 * wire.x).on(wire) for wire in cirq.LineQubit.range(qubits)]


def expected(circuit: cirq.Circuit, qubits: int) -> np.ndarray[Any, Any]:
    """Outcome probabilities by Cirq's own state vector, qubit 0 most significant."""
    state = circuit.final_state_vector(qubit_order=cirq.LineQubit.range(qubits), dtype=np.complex128)
    chances: np.ndarray[Any, Any] = np.abs(state) ** 2
    return chances


def same(found: dict[int, float], wanted: np.ndarray[Any, Any]) -> None:
    """Assert that two distributions agree to 1e-9."""
    dense = np.zeros(len(wanted))
    for outcome, p in found.items():
        dense[outcome] = p
    assert np.allclose(dense, wanted, atol=1e-9, rtol=0), (found, wanted)


def results(job: Any, **options: Any) -> Any:
    """Results of a job, waiting in short steps."""
    return job.results(polling_seconds=0.02, timeout_seconds=20, **options)


def each_gate() -> Iterable[tuple[str, cirq.Operation]]:
    """Every gate the client can send."""
    a, b, c = cirq.LineQubit.range(3)
    for name in ("X", "Y", "Z", "H", "S", "T"):
        yield name, getattr(cirq, name)(b)
    for exponent in (0.5, -0.5, 0.31, -1.2):
        for gate in (cirq.X, cirq.Y, cirq.Z):
            yield f"{gate}**{exponent}", (gate**exponent)(b)
    for exponent in (0.25, -0.25):
        yield f"Z**{exponent}", (cirq.Z**exponent)(b)
    for gate in (cirq.XX, cirq.YY, cirq.ZZ):
        for exponent in (1, 0.4, -0.7):
            yield f"{gate}**{exponent}", (gate**exponent)(c, a)
    yield "CNOT", cirq.CNOT(c, a)
    yield "SWAP", cirq.SWAP(c, a)
    for text, exponent in (("XZY", 0.3), ("ZZX", 0.11)):
        phasor = cirq.PauliStringPhasorGate(cirq.DensePauliString(text), exponent_neg=exponent, exponent_pos=0)
        yield f"phasor {text}", phasor(c, a, b)
    negative = cirq.DensePauliString("XY", coefficient=-1)
    yield "negative phasor", cirq.PauliStringPhasorGate(negative, exponent_neg=0.1, exponent_pos=0.4)(b, c)


@check
def each_gate_is_exact() -> None:
    """Every gate the client can send equals Cirq's state vector."""
    jobs = []
    for name, operation in each_gate():
        circuit = finished(lopsided(3) + operation, 3)
        jobs.append((name, circuit, service.create_job(circuit, repetitions=10)))
    for name, circuit, job in jobs:
        try:
            same(results(job).probabilities(), expected(circuit, 3))
        except AssertionError as error:
            raise AssertionError(name) from error


@check
def exponentials_with_identities_are_exact() -> None:
    """A Pauli exponential that leaves a wire out; Cirq's own decomposition of it is not used to compare."""
    a, b, c = cirq.LineQubit.range(3)
    phasor = cirq.PauliStringPhasorGate(cirq.DensePauliString("YIX"), exponent_neg=0.6, exponent_pos=0)
    pauli = np.kron(cirq.unitary(cirq.Y), cirq.unitary(cirq.X))
    angle = math.pi * 0.6 / 2
    step = cirq.MatrixGate(math.cos(angle) * np.eye(4) - 1j * math.sin(angle) * pauli)
    sent = finished(lopsided(3) + phasor(c, a, b), 3)
    same(results(service.create_job(sent)).probabilities(), expected(finished(lopsided(3) + step(c, b), 3), 3))


@check
def batches_are_exact_and_in_order() -> None:
    """One job of many circuits of different widths."""
    widths = (2, 5, 1, 3, 4)
    circuits = [finished(lopsided(width), width) for width in widths]
    job = service.create_batch_job(circuits, repetitions=10)
    for found, circuit, width in zip(results(job), circuits, widths, strict=True):
        assert found.num_qubits() == width
        same(found.probabilities(), expected(circuit, width))


@check
def native_gates_are_exact() -> None:
    """GPi, GPi2, MS and ZZ, singly and in a batch; `zz` sends its angle as `phase`."""
    a, b, c = cirq.LineQubit.range(3)
    circuit = cirq.Circuit(
        cirq_ionq.GPI2Gate(phi=0.13)(a),
        cirq_ionq.GPIGate(phi=-0.4)(b),
        cirq_ionq.GPI2Gate(phi=0.71)(c),
        cirq_ionq.MSGate(phi0=0.1, phi1=-0.3, theta=0.2)(c, a),
        cirq_ionq.ZZGate(theta=0.17)(b, c),
        cirq_ionq.GPI2Gate(phi=0.33)(b),
        cirq_ionq.MSGate(phi0=0, phi1=0.25)(a, b),
        cirq_ionq.GPI2Gate(phi=0.91)(c),
    )
    same(results(service.create_job(circuit)).probabilities(), expected(circuit, 3))
    for found in results(service.create_batch_job([circuit, circuit])):
        same(found.probabilities(), expected(circuit, 3))


@check
def compiled_by_the_client() -> None:
    """Random circuits compiled to the client's own target gate sets, for Aria and for Forte."""
    for seed in range(4):
        circuit = finished(
            lopsided(3) + cirq.testing.random_circuit(cirq.LineQubit.range(3), 6, 0.8, random_state=seed), 3
        )
        for gateset in (
            cirq_ionq.IonQTargetGateset(),
            cirq_ionq.AriaNativeGateset(),
            cirq_ionq.ForteNativeGateset(),
        ):
            compiled = cirq.optimize_for_target_gateset(circuit, gateset=gateset)
            same(results(service.create_job(compiled)).probabilities(), expected(circuit, 3))


@check
def processors_count() -> None:
    """Counts of processors: bit order, repetitions, measurement keys."""
    wires = cirq.LineQubit.range(4)
    circuit = cirq.Circuit(
        cirq.X(wires[1]),
        cirq.CNOT(wires[1], wires[3]),
        cirq.measure(wires[3], wires[0], key="m"),
        cirq.measure(wires[1]),
    )
    for target in ("qpu.aria-1", "qpu.aria-2", "qpu.forte-1", "qpu.forte-enterprise-1"):
        job = service.create_job(circuit, repetitions=300, target=target)
        found = results(job)
        assert isinstance(found, cirq_ionq.QPUResult)
        assert found.repetitions() == 300
        assert found.counts().most_common(1)[0][0] == 0b0101, (target, found.counts())
        assert found.counts(key="m").most_common(1)[0][0] == 0b10
        assert found.to_cirq_result().measurements["m"].shape == (300, 2)
        assert job.target() == target
    batch = [cirq.Circuit(cirq.X(wires[k]), cirq.measure(*wires, key="m")) for k in range(3)]
    found = results(service.create_batch_job(batch, repetitions=100, target="qpu.aria-1"))
    assert [one.counts().most_common(1)[0][0] for one in found] == [0b1000, 0b0100, 0b0010]


@check
def run_and_sample() -> None:
    """`run`, `run_batch` and the sampler with a sweep."""
    a, b = cirq.LineQubit.range(2)
    circuit = cirq.Circuit(cirq.X(a) ** sympy.Symbol("t"), cirq.CNOT(a, b), cirq.measure(a, b, key="m"))
    found = service.run(circuit, repetitions=50, param_resolver={"t": 1}, seed=1, name="run")
    assert found.histogram(key="m") == Counter({3: 50})
    found = service.run(circuit, repetitions=50, param_resolver={"t": 1}, target="qpu.forte-1")
    assert found.histogram(key="m").most_common(1)[0][0] == 3
    many = service.run_batch([circuit, circuit], repetitions=20, param_resolver={"t": 0})
    assert [one.histogram(key="m") for one in many] == [Counter({0: 20})] * 2
    swept = service.sampler(seed=3).run_sweep(circuit, cirq.Points("t", [0, 1]), repetitions=10)
    assert [one.histogram(key="m") for one in swept] == [Counter({0: 10}), Counter({3: 10})]


@check
def noise_repeats_by_seed() -> None:
    """A noisy job repeats by its seed; the model's name and seed come back."""
    wires = cirq.LineQubit.range(6)
    ghz = cirq.Circuit(cirq.H(wires[0]), [cirq.CNOT(a, b) for a, b in itertools.pairwise(wires)])
    for model in ("aria-1", "aria-2", "forte-1", "forte-enterprise-1"):
        noise = {"model": model, "seed": 7}
        found = [results(service.create_job(ghz, repetitions=1000, noise=noise)).probabilities() for _ in range(2)]
        assert found[0] == found[1]
        assert len(found[0]) > 2
        assert math.isclose(sum(found[0].values()), 1)
        assert all(math.isclose(p * 1000, round(p * 1000), abs_tol=1e-6) for p in found[0].values())


@check
def settings_are_accepted() -> None:
    """Mitigation, compilation, sharpening, metadata, dry run and unknown members."""
    a, b = cirq.LineQubit.range(2)
    bell = cirq.Circuit(cirq.H(a), cirq.CNOT(a, b), cirq.measure(a, b, key="m"))
    job = service.create_job(
        bell,
        repetitions=600,
        target="qpu.aria-1",
        name="bell",
        compilation={"opt": 1, "precision": "1E-4"},
        error_mitigation={"debiasing": True},
        metadata={"mine": "yes"},
        extra_query_params={"unheard_of": 1},
    )
    assert sum(results(job, sharpen=True).counts().values()) == 600
    assert sum(results(job, sharpen=False, extra_query_params={"aggregation": "dnl"}).counts().values()) == 600
    assert job.name() == "bell"
    assert job._job["metadata"]["mine"] == "yes"
    dry = service.create_job(bell, repetitions=100, target="qpu.aria-1", dry_run=True)
    within(10, lambda: dry.status() == "completed")
    raises(ionq_exceptions.IonQNotFoundException, lambda: results(dry))


@check
def metadata_comes_back() -> None:
    """What the client keeps in metadata: repetitions, measurement keys, widths."""
    wires = cirq.LineQubit.range(3)
    circuit = cirq.Circuit(
        cirq.X(wires[2]), cirq.measure(wires[2], wires[0], key="a,b"), cirq.measure(wires[1], key="c")
    )
    again = service.get_job(service.create_job(circuit, repetitions=33).job_id())
    found = results(again)
    assert again.repetitions() == 33
    assert again.num_qubits() == 3
    assert again.measurement_dict() == {"a,b": [2, 0], "c": [1]}
    assert found.probabilities(key="a,b") == {0b10: 1.0}


@check
def retrieve_a_batch() -> None:
    """A batch found again by its id gives all its results, in order."""
    wires = cirq.LineQubit.range(2)
    batch = [cirq.Circuit(cirq.X(wires[k]), cirq.measure(*wires, key="m")) for k in range(2)]
    job_id = service.create_batch_job(batch, repetitions=5).job_id()
    stranger = cirq_ionq.Service(remote_host=harness.URL, api_key=harness.KEY)
    found = results(stranger.get_job(job_id))
    assert [one.probabilities() for one in found] == [{0b10: 1.0}, {0b01: 1.0}]


@check
def cancel_and_delete() -> None:
    """Cancel at once, cancel a job that has ended, delete."""
    wires = cirq.LineQubit.range(8)
    wide = cirq.Circuit(cirq.H.on_each(wires), cirq.measure(*wires, key="m"))
    job = service.create_job(wide, target="qpu.aria-1", repetitions=1000)
    job.cancel()
    assert job.status() == "canceled"
    raises(ionq_exceptions.IonQUnsuccessfulJobException, job.target)
    again = service.get_job(job.job_id())
    within(10, lambda: again.status() in {"canceled", "completed"})
    if again.status() == "canceled":
        error = raises(RuntimeError, lambda: results(again))
        assert "canceled" in str(error), error
    done = service.create_job(wide)
    results(done)
    done.cancel()
    done.delete()
    assert done.status() == "deleted"
    raises(ionq_exceptions.IonQNotFoundException, lambda: service.get_job(done.job_id()))


@check
def failed_jobs_say_why() -> None:
    """A circuit wider than its backend is accepted, fails, and the reason reaches the user."""
    wires = cirq.LineQubit.range(27)
    wide = cirq.Circuit(cirq.H.on_each(wires))
    job = service.create_job(wide, target="qpu.aria-1")
    error = raises(RuntimeError, lambda: results(job))
    assert "25" in str(error), error
    assert service.get_job(job.job_id())._job["failure"]["code"] == "NotEnoughQubits"
    job = service.create_job(wide, noise={"model": "aria-1"})
    assert "Job failed" in str(raises(RuntimeError, lambda: results(job)))


@check
def list_ends() -> None:
    """Lists: all, by state, fewer than there are, more than there are; none of them asks for ever."""
    wires = cirq.LineQubit.range(1)
    for _ in range(3):
        results(service.create_job(cirq.Circuit(cirq.X(wires[0]))))
    assert len(service.list_jobs(limit=2)) == 2
    completed = service.list_jobs(status="completed", limit=50)
    assert completed
    assert {job.status() for job in completed} == {"completed"}
    everything = service.list_jobs(limit=100_000, batch_size=40)
    assert len({job.job_id() for job in everything}) == len(everything)
    for word in ("ready", "submitted", "running", "canceled", "failed"):
        service.list_jobs(status=word, limit=10)


@check
def calibrations_describe_processors() -> None:
    """The oldest spelling of characterizations, in this version too."""
    found = service.get_current_calibration()
    assert found.target().startswith("qpu.")
    assert found.num_qubits() in {25, 36}
    assert 0.9 < found.fidelities()["2q"]["mean"] <= 1
    assert "1q" in found.timings()
    assert found.calibration_time().year >= 2024
    assert len(found.connectivity()) == found.num_qubits() * (found.num_qubits() - 1)
    past = datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC)
    assert service.list_calibrations(start=past, limit=50)
    assert service.list_calibrations(end=past) == []


@check
def refusals_reach_the_user() -> None:
    """A 4xx is raised at once with the message of the server."""
    a, b = cirq.LineQubit.range(2)
    bell = cirq.Circuit(cirq.H(a), cirq.CNOT(a, b))
    error = raises(ionq_exceptions.IonQException, lambda: service.create_job(bell, repetitions=0))
    assert "shots" in str(error), error
    error = raises(ionq_exceptions.IonQException, lambda: service.create_job(bell, target="qpu.unheard-of"))
    assert "backend" in str(error), error
    raises(ionq_exceptions.IonQNotFoundException, lambda: service.get_job("0197c3a2-4f10-7e6b-8a2d-5d7c1b0e9f31"))
    stranger = cirq_ionq.Service(remote_host=harness.URL, api_key="not-a-key", max_retry_seconds=0)
    error = raises(ionq_exceptions.IonQException, lambda: stranger.create_job(bell, target="simulator"))
    assert "authorized" in str(error).lower(), error


if __name__ == "__main__":
    harness.main()

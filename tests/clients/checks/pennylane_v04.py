"""pennylane-ionq 0.45, which speaks v0.4 and knows its address as a constant of its client."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import harness
import numpy as np
import pennylane as qml
import requests
from harness import check, raises
from pennylane_ionq import ops
from pennylane_ionq.api_client import APIClient, Job, JobExecutionError

APIClient.BASE_URL = f"{harness.URL}/v0.4"
os.environ["IONQ_API_KEY"] = harness.KEY
ATOL = 1e-9


def probabilities(device: Any, operations: list[Any], shots: int = 600) -> np.ndarray[Any, Any]:
    """Exact probabilities as the device has them after one circuit."""
    tape = qml.tape.QuantumScript(operations, [qml.probs(wires=device.wires)], shots=shots)
    device.batch_execute([tape])
    return np.asarray(device.prob)


def expected(operations: list[Any], wires: int) -> np.ndarray[Any, Any]:
    """The same by PennyLane's own state vector."""
    tape = qml.tape.QuantumScript(operations, [qml.probs(wires=range(wires))])
    return np.asarray(qml.execute([tape], qml.device("default.qubit", wires=wires))[0])


def node(device: Any, shots: Any, function: Callable[..., Any], **options: Any) -> Any:
    """The function as a quantum node."""
    return qml.set_shots(qml.QNode(function, device, **options), shots)


def lopsided() -> list[Any]:
    """A start from which every later gate, and every swapped qubit, shows in the outcome."""
    turns = [gate(angle + 0.6 * wire, wire) for wire in range(3) for gate, angle in ((qml.RY, 0.4), (qml.RZ, -0.7))]
    return [*turns, qml.CNOT([0, 1]), qml.CNOT([1, 2])]


def finish() -> list[Any]:
    """A change of basis, so that phases show."""
    return [qml.RX(0.9 + 0.2 * wire, wire) for wire in range(3)]


def at(operations: list[Any], target: str = "ionq.simulator", **options: Any) -> np.ndarray[Any, Any]:
    """Probabilities of three wires."""
    return probabilities(qml.device(target, wires=3, **options), operations)


@check
def each_gate_is_exact() -> None:
    """Every gate the device can send equals PennyLane's state vector."""
    cases = {
        **{gate.__name__: gate(1) for gate in (qml.X, qml.Y, qml.Z, qml.Hadamard, qml.S, qml.T, qml.SX)},
        **{gate.__name__: gate(0.77, 2) for gate in (qml.RX, qml.RY, qml.RZ)},
        **{gate.__name__: gate([2, 0]) for gate in (qml.CNOT, qml.SWAP)},
        **{gate.__name__: gate(-1.3, [2, 0]) for gate in (qml.IsingXX, qml.IsingYY, qml.IsingZZ)},
    }
    for name, operation in cases.items():
        circuit = [*lopsided(), operation, *finish()]
        assert np.allclose(at(circuit), expected(circuit, 3), atol=ATOL, rtol=0), name
    for own, ising in ((ops.XX, qml.IsingXX), (ops.YY, qml.IsingYY), (ops.ZZ, qml.IsingZZ)):
        sent = at([*lopsided(), own(0.45, wires=[2, 1]), *finish()])
        assert np.allclose(sent, expected([*lopsided(), ising(0.45, [2, 1]), *finish()], 3), atol=ATOL, rtol=0), own


def evolutions() -> dict[str, Any]:
    """Generators of commuting terms, in the forms the device takes apart, and times of both signs."""
    x, y, z = qml.X, qml.Y, qml.Z
    return {
        "single": qml.evolve(z(1), 0.6),
        "negative time": qml.evolve(x(1), -0.6),
        "scaled": qml.evolve(2.5 * y(0), 0.3),
        "product": qml.evolve(1.5 * qml.prod(x(0), z(1), y(2)), 0.4),
        "sum": qml.evolve(0.7 * qml.sum(x(0), z(2)), 0.9),
        "hamiltonian": qml.evolve(2 * qml.Hamiltonian([1.0, -2.0, 3.0], [x(0) @ z(2), x(0) @ y(1), y(1) @ z(2)]), 0.7),
        "identity": qml.evolve(3 * qml.Identity(0) @ qml.Identity(1), 1.5),
    }


@check
def evolution_is_exact() -> None:
    """`pauliexp` of commuting terms equals the exact exponential."""
    for name, operation in evolutions().items():
        circuit = [*lopsided(), operation, *finish()]
        assert np.allclose(at(circuit), expected(circuit, 3), atol=ATOL, rtol=0), name


@check
def evolution_is_one_step_in_the_listed_order() -> None:
    """Terms that do not commute: one first-order Trotter step, the first term first."""
    matrix = np.array([[1, 1 + 1j, 0, -1j], [1 - 1j, 3, 2, 0], [0, 2, 0, 1j], [1j, 0, -1j, 1]])
    generator = qml.Hamiltonian([2.0], [qml.Hermitian(matrix, wires=[0, 1])])
    device = qml.device("ionq.simulator", wires=2)
    start = [qml.RY(0.4, 0), qml.RX(1.1, 1)]
    sent = probabilities(device, [*start, qml.evolve(generator, 0.7)])
    weights, terms = qml.pauli_decompose(-generator.matrix()).terms()
    step = qml.TrotterProduct(qml.Hamiltonian(weights[::-1], terms[::-1]), 0.7, n=1)
    assert np.allclose(sent, expected([*start, step], 2), atol=1e-6)


@check
def native_gates_are_exact() -> None:
    """The native gate set; fractions of a quarter come as exact numbers."""
    device = qml.device("ionq.simulator", wires=3, gateset="native")
    first = [ops.GPI(0.5, wires=[0]), ops.GPI2(0, wires=[1]), ops.MS(0, 0.5, wires=[1, 2])]
    second = [ops.GPI2(0, wires=[0]), ops.GPI(0.5, wires=[1]), ops.MS(0, 0.5, wires=[1, 2])]
    tapes = [qml.tape.QuantumScript(circuit, [qml.probs(wires=[0, 1, 2])], shots=1024) for circuit in (first, second)]
    found = device.batch_execute(tapes)
    assert np.array_equal(found[0], [0, 0, 0, 0, 0.25, 0.25, 0.25, 0.25]), found[0]
    assert np.array_equal(found[1], [0, 0.25, 0.25, 0, 0, 0.25, 0.25, 0]), found[1]
    partial = probabilities(device, [ops.MS(0.1, 0.3, 0.1, wires=[2, 0])])
    assert np.isclose(partial[0b101], np.sin(np.pi * 0.1) ** 2, atol=ATOL)


@check
def measurements_of_every_kind() -> None:
    """Expectation, variance, counts, samples, shot vectors and several at once."""
    device = qml.device("ionq.simulator", wires=["a", "b"])

    def rotated(x: float, y: float) -> Any:
        qml.RX(x, wires="a")
        qml.RY(y, wires="b")
        qml.CNOT(wires=["a", "b"])
        return qml.expval(qml.Z("a")), qml.var(qml.Z("a")), qml.probs(wires=["b"])

    mean, variance, probs = node(device, 8192, rotated)(0.4, 0.9)
    assert np.isclose(mean, np.cos(0.4), atol=0.05)
    assert np.isclose(variance, np.sin(0.4) ** 2, atol=0.06)
    assert np.isclose(probs[0], (1 + np.cos(0.4) * np.cos(0.9)) / 2, atol=0.05)

    def flipped() -> Any:
        qml.X("b")
        return qml.counts(wires=["a", "b"]), qml.sample(wires=["b"]), qml.expval(qml.Z("a") @ qml.Z("b"))

    counts, samples, correlation = node(device, 200, flipped)()
    assert counts == {"01": 200}
    assert np.all(samples == 1)
    assert correlation == -1

    def twice() -> Any:
        qml.X("a")
        return qml.expval(qml.Z("a"))

    assert [float(value) for value in node(device, [10, 100], twice)()] == [-1.0, -1.0]


@check
def gradients_are_batches() -> None:
    """A gradient by parameter shift submits several circuits as one job."""
    device = qml.device("ionq.simulator", wires=2)

    def cost(angles: Any) -> Any:
        qml.RX(angles[0], wires=0)
        qml.RY(angles[1], wires=1)
        qml.CNOT(wires=[0, 1])
        return qml.expval(qml.Z(1))

    angles = qml.numpy.array([0.3, 1.1], requires_grad=True)
    found = qml.grad(node(device, 20_000, cost, diff_method="parameter-shift"))(angles)
    wanted = [-np.sin(0.3) * np.cos(1.1), -np.cos(0.3) * np.sin(1.1)]
    assert np.allclose(found, wanted, atol=0.05), (found, wanted)


@check
def processors_count() -> None:
    """Every processor by its name, in both gate sets; the default and the bare target."""
    for backend in ("aria-1", "aria-2", "forte-1", "forte-enterprise-1", None):
        found = at([qml.X(2)], "ionq.qpu", backend=backend)
        assert np.argmax(found) == 0b001, (backend, found)
        assert found[0b001] > 0.8
    native = at([ops.GPI(0, wires=[1])], "ionq.qpu", gateset="native")
    assert np.argmax(native) == 0b010
    device = qml.device("ionq.qpu", wires=3, backend="aria-1")
    tapes = [qml.tape.QuantumScript([qml.X(k)], [qml.counts(wires=[0, 1, 2])], shots=100) for k in range(3)]
    commonest = [max(counts, key=lambda outcome: counts[outcome]) for counts in device.batch_execute(tapes)]
    assert commonest == ["100", "010", "001"]


@check
def noise_repeats_by_seed() -> None:
    """Every noise model the device names."""
    circuit = [qml.Hadamard(0), *(qml.CNOT([0, 1]) for _ in range(9)), qml.CNOT([1, 2])]
    for model in ("aria-1", "aria-2", "forte-1", "forte-enterprise-1", "harmony"):
        first = at(circuit, noise_model=model, noise_seed=5)
        assert np.array_equal(first, at(circuit, noise_model=model, noise_seed=5))
    ideal = at(circuit, noise_model="ideal")
    assert np.allclose(ideal, expected(circuit, 3), atol=ATOL)


@check
def settings_are_accepted() -> None:
    """Mitigation in both spellings, compilation, sharpening, name and metadata."""
    for mitigation in ({"debiasing": True}, {"debias": True}, {"debiasing": False}):
        found = at(
            [qml.X(0)],
            "ionq.qpu",
            error_mitigation=mitigation,
            compilation={"opt": 0, "precision": "1E-3"},
            sharpen=True,
            job_name="named",
            metadata={"mine": "yes"},
        )
        assert np.argmax(found) == 0b100
    headers = {"Authorization": f"apiKey {harness.KEY}"}
    listed = requests.get(f"{harness.URL}/v0.4/jobs", headers=headers, params={"limit": 1}, timeout=10).json()
    assert listed["jobs"][0]["name"] == "named"
    assert listed["jobs"][0]["metadata"] == {"mine": "yes"}


@check
def dry_runs_and_empty_circuits() -> None:
    """A dry run gives nothing; an empty circuit completes, alone and among others."""
    device = qml.device("ionq.simulator", wires=2, dry_run=True)
    tape = qml.tape.QuantumScript([qml.X(0)], [qml.probs(wires=[0, 1])], shots=10)
    assert device.batch_execute([tape]) == [[]]
    device = qml.device("ionq.simulator", wires=2, gateset="native")
    empty = qml.tape.QuantumScript([], [qml.probs(wires=[0, 1])], shots=10)
    assert np.array_equal(device.batch_execute([empty])[0], [1, 0, 0, 0])
    flip = qml.tape.QuantumScript([ops.GPI(0, wires=[1])], [qml.probs(wires=[0, 1])], shots=10)
    found = device.batch_execute([empty, flip, empty])
    assert [int(np.argmax(one)) for one in found] == [0, 1, 0]


@check
def failures_and_refusals_reach_the_user() -> None:
    """A failed job raises; a refusal carries the server's body."""
    wide = qml.device("ionq.simulator", wires=12, noise_model="harmony")
    raises(JobExecutionError, lambda: probabilities(wide, [qml.Hadamard(wire) for wire in range(12)]))
    unknown = qml.device("ionq.qpu", wires=1, backend="unheard-of")
    assert "backend" in str(raises(Exception, lambda: probabilities(unknown, [qml.X(0)])))
    stranger = qml.device("ionq.simulator", wires=1, api_key="not-a-key")
    assert "Unauthorized Error" in str(raises(Exception, lambda: probabilities(stranger, [qml.X(0)])))


@check
def resources_by_hand() -> None:
    """The plug-in's own job resource: create, reload, results."""
    job = Job(api_key=harness.KEY)
    job.manager.create(
        type="ionq.circuit.v1",
        backend="simulator",
        shots=10,
        input={"qubits": 1, "gateset": "qis", "circuit": [{"gate": "x", "target": 0}]},
    )
    assert job.status.value == "submitted"
    harness.within(10, lambda: job.reload() is None and bool(job.is_complete))
    assert job.data.value == {"1": 1}


if __name__ == "__main__":
    harness.main()

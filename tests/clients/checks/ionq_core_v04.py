"""ionq-core 0.2.0, which speaks v0.4 and raises on every member it misses."""

from __future__ import annotations

import asyncio
import datetime
import itertools
import json
import random
from typing import Any

import harness
import httpx
import numpy as np
from harness import check, raises, within
from ionq_core import (
    Client,
    IonQClient,
    SessionManager,
    aiter_jobs,
    async_wait_for_job,
    gpi2_matrix,
    gpi_matrix,
    iter_jobs,
    ms_matrix,
    wait_for_job,
    zz_matrix,
)
from ionq_core.api.backends import get_backend, get_backends
from ionq_core.api.characterizations import get_characterization, get_characterizations_for_backend
from ionq_core.api.default import (
    cancel_job,
    cancel_jobs,
    clone_job,
    create_job,
    create_session,
    delete_job,
    delete_jobs,
    end_session,
    estimate_job_cost,
    get_job,
    get_job_artifact,
    get_job_cost,
    get_job_probabilities,
    get_jobs,
    get_session,
    get_session_jobs,
    get_sessions,
    move_job,
)
from ionq_core.api.schemas import get_format_schema
from ionq_core.api.usage import get_usages
from ionq_core.api.whoami import get_whoami
from ionq_core.exceptions import AuthenticationError, BadRequestError, NotFoundError, PermissionDeniedError
from ionq_core.models import (
    CircuitJobCreationPayload,
    CloneJobPayload,
    CreateSessionRequest,
    JobsBulkOperationRequest,
    JSONMultiCircuitJob,
    SessionCostLimit,
    SessionSettingsRequest,
    SingleCircuitJob,
)
from ionq_core.polling import JobFailedError
from ionq_core.types import Unset

BASE = f"{harness.URL}/v0.4"
client = IonQClient(api_key=harness.KEY, base_url=BASE)
HEADERS = {"Authorization": f"apiKey {harness.KEY}"}
BELL: list[dict[str, Any]] = [{"gate": "h", "targets": [0]}, {"gate": "cnot", "control": 0, "target": 1}]

X = np.array([[0, 1], [1, 0]], complex)
Y = np.array([[0, -1j], [1j, 0]])
Z = np.diag([1, -1]).astype(complex)
H = (X + Z) / np.sqrt(2)
V = np.array([[1 + 1j, 1 - 1j], [1 - 1j, 1 + 1j]]) / 2
PAULIS = {"I": np.eye(2, dtype=complex), "X": X, "Y": Y, "Z": Z}
FIXED = {
    "x": X,
    "not": X,
    "y": Y,
    "z": Z,
    "h": H,
    "s": np.diag([1, 1j]),
    "si": np.diag([1, -1j]),
    "t": np.diag([1, np.exp(0.25j * np.pi)]),
    "ti": np.diag([1, np.exp(-0.25j * np.pi)]),
    "v": V,
    "vi": V.conj().T,
}
Matrix = np.ndarray[Any, Any]


def turn(pauli: Matrix, angle: float) -> Matrix:
    """exp(-i angle/2 P) of a P that squares to one."""
    turned: Matrix = np.cos(angle / 2) * np.eye(len(pauli)) - 1j * np.sin(angle / 2) * pauli
    return turned


def unitaries(gate: dict[str, Any], targets: list[int]) -> list[tuple[Matrix, list[int]]]:
    """A gate as matrices and the wires they act on, the first wire the most significant letter."""
    name = gate["gate"]
    if name == "z" and "rotation" in gate:
        return [(np.diag([1, np.exp(1j * gate["rotation"])]), targets)]
    if name in FIXED or name == "cnot":
        return [(FIXED.get(name, X), targets)]
    if name in {"rx", "ry", "rz"}:
        return [(turn(PAULIS[name[1].upper()], gate["rotation"]), targets)]
    if name in {"xx", "yy", "zz"} and "rotation" in gate:
        pauli = PAULIS[name[0].upper()]
        return [(turn(np.kron(pauli, pauli), gate["rotation"]), targets)]
    if name == "swap":
        return [(np.eye(4, dtype=complex)[[0, 2, 1, 3]], targets)]
    if name == "pauliexp":
        steps = []
        for term, weight in zip(gate["terms"], gate["coefficients"], strict=True):
            pauli = np.eye(1)
            for letter in reversed(term):  # the rightmost letter acts on the first target
                pauli = np.kron(pauli, PAULIS[letter])
            steps.append((turn(pauli, 2 * weight * gate["time"]), targets))
        return steps
    native = {
        "gpi": lambda: gpi_matrix(gate["phase"]),
        "gpi2": lambda: gpi2_matrix(gate["phase"]),
        "ms": lambda: ms_matrix(*gate["phases"], gate.get("angle", 0.25)),
        "zz": lambda: zz_matrix(gate.get("angle", gate.get("phase"))),
    }
    return [(np.array(native[name]()), targets)]


def applied(state: Matrix, matrix: Matrix, wires: list[int]) -> Matrix:
    """A state of one axis a wire after a matrix on some of them."""
    width = len(wires)
    tensor = matrix.reshape((2,) * (2 * width))
    moved = np.tensordot(tensor, state, axes=(range(width, 2 * width), wires))
    return np.moveaxis(moved, range(width), wires)


def expected(gates: list[dict[str, Any]], qubits: int) -> dict[int, float]:
    """Outcome probabilities by a state vector of its own, qubit 0 the least significant bit."""
    state = np.zeros((2,) * qubits, complex)
    state[(0,) * qubits] = 1
    for gate in gates:
        targets = gate.get("targets", [gate.get("target")])
        controls = gate.get("controls", [gate["control"]] if "control" in gate else [])
        for matrix, wires in unitaries(gate, list(targets)):
            size = len(matrix)
            whole = np.eye(size << len(controls), dtype=complex)
            whole[-size:, -size:] = matrix
            state = applied(state, whole, [*controls, *wires])
    chances = np.abs(state.transpose(range(qubits - 1, -1, -1)).reshape(-1)) ** 2
    return {index: float(p) for index, p in enumerate(chances) if p > 1e-12}


def same(found: dict[int, float], wanted: dict[int, float]) -> None:
    """Assert that two distributions agree to 1e-9."""
    for outcome in found.keys() | wanted.keys():
        difference = abs(found.get(outcome, 0) - wanted.get(outcome, 0))
        assert difference < 1e-9, (outcome, found.get(outcome), wanted.get(outcome))


def payload(circuit: list[dict[str, Any]] = BELL, qubits: int = 2, gateset: str = "qis", **other: Any) -> Any:
    """A request of one circuit."""
    body = {
        "type": "ionq.circuit.v1",
        "backend": "simulator",
        "shots": 100,
        "input": {"gateset": gateset, "qubits": qubits, "circuit": circuit},
        **other,
    }
    return CircuitJobCreationPayload.from_dict(body)


def created(body: Any) -> str:
    """The id of a new job."""
    answer = create_job.sync(client=client, body=body)
    assert answer.status == "submitted"
    assert answer.session_id == body.to_dict().get("session_id")
    return str(answer.id)


def submitted(circuit: list[dict[str, Any]] = BELL, qubits: int = 2, **other: Any) -> str:
    """The id of a new job of one circuit."""
    return created(payload(circuit, qubits, **other))


def ended(job_id: str, **options: Any) -> Any:
    """The job, once it has ended."""
    return wait_for_job(client, job_id, poll_interval=0.02, timeout=20, **options)


def ran(circuit: list[dict[str, Any]], qubits: int, **other: Any) -> dict[int, float]:
    """Probabilities of a circuit."""
    job_id = submitted(circuit, qubits, **other)
    ended(job_id)
    return probabilities(job_id)


def posted(circuit: list[dict[str, Any]], qubits: int) -> str:
    """The id of a new job, sent as it is: the client's model of a gate drops the members of `pauliexp`."""
    body = payload(BELL, qubits).to_dict()
    body["input"]["circuit"] = circuit
    answer = httpx.post(f"{BASE}/jobs", json=body, headers=HEADERS)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def links(job: Any) -> dict[str, Any]:
    """`results` of a job: its model takes descriptors alone, so the mixture with links stays a plain object."""
    return dict(job.to_dict()["results"])


def probabilities(job_id: str) -> dict[int, float]:
    """Probabilities of a job by outcome."""
    found = get_job_probabilities.sync(uuid=job_id, client=client)
    return {int(outcome): p for outcome, p in found.additional_properties.items()}


def random_qis(rng: random.Random, qubits: int, gates: int) -> list[dict[str, Any]]:
    """A circuit of every QIS gate, with controls, in both spellings of targets and controls."""
    circuit: list[dict[str, Any]] = [
        {"gate": "ry", "target": wire, "rotation": rng.uniform(-3, 3)} for wire in range(qubits)
    ]
    while len(circuit) < gates:
        wires = rng.sample(range(qubits), qubits)
        name = rng.choice([*FIXED, "rx", "ry", "rz", "phase", "xx", "yy", "zz", "swap", "cnot", "pauliexp"])
        gate: dict[str, Any] = {"gate": "z" if name == "phase" else name}
        wide = 2 if name in {"xx", "yy", "zz", "swap"} else 1
        if name == "pauliexp":
            wide = rng.randint(1, min(3, qubits))
            count = rng.randint(1, 3)
            gate["terms"] = ["".join(rng.choice("IXYZ") for _ in range(wide)) for _ in range(count)]
            gate["coefficients"] = [rng.uniform(-1, 1) for _ in range(count)]
            gate["time"] = rng.uniform(0, 2)
        elif name in {"rx", "ry", "rz", "phase", "xx", "yy", "zz"}:
            gate["rotation"] = rng.uniform(-7, 7)
        spare = qubits - wide
        controls = 0 if name == "pauliexp" else rng.choice([0, 0, 1, min(2, spare)]) if spare else 0
        controls = max(controls, 1) if name == "cnot" else controls
        if wide == 1 and rng.random() < 0.5 and name != "pauliexp":
            gate["target"] = wires[0]
        else:
            gate["targets"] = wires[:wide]
        if controls == 1 and rng.random() < 0.5:
            gate["control"] = wires[wide]
        elif controls:
            gate["controls"] = wires[wide : wide + controls]
        circuit.append(gate)
    return circuit


def random_native(rng: random.Random, qubits: int, gates: int) -> list[dict[str, Any]]:
    """A circuit of every native gate."""
    circuit: list[dict[str, Any]] = []
    while len(circuit) < gates:
        a, b = rng.sample(range(qubits), 2)
        phase, other = rng.uniform(-1, 1), rng.uniform(-1, 1)
        circuit.append(
            rng.choice(
                [
                    {"gate": "gpi", "target": a, "phase": phase},
                    {"gate": "gpi2", "target": a, "phase": phase},
                    {"gate": "ms", "targets": [a, b], "phases": [phase, other]},
                    {"gate": "ms", "targets": [a, b], "phases": [phase, other], "angle": rng.uniform(0, 0.25)},
                    {"gate": "zz", "targets": [a, b], "angle": rng.uniform(0, 0.25)},
                ]
            )
        )
    return circuit


@check
def random_circuits_are_exact() -> None:
    """Random circuits of all QIS gates with controls equal an independent state vector."""
    rng = random.Random(20_260)
    for _ in range(12):
        qubits = rng.randint(2, 6)
        circuit = random_qis(rng, qubits, 30)
        job_id = posted(circuit, qubits)
        ended(job_id)
        same(probabilities(job_id), expected(circuit, qubits))


@check
def random_native_circuits_are_exact() -> None:
    """Random circuits of all native gates."""
    rng = random.Random(20_261)
    for _ in range(6):
        qubits = rng.randint(2, 6)
        circuit = random_native(rng, qubits, 25)
        same(ran(circuit, qubits, gateset="native"), expected(circuit, qubits))


@check
def compiled_circuits_equal_the_originals() -> None:
    """The native artifact of a processor's job gives the outcomes of the circuit sent."""
    rng = random.Random(20_262)
    for backend in ("qpu.aria-1", "qpu.forte-1"):
        circuit = [gate for gate in random_qis(rng, 4, 16) if gate["gate"] != "pauliexp"]
        job = ended(submitted(circuit, 4, backend=backend))
        found = job.output.compilation.compiled_circuits.to_dict()["ionq.native.v1"]
        native = get_job_artifact.sync_detailed(uuid=job.id, artifact_id=found["id"], client=client)
        same(expected(json.loads(native.content)["circuit"], 4), expected(circuit, 4))


@check
def members_of_a_new_and_a_finished_job() -> None:
    """Every member the generated model asks for, before and after."""
    job_id = submitted(name="mine", metadata={"team": "a"}, noise={"model": "aria-1", "seed": 42})
    new = get_job.sync(uuid=job_id, client=client)
    assert isinstance(new, SingleCircuitJob)
    assert (new.backend, new.type_, new.dry_run, new.name) == ("simulator", "ionq.circuit.v1", False, "mine")
    assert new.submitter_id
    assert new.project_id
    assert new.failure is new.session_id is new.parent_job_id is new.child_job_ids is None
    done = ended(job_id)
    assert (done.status, done.shots, done.noise.model, done.noise.seed) == ("completed", 100, "aria-1", 42)
    assert done.metadata.additional_properties == {"team": "a"}
    assert done.submitted_at <= done.started_at <= done.completed_at
    assert done.execution_duration_ms is not None
    assert (done.stats.qubits, done.stats.circuits) == (2, 1)
    assert done.stats.gate_counts.additional_properties == {"1q": 1, "2q": 1}
    assert get_job_cost.sync(uuid=job_id, client=client).cost is not None


@check
def artifacts_of_every_format() -> None:
    """Every descriptor leads to its payload, and all payloads tell the same outcomes."""
    job = ended(submitted([{"gate": "x", "target": 1}, {"gate": "h", "target": 2}], 3, noise={"model": "ideal"}))
    ideal = {name for name in links(job) if name.startswith("ionq.")}
    assert ideal == {"ionq.result.probabilities.json.v1", "ionq.result.probabilities.json.v2"}, ideal
    job = ended(submitted([{"gate": "x", "target": 1}, {"gate": "h", "target": 2}], 3, backend="qpu.forte-1"))
    found = {}
    for name, descriptor in links(job).items():
        if not name.startswith("ionq."):
            continue
        assert descriptor["format"] == name
        answer = get_job_artifact.sync_detailed(uuid=job.id, artifact_id=descriptor["id"], client=client)
        assert answer.headers["content-type"].startswith(descriptor["media_type"])
        found[name] = json.loads(answer.content)
        assert get_format_schema.sync_detailed(format_=name, client=client).status_code.value == 200
    counts = found["ionq.result.histogram.json.v1"]
    assert sum(counts.values()) == 100
    assert {key: round(100 * p) for key, p in found["ionq.result.probabilities.json.v1"].items()} == counts
    shots = found["ionq.result.shots.json.v1"]
    assert {key: shots.count(key) for key in set(shots)} == counts
    registers = found["ionq.result.histogram.json.v2"]["histogram"]["registers"]["output_all"]
    assert {str(int(key, 2)): count for key, count in registers.items()} == counts
    assert {len(key) for key in registers} == {3}
    bits = [shot["registers"]["output_all"] for shot in found["ionq.result.shots.json.v2"]["shots"]]
    assert [str(sum(bit << k for k, bit in enumerate(row))) for row in bits] == shots
    for kind in ("histogram", "shots", "probabilities"):
        linked = httpx.get(harness.URL + links(job)[kind]["url"], headers=HEADERS)
        assert linked.json() == found[f"ionq.result.{kind}.json.v1"]


@check
def many_circuits_in_one_job() -> None:
    """A parent and its children: order, both gate sets in one job, registers, aggregated results."""
    circuits = [
        {"name": "a", "circuit": [{"gate": "x", "target": 2}], "qubits": 3},
        {"name": "b", "gateset": "native", "circuit": [{"gate": "gpi", "target": 0, "phase": 0}]},
        {"circuit": []},
        {"circuit": [{"gate": "x", "target": 1}], "registers": {"swapped": [1, 0, None]}},
    ]
    body = JSONMultiCircuitJob.from_dict(
        {
            "type": "ionq.multi-circuit.v1",
            "backend": "simulator",
            "shots": 10,
            "input": {"gateset": "qis", "qubits": 2, "circuits": circuits},
            "noise": {"model": "aria-1", "seed": 3},
        }
    )
    parent = ended(created(body))
    assert parent.type_ == "ionq.multi-circuit.v1"
    assert len(parent.child_job_ids) == 4
    results = links(parent)
    whole = httpx.get(harness.URL + results["probabilities"]["url"], headers=HEADERS).json()
    assert list(whole) == parent.child_job_ids
    commonest = [max(found.items(), key=lambda item: item[1])[0] for found in whole.values()]
    assert commonest == ["4", "1", "0", "2"]
    name = results["ionq.result.probabilities-aggregate.json.v1"]["id"]
    artifact = get_job_artifact.sync_detailed(uuid=parent.id, artifact_id=name, client=client)
    assert json.loads(artifact.content) == whole
    children = [get_job.sync(uuid=child, client=client) for child in parent.child_job_ids]
    assert [child.parent_job_id for child in children] == [parent.id] * 4
    assert [child.name for child in children[:2]] == ["a", "b"]
    v2 = links(children[3])["ionq.result.histogram.json.v2"]["id"]
    named = json.loads(get_job_artifact.sync_detailed(uuid=children[3].id, artifact_id=v2, client=client).content)
    assert named["histogram"]["registers"]["swapped"].get("001") == 10, named
    listed = get_jobs.sync(client=client, parent_job_id=parent.id)
    assert {job.id for job in listed.jobs} == set(parent.child_job_ids)
    assert not {job.id for job in get_jobs.sync(client=client, limit=25).jobs} & set(parent.child_job_ids)


@check
def lists_and_pages() -> None:
    """Filters, cursors and both iterators."""
    made = [submitted() for _ in range(5)]
    for job_id in made:
        ended(job_id)
    paged = [job.id for job in itertools.islice(iter_jobs(client, limit=2), 5)]
    assert paged == made[::-1], "newest first"
    assert {job.id for job in get_jobs.sync(client=client, ids=made[:2]).jobs} == set(made[:2])
    found = get_jobs.sync(client=client, status="completed", target="simulator", limit=3)
    assert {(job.status, job.backend) for job in found.jobs} == {("completed", "simulator")}

    async def asynchronous() -> list[str]:
        ids: list[str] = []
        async with IonQClient(api_key=harness.KEY, base_url=BASE) as own:
            job = await create_job.asyncio(client=own, body=payload())
            done = await async_wait_for_job(own, job.id, poll_interval=0.02, timeout=20)
            assert done.status == "completed"
            async for found in aiter_jobs(own, limit=1):
                ids.append(found.id)
                if len(ids) == 3:
                    break
        return [job.id, *ids]

    newest, *ids = asyncio.run(asynchronous())
    assert ids == [newest, *made[:2:-1]]


@check
def cancel_and_delete() -> None:
    """One and many; at once, and after the end."""
    assert cancel_job.sync(uuid=submitted(), client=client).status == "canceled"
    several = [submitted() for _ in range(3)]
    assert cancel_jobs.sync(client=client, body=JobsBulkOperationRequest(ids=several)).ids == several
    within(10, lambda: get_job.sync(uuid=several[0], client=client).status in {"canceled", "completed"})
    assert delete_job.sync(uuid=several[0], client=client).status == "deleted"
    raises(NotFoundError, lambda: get_job.sync(uuid=several[0], client=client))
    assert delete_jobs.sync(client=client, body=JobsBulkOperationRequest(ids=several[1:])).status == "deleted"
    raises(NotFoundError, lambda: cancel_job.sync(uuid=several[1], client=client))


@check
def clone_and_move() -> None:
    """A copy with overrides; a job that has run cannot be moved."""
    first = submitted(name="first", metadata={"a": "b"})
    ended(first)
    copy = clone_job.sync(
        uuid=first, client=client, body=CloneJobPayload.from_dict({"shots": 7, "backend": "qpu.aria-1"})
    )
    done = ended(copy.id)
    assert (done.shots, done.backend, done.name) == (7, "qpu.aria-1", "first")
    raises(BadRequestError, lambda: move_job.sync(uuid=first, client=client, body=CloneJobPayload()))


@check
def failed_jobs_say_why() -> None:
    """Wider than the backend: accepted, then failed with code and message."""
    wide = [{"gate": "h", "target": wire} for wire in range(27)]
    for other in ({"backend": "qpu.aria-1"}, {"noise": {"model": "aria-1"}}):
        job_id = submitted(wide, 27, **other)
        error = raises(JobFailedError, ended, job_id)
        assert error.failure.code == "NotEnoughQubits"
        assert "25" in error.failure.message
        assert ended(job_id, raise_on_failure=False).results is None
        raises(NotFoundError, probabilities, job_id)


@check
def refusals_reach_the_user() -> None:
    """Status, message, named members and the request's id."""
    absurd = payload(qubits=10**9)
    for body, field in (
        (payload(shots=0), "shots"),
        (payload(backend="qpu.unheard-of"), "backend"),
        (payload([{"gate": "x", "target": 5}]), "target"),
        (absurd, "qubits"),
    ):
        error = raises(BadRequestError, created, body)
        assert error.body["statusCode"] == 400
        assert error.body["error"] == "Bad Request"
        assert field in " ".join(error.body["validation"]["keys"]), error.body
        assert error.request_id
    stranger = IonQClient(api_key="not-a-key", base_url=BASE, max_retries=0)
    raises(AuthenticationError, lambda: get_whoami.sync(client=stranger))
    raises(NotFoundError, lambda: get_job.sync(uuid="0197c3a2-4f10-7e6b-8a2d-5d7c1b0e9f31", client=client))


@check
def backends_and_characterizations() -> None:
    """Backends without a key; characterizations by backend and by id."""
    found = {backend.backend: backend for backend in get_backends.sync(client=Client(base_url=BASE))}
    assert {name: found[name].qubits for name in ("simulator", "qpu.aria-1", "qpu.forte-1")} == {
        "simulator": 29,
        "qpu.aria-1": 25,
        "qpu.forte-1": 36,
    }
    for name in found:
        one = get_backend.sync(name, client=Client(base_url=BASE))
        assert (one.backend, one.status) == (name, "available")
        assert one.last_updated
        if name.startswith("qpu."):
            newest = get_characterizations_for_backend.sync(name, client=client, limit=1).characterizations[0]
            assert str(newest.id) == one.characterization_id
            again = get_characterization.sync(name, str(newest.id), client=client)
            assert (again.backend, again.qubits) == (name, one.qubits)
            assert again.fidelity.spam.median > 0.9
            assert again.timing.readout > 0
    raises(NotFoundError, lambda: get_backend.sync("qpu.qpu", client=client))


@check
def accounts_and_estimates() -> None:
    """Who asks, what a job would cost, and what a project's key may not see."""
    me = get_whoami.sync(client=client)
    assert me.key_name
    assert me.key_id
    job = get_job.sync(uuid=submitted(), client=client)
    assert (job.project_id, job.submitter_id) == (str(me.project_id), str(me.key_id))
    found = estimate_job_cost.sync(
        client=client, backend="qpu.forte-1", qubits=2, shots=1000, field_1q_gates=1, field_2q_gates=1
    )
    assert found.estimated_execution_time > 0
    assert found.estimate_context.shots == 1000
    today = datetime.datetime.now(datetime.UTC).date()
    usage = {"start_date": today, "end_date": today, "group_by": "project", "modality": "monthly"}
    raises(PermissionDeniedError, lambda: get_usages.sync("self", client=client, **usage))


@check
def costs_are_read() -> None:
    """What a job of a priced machine will cost and did cost; of the simulator, a cost of 0 and no estimate."""
    job = ended(submitted(backend="qpu.lab-12", shots=1000))
    told = get_job_cost.sync(uuid=job.id, client=client)
    assert (told.dry_run, told.cost.value, told.cost.unit) == (False, 0.5, "usd")
    assert (told.estimated_cost.value, told.estimated_cost.unit) == (0.5, "usd")
    assert job.cost_model == "2QGE_operations"
    dry = get_job_cost.sync(uuid=ended(submitted(backend="qpu.lab-12", dry_run=True)).id, client=client)
    assert (dry.dry_run, isinstance(dry.cost, Unset), dry.estimated_cost.value) == (True, True, 0.5)
    free = get_job_cost.sync(uuid=ended(submitted()).id, client=client)
    assert (free.cost.value, isinstance(free.estimated_cost, Unset)) == (0, True)
    found = estimate_job_cost.sync(
        client=client, backend="qpu.lab-12", qubits=2, shots=1000, field_1q_gates=10, field_2q_gates=10
    )
    assert (found.estimated_total_cost, found.estimated_unit) == (2.3, "usd")
    [rate] = found.rate_card.rates
    assert (rate.unit, rate.cost_1q_gate, rate.cost_2q_gate, rate.job_cost_minimum) == ("gates", 3e-5, 2e-4, 0.5)


@check
def sessions() -> None:
    """Create, get, list, jobs and end, each with every member that is required."""
    limits = SessionSettingsRequest(
        job_count_limit=5, duration_limit_min=30, cost_limit=SessionCostLimit(value=1.5, unit="usd")
    )
    made = create_session.sync(client=client, body=CreateSessionRequest(backend="qpu.forte-1", settings=limits))
    assert (made.status, made.active, made.backend) == ("created", True, "qpu.forte-1")
    assert (made.settings.job_count_limit, made.settings.cost_limit.value) == (5, 1.5)
    assert made.settings.expires_at - made.created_at == datetime.timedelta(minutes=30)
    assert made.started_at is made.ended_at is made.ender_id is None
    assert made.creator_id == str(get_whoami.sync(client=client).key_id)
    job_id = submitted(backend="qpu.forte-1", session_id=made.id)
    assert ended(job_id).session_id == made.id
    found = get_session.sync(made.id, client=client)
    assert (found.status, found.started_at is None) == ("started", False)
    listed = get_sessions.sync(client=client, active=True)
    assert made.id in {session.id for session in listed.sessions}
    assert listed.organization_id == made.organization_id
    assert [job.id for job in get_session_jobs.sync(made.id, client=client).jobs] == [job_id]
    assert [job.id for job in get_jobs.sync(client=client, session_id=made.id).jobs] == [job_id]
    over = end_session.sync(made.id, client=client)
    assert (over.status, over.active, over.ender_id) == ("ended", False, made.creator_id)
    assert made.id in {session.id for session in get_sessions.sync(client=client, active=False).sessions}
    raises(BadRequestError, lambda: submitted(backend="qpu.forte-1", session_id=made.id))
    raises(NotFoundError, lambda: get_session.sync("nowhere", client=client))
    raises(NotFoundError, lambda: end_session.sync("nowhere", client=client))


@check
def session_managers() -> None:
    """The SDK's own manager, waiting and awaiting; a full session refuses the next job."""
    with SessionManager(client, "simulator", max_jobs=1, max_time=10, max_cost=2.5) as session:
        assert session.status() == "created"
        job_id = submitted(session_id=session.session_id)
        raises(BadRequestError, lambda: submitted(session_id=session.session_id))
        ended(job_id)
        assert session.status() == "ended"
    assert SessionManager.from_id(client, session.session_id).status() == "ended"

    async def awaited() -> None:
        async with SessionManager(client, "qpu.aria-1") as session:
            assert await session.async_status() == "created"
        assert await session.async_status() == "ended"

    asyncio.run(awaited())


@check
def dry_runs() -> None:
    """Validated, compiled, completed, without results."""
    for backend in ("simulator", "qpu.forte-1"):
        job = ended(submitted(backend=backend, dry_run=True))
        assert (job.status, job.dry_run, job.results, job.execution_duration_ms) == ("completed", True, None, 0)


@check
def aliases_and_lax_numbers() -> None:
    """The bare name of a backend, decimal text, integral floats, no content type, no `qubits`."""
    body = {
        "type": "ionq.circuit.v1",
        "backend": "aria-1",
        "shots": "25",
        "input": {"gateset": "qis", "circuit": [{"gate": "x", "target": 1.0}]},
    }
    answer = httpx.post(f"{BASE}/jobs", content=json.dumps(body), headers=HEADERS)
    assert answer.status_code == 201, answer.text
    job = ended(answer.json()["id"])
    assert (job.backend, job.shots, job.stats.qubits) == ("qpu.aria-1", 25, 2)
    assert httpx.get(f"{BASE}/backends/aria-1").json()["backend"] == "qpu.aria-1"


@check
def both_versions_show_one_job() -> None:
    """What one version made, the other shows, in every state it can end in."""
    old = f"{harness.URL}/v0.3"
    three = [{"format": "ionq.circuit.v0", "qubits": 1, "circuit": [{"gate": name, "target": 0}]} for name in "xhx"]
    made = httpx.post(f"{old}/jobs", json={"target": "simulator", "shots": 8, "input": three}, headers=HEADERS)
    assert (made.status_code, made.json()["status"]) == (200, "ready"), made.text
    parent = ended(made.json()["id"])
    assert (parent.type_, len(parent.child_job_ids), parent.stats.circuits) == ("ionq.multi-circuit.v1", 3, 3)
    view = httpx.get(f"{old}/jobs/{parent.id}", headers=HEADERS).json()
    assert view["children"] == parent.child_job_ids
    assert (view["status"], view["target"], view["circuits"]) == ("completed", "simulator", 3)
    whole = httpx.get(harness.URL + view["results_url"], headers=HEADERS).json()
    assert list(whole.values()) == [{"1": 1}, {"0": 0.5, "1": 0.5}, {"1": 1}]
    wide = submitted([{"gate": "h", "target": wire} for wire in range(27)], 27, backend="qpu.aria-1", name="wide")
    failed = ended(wide, raise_on_failure=False)
    view = httpx.get(f"{old}/jobs", params={"id": wide}, headers=HEADERS).json()["jobs"][0]
    assert (view["status"], view["name"]) == ("failed", "wide")
    assert view["failure"] == {**view["failure"], "code": failed.failure.code, "error": failed.failure.message}
    assert isinstance(view["request"], int)
    assert "results_url" not in view


if __name__ == "__main__":
    harness.main()

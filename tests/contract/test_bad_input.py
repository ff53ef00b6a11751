"""Bad input of every kind: the documented refusal naming the member, never a 5xx, nothing stored."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from orchestrator.api.strict import MAX_BODY
from tests.contract.harness import BELL, Client

GATE = {"gate": "h", "target": 0}


def job(**changes: Any) -> dict[str, Any]:
    return {**BELL, **changes}


def circuit(*gates: Any, **members: Any) -> dict[str, Any]:
    return job(input={"gateset": "qis", "qubits": 2, "circuit": list(gates), **members})


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in BELL.items() if name not in names}


REFUSED: list[tuple[Any, str]] = [
    (without("type"), "type"),
    (without("backend"), "backend"),
    (without("input"), "input"),
    (job(type="ionq.qasm3.v1", input={"data": "OPENQASM 3.0;"}), "type"),
    (job(type="quantum-function"), "type"),
    (job(type="qctrl.qaoa.v1"), "type"),
    (job(type="unheard.of"), "type"),
    (job(type=7), "type"),
    (job(type=None), "type"),
    (job(backend="nowhere"), "backend"),
    (job(backend=""), "backend"),
    (job(backend=["simulator"]), "backend"),
    (job(backend=None), "backend"),
    (job(shots=0), "shots"),
    (job(shots=-1), "shots"),
    (job(shots=1_000_001), "shots"),
    (job(shots=2**62), "shots"),
    (job(shots=1.5), "shots"),
    (job(shots=1e300), "shots"),
    (job(shots=True), "shots"),
    (job(shots="many"), "shots"),
    (job(shots=""), "shots"),
    (job(shots="1e3"), "shots"),
    (job(shots="9" * 40), "shots"),
    (job(shots="\u0661\u0662"), "shots"),
    (job(shots=[100]), "shots"),
    (job(name=5), "name"),
    (job(name="n" * 2000), "name"),
    (job(metadata=[]), "metadata"),
    (job(metadata={"a": 1}), "metadata[...]"),
    (job(metadata={"a": None}), "metadata[...]"),
    (job(metadata={str(n): "v" for n in range(11)}), "metadata"),
    (job(metadata={"k" * 41: "v"}), "metadata"),
    (job(metadata={"k": "v" * 40_001}), "metadata"),
    (job(noise="aria-1"), "noise"),
    (job(noise={}), "noise.model"),
    (job(noise={"seed": 1}), "noise.model"),
    (job(noise={"model": 3}), "noise.model"),
    (job(noise={"model": "nothing"}), "noise.model"),
    (job(noise={"model": "aria-1", "seed": 0}), "noise.seed"),
    (job(noise={"model": "aria-1", "seed": 2**31}), "noise.seed"),
    (job(noise={"model": "aria-1", "seed": "x"}), "noise.seed"),
    (job(noise={"model": "aria-1", "seed": 1.5}), "noise.seed"),
    (job(settings=[]), "settings"),
    (job(settings={"compilation": 1}), "settings.compilation"),
    (job(settings={"compilation": {"opt": "high"}}), "settings.compilation.opt"),
    (job(settings={"compilation": {"precision": 3}}), "settings.compilation.precision"),
    (job(settings={"error_mitigation": {"debiasing": "yes"}}), "settings.error_mitigation.debiasing"),
    (job(session_id="0197c3b0-0000-7000-8000-00000000000a"), "session_id"),
    (job(session_id=5), "session_id"),
    (job(dry_run="yes"), "dry_run"),
    (job(dry_run=1), "dry_run"),
    (job(input=None), "input"),
    (job(input=[]), "input"),
    (job(input="x"), "input"),
    (job(input={}), "input.circuit"),
    (job(input={"circuit": {}}), "input.circuit"),
    (job(input={"circuit": [GATE], "circuits": []}), "input.circuit"),
    (job(type="ionq.multi-circuit.v1"), "input.circuits"),
    (job(type="ionq.multi-circuit.v1", input={"circuits": []}), "input.circuits"),
    (job(type="ionq.multi-circuit.v1", input={"circuits": [{}]}), "input.circuits[0].circuit"),
    (job(type="ionq.multi-circuit.v1", input={"circuits": [{"circuit": []}] * 5001}), "input.circuits"),
    (circuit(gateset="other"), "input.gateset"),
    (circuit(qubits=0), "input.qubits"),
    (circuit(qubits=-5), "input.qubits"),
    (circuit(qubits=10**9), "input.qubits"),
    (circuit(qubits=1.5), "input.qubits"),
    (circuit(qubits="two"), "input.qubits"),
    (circuit("h"), "input.circuit[0]"),
    (circuit({}), "input.circuit[0].gate"),
    (circuit({"gate": "warp", "target": 0}), "input.circuit[0].gate"),
    (circuit({"gate": 5, "target": 0}), "input.circuit[0].gate"),
    (circuit({"gate": "gpi", "target": 0, "phase": 0.1}), "input.circuit[0].gate"),
    (circuit({"gate": "h"}), "input.circuit[0]."),
    (circuit(GATE, {"gate": "h", "target": 2}), "input.circuit[1].target"),
    (circuit({"gate": "h", "target": -1}), "input.circuit[0].target"),
    (circuit({"gate": "h", "target": 0.5}), "input.circuit[0].target"),
    (circuit({"gate": "h", "target": "0"}), "input.circuit[0].target"),
    (circuit({"gate": "cnot", "control": 0, "target": 0}), "input.circuit[0]."),
    (circuit({"gate": "swap", "targets": [0, 0]}), "input.circuit[0].targets"),
    (circuit({"gate": "swap", "targets": [0]}), "input.circuit[0].targets"),
    (circuit({"gate": "rx", "target": 0}), "input.circuit[0].rotation"),
    (circuit({"gate": "rx", "target": 0, "rotation": "pi"}), "input.circuit[0].rotation"),
    (circuit({"gate": "pauliexp", "targets": [0], "terms": ["Q"], "coefficients": [1], "time": 1}), "input.circuit[0]"),
    (circuit({"gate": "gpi", "target": 0, "phase": 2}, gateset="native"), "input.circuit[0].phase"),
    (circuit({"gate": "ms", "targets": [0, 1], "phases": [0]}, gateset="native"), "input.circuit[0].phases"),
    (circuit(registers={"c": [7]}), "input.registers"),
    (circuit(*[GATE] * 150_001), "input.circuit"),
]

MALFORMED: list[tuple[bytes, str]] = [
    (b"", "invalid_json"),
    (b"{", "invalid_json"),
    (b"{]", "invalid_json"),
    (b"nonsense", "invalid_json"),
    (b"{'type': 1}", "invalid_json"),
    (b'{"a":1,}', "invalid_json"),
    (b'{"a":1}{"b":2}', "invalid_json"),
    (b'{"a":1} x', "invalid_json"),
    (b'\xef\xbb\xbf{"a":1}', "invalid_json"),
    (b'{"a":"\n"}', "invalid_json"),
    (b"[]", "wrong_type"),
    (b"null", "wrong_type"),
    (b'"text"', "wrong_type"),
    (b"[" * 100_000, "json_too_deep"),
    (b"[" * 40 + b"]" * 40, "json_too_deep"),
    (b'{"a":' * 40 + b"1" + b"}" * 40, "json_too_deep"),
    (b'{"a":' * 5_000_000, "values_out_of_range"),
    (b'{"a":1,"a":2}', "duplicate_key"),
    (b'{"a":{"b":1,"\\u0062":2}}', "duplicate_key"),
    (b'{"shots":NaN}', "non_finite_number"),
    (b'{"shots":Infinity}', "non_finite_number"),
    (b'{"shots":-Infinity}', "non_finite_number"),
    (b'{"shots":1e400}', "non_finite_number"),
    (b'{"shots":-1e400}', "non_finite_number"),
    (b'{"shots":9223372036854775808}', "integer_out_of_range"),
    (b'{"shots":' + b"9" * 5000 + b"}", "integer_out_of_range"),
    (b'{"a":"\xff"}', "invalid_unicode"),
    (b'{"a":"\xed\xa0\x80"}', "invalid_unicode"),
    (b'{"a":"\\ud800"}', "invalid_unicode"),
    (b'{"a":"\\udc00\\ud800"}', "invalid_unicode"),
    ('{"type":"é"}'.encode("utf-16"), "invalid_unicode"),
    (b'{"a":"\\u0000"}', "invalid_character"),
    (b'{"a":"\x00"}', "invalid_character"),
    (b"[" + b"1," * 4_000_000 + b"1]", "values_out_of_range"),
    (b"[" + b"[]," * 3_000_000 + b"[]]", "values_out_of_range"),
]


@pytest.mark.parametrize(("body", "field"), REFUSED, ids=[f"{n}-{field}" for n, (_, field) in enumerate(REFUSED)])
async def test_a_wrong_member_is_named(client: Client, body: Any, field: str) -> None:
    """400 in the documented form, naming the member."""
    status, answer = await client.ask("POST", "/v0.4/jobs", body)
    assert (status, answer["statusCode"], answer["error"]) == (400, 400, "Bad Request")
    assert answer["message"]
    assert answer["validation"]["source"] == "body"
    assert answer["validation"]["keys"][0].startswith(field), answer
    assert (await client.ask("GET", "/v0.4/jobs"))[1]["jobs"] == []


@pytest.mark.parametrize(("body", "code"), MALFORMED, ids=[f"{n}-{code}" for n, (_, code) in enumerate(MALFORMED)])
@pytest.mark.parametrize("path", ["/v0.4/jobs", "/v0.3/jobs"])
async def test_a_body_that_is_not_strict_json_is_refused(client: Client, path: str, body: bytes, code: str) -> None:
    """Each broken rule has its own code."""
    status, answer = await client.ask("POST", path, body)
    if len(body) > MAX_BODY:
        assert (status, answer["code"]) == (413, "body_too_large")
    else:
        assert (status, answer["code"]) == (400, code)


async def test_sizes_and_encodings(client: Client) -> None:
    """413 above the limit, told or not; compressed bodies are refused unread."""
    assert (await client.ask("POST", "/v0.4/jobs", b" " * (MAX_BODY + 1)))[0] == 413

    async def chunks() -> Any:
        for _ in range(11):
            yield b" " * 1024 * 1024

    async with client.session.post("/v0.4/jobs", data=chunks()) as response:
        assert response.status == 413
    for encoding in ("gzip", "br", "identity, gzip"):
        status, answer = await client.ask("POST", "/v0.4/jobs", b"{}", headers={"Content-Encoding": encoding})
        assert (status, answer["code"]) == (400, "unsupported_encoding")


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v0.4/jobs?status=done", "status"),
        ("/v0.4/jobs?limit=many", "limit"),
        ("/v0.4/jobs?next=elsewhere", "next"),
        ("/v0.4/jobs/estimate", "backend"),
        ("/v0.4/jobs/estimate?backend=nowhere", "backend"),
        ("/v0.4/jobs/estimate?backend=simulator&shots=0", "shots"),
        ("/v0.4/jobs/estimate?backend=simulator&1q_gates=-1", "1q_gates"),
        ("/v0.4/backends/simulator/characterizations?page=0", "page"),
        ("/events/v1?kind=job.vanished", "kind"),
        ("/events/v1?cursor=nonsense", "cursor"),
        ("/events/v1?cursor=other:1", "cursor"),
    ],
)
async def test_a_wrong_parameter_is_named(client: Client, path: str, field: str) -> None:
    """400 with the parameter's name and `query` as its source."""
    status, answer = await client.ask("GET", path)
    assert status == 400
    assert answer["validation"] == {"keys": [field], "source": "query"}


@pytest.mark.parametrize("body", [{}, {"ids": []}, {"ids": "x"}, {"ids": [1]}, {"ids": ["x"] * 1001}, []])
async def test_lists_of_ids_are_checked(client: Client, body: Any) -> None:
    """Cancel and delete of many want a list of ids."""
    assert (await client.ask("PUT", "/v0.4/jobs/status/cancel", body))[0] == 400
    assert (await client.ask("DELETE", "/v0.4/jobs", body))[0] == 400


async def test_one_unknown_id_changes_nothing(client: Client) -> None:
    """Cancel and delete of many are all or nothing."""
    held = await client.submit({**BELL, "name": "hold"})
    for method, path in (("PUT", "/v0.4/jobs/status/cancel"), ("DELETE", "/v0.4/jobs")):
        assert (await client.ask(method, path, {"ids": [held, "unknown"]}))[0] == 404
    _, answer = await client.ask("GET", f"/v0.4/jobs/{held}")
    assert answer["status"] in {"ready", "started"}


async def test_errors_never_echo_what_was_sent(client: Client) -> None:
    """No part of a request comes back in a refusal."""
    marker = "s3cr3t-marker"
    for body in (
        job(type=marker), job(backend=marker), circuit({"gate": marker, "target": 0}), job(noise={"model": marker}),
        circuit(gateset=marker), job(metadata={marker: 1}), circuit(registers={marker: [9]}),
    ):  # fmt: skip
        status, raw = await client.raw("POST", "/v0.4/jobs", msgspec.json.encode(body))
        assert status == 400
        assert marker.encode() not in raw

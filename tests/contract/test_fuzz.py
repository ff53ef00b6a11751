"""Whatever is sent, no answer is a 5xx, and every refusal has the documented form."""

from __future__ import annotations

import json
import random
from typing import Any

from tests.contract.harness import BELL, MULTI, NOISY, Client

VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2, 10**9, 2**63 - 1, 1.5, -0.0, 1e308, "", "x", "simulator", "qis", "\u0661", "é" * 50,
    [], [0], [0, 1], [None], {}, {"model": "aria-1"}, {"gate": "h"}, [[]], [{}], {"circuit": []},
]  # fmt: skip
SESSION = {
    "backend": "simulator",
    "settings": {"job_count_limit": 5, "duration_limit_min": "10m", "cost_limit": {"value": 1.5, "unit": "usd"}},
}
PATHS = [
    ("POST", "/v0.4/jobs"), ("POST", "/v0.3/jobs"), ("PUT", "/v0.4/jobs/status/cancel"), ("DELETE", "/v0.3/jobs"),
    ("GET", "/v0.4/jobs"), ("POST", "/v0.4/jobs/x/clone"), ("POST", "/v0.4/sessions"),
]  # fmt: skip


def mutated(document: Any, rng: random.Random) -> Any:
    """The document with one place of it changed, dropped or doubled."""
    if isinstance(document, dict) and document and rng.random() < 0.9:
        name = rng.choice(list(document))
        changed = dict(document)
        if rng.random() < 0.15:
            del changed[name]
        elif rng.random() < 0.15:
            changed[rng.choice(["qubits", "circuits", "registers", "gateset", "control", "phases"])] = rng.choice(
                VALUES
            )
        else:
            changed[name] = mutated(document[name], rng)
        return changed
    if isinstance(document, list) and document and rng.random() < 0.8:
        place = rng.randrange(len(document))
        return [*document[:place], mutated(document[place], rng), *document[place:][1:]]
    return rng.choice(VALUES)


async def test_no_request_makes_a_server_error(client: Client) -> None:
    """2,000 mutations of good bodies, some cut or damaged, on the routes that read bodies."""
    rng = random.Random(7)
    seen: dict[int, int] = {}
    for _ in range(2000):
        document: Any = rng.choice([BELL, NOISY, MULTI, SESSION, {"ids": ["x"]}, {"shots": 5}])
        for _ in range(rng.randint(1, 3)):
            document = mutated(document, rng)
        body = json.dumps(document, ensure_ascii=rng.random() < 0.5).encode()
        if rng.random() < 0.1:
            place = rng.randrange(len(body) + 1)
            body = body[:place] + rng.randbytes(rng.randint(0, 3)) + body[place + 1 :]
        method, path = rng.choice(PATHS)
        status, answer = await client.ask(method, path, body)
        seen[status] = seen.get(status, 0) + 1
        assert status < 500, (status, body)
        if status >= 400:
            assert answer["statusCode"] == status
            assert answer["error"]
            assert answer["message"]
    assert {200, 201, 400, 404} <= set(seen)


async def test_no_query_makes_a_server_error(client: Client) -> None:
    """Odd values of every known parameter, and paths of odd parts."""
    rng = random.Random(11)
    names = ["ids", "id", "status", "target", "limit", "next", "parent_job_id", "session_id", "sharpen", "start", "end"]
    names += ["active"]
    odd = [
        "",
        "0",
        "-1",
        "9" * 30,
        "x",
        "%00",
        "%ff",
        "%ed%a0%80",
        "a,b,,",
        "1e5",
        "NaN",
        "true",
        "2026-13-45",
        "٣",
        "'",
    ]
    paths = ["/v0.4/jobs", "/v0.3/jobs", "/v0.4/jobs/{}", "/v0.4/jobs/{}/results/probabilities", "/v0.4/backends/{}",
             "/v0.4/backends/qpu.aria-1/characterizations", "/v0.3/characterizations/{}", "/v0.4/jobs/estimate",
             "/v0.4/jobs/{}/artifacts/{}", "/v0.4/schemas/formats/{}", "/calibrations",
             "/v0.4/sessions", "/v0.4/sessions/{}", "/v0.4/sessions/{}/jobs"]  # fmt: skip
    for _ in range(500):
        path = rng.choice(paths).replace("{}", rng.choice(odd[1:]))
        query = "&".join(f"{rng.choice(names)}={rng.choice(odd)}" for _ in range(rng.randint(0, 3)))
        status, _ = await client.raw("GET", f"{path}?{query}")
        assert status < 500, (path, query)

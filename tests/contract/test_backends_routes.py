"""Backends, characterizations and old calibrations in both versions."""

from __future__ import annotations

import pytest

from orchestrator.backends.capabilities import QIS_GATES
from orchestrator.testing.adapters import ScriptedAdapter
from tests.contract.harness import CALIBRATION, Client, Service, launched


@pytest.mark.parametrize("version", ["v0.3", "v0.4"])
async def test_backends_need_no_key(service: Service, client: Client, version: str) -> None:
    """Clients ask without a key; with one the list says what it may use."""
    stranger = await service.stranger()
    status, backends = await stranger.ask("GET", f"/{version}/backends")
    assert status == 200
    assert [backend["backend"] for backend in backends] == ["simulator", "qpu.aria-1"]
    assert all("has_access" not in backend for backend in backends)
    assert (await client.ask("GET", f"/{version}/backends/simulator"))[1]["has_access"] is True
    assert (await stranger.ask("GET", f"/{version}/backends/qpu.qpu"))[0] == 404


async def test_a_backend_in_each_version(client: Client) -> None:
    """Times, calibration and capabilities as each version spells them."""
    _, new = await client.ask("GET", "/v0.4/backends/aria-1")
    assert {"status", "qubits", "average_queue_time", "last_updated", "supported_native_gates"} <= set(new)
    assert new["characterization_id"] == CALIBRATION
    assert (new["kw"], new["location"]) == (1.5, "lab")
    assert new["last_updated"].endswith("Z")
    _, old = await client.ask("GET", "/v0.3/backends/aria-1")
    assert old["characterization_url"] == f"/characterizations/{CALIBRATION}"
    assert isinstance(old["last_updated"], int)
    _, simulator = await client.ask("GET", "/v0.4/backends/simulator")
    assert simulator["noise_models"] == ["ideal", "aria-1"]
    assert "characterization_id" not in simulator


async def test_gates_are_those_a_backend_takes() -> None:
    """Native gates where it runs native circuits, the vendor's names where it runs QIS ones and names none itself."""
    qis = ScriptedAdapter("qis", gatesets=("qis",))
    native = ScriptedAdapter("native", gatesets=("native",), native_gates=("gpi", "zz"))
    choosy = ScriptedAdapter("choosy", gates=("h", "cnot"))
    async with launched(beside=[qis, native, choosy]) as service:
        client = await service.stranger()
        found = {
            backend["backend"]: (backend["supported_gates"], backend["supported_native_gates"])
            for backend in (await client.ask("GET", "/v0.4/backends"))[1]
        }
        vendor = list(QIS_GATES)
        assert len(vendor) == 19
        assert found["qis"] == (vendor, [])
        assert found["native"] == ([], ["gpi", "zz"])
        assert found["choosy"] == (["h", "cnot"], ["gpi", "gpi2", "ms", "zz", "nop"])
        assert found["qpu.aria-1"] == (vendor, ["gpi", "gpi2", "ms"])


async def test_characterizations(client: Client) -> None:
    """Medians and ISO dates in v0.4, means and seconds in v0.3, and filters by time."""
    _, page = await client.ask("GET", "/v0.4/backends/qpu.aria-1/characterizations?limit=1000")
    assert page["pages"] == 0
    recorded = page["characterizations"][0]
    assert recorded["fidelity"]["spam"] == {"median": 0.995}
    assert recorded["date"] == "2026-01-31T12:00:00.000Z"
    path = f"/v0.4/backends/qpu.aria-1/characterizations/{CALIBRATION}"
    assert await client.ask("GET", path) == (200, recorded)
    for dates, found in (("start=2026-02-01", 0), ("end=2026-01-31", 1), ("end=2026-01-31T11:00:00Z", 0)):
        _, page = await client.ask("GET", f"/v0.4/backends/aria-1/characterizations?{dates}")
        assert len(page["characterizations"]) == found, dates
    assert (await client.ask("GET", "/v0.4/backends/aria-1/characterizations?start=soon"))[0] == 400
    assert (await client.ask("GET", "/v0.4/backends/simulator/characterizations"))[1]["characterizations"] == []
    _, old = await client.ask("GET", "/v0.3/characterizations/backends/qpu.aria-1/current")
    assert old["fidelity"]["spam"] == {"mean": 0.995}
    assert old["date"] == 1_769_860_800
    assert await client.ask("GET", f"/v0.3/characterizations/{CALIBRATION}") == (200, old)
    _, page = await client.ask("GET", "/v0.3/characterizations/backends/qpu.aria-1?start=1769860800001")
    assert page["characterizations"] == []


@pytest.mark.parametrize("version", ["v0.3", "v0.4"])
async def test_calibrations_as_cirq_asks_for_them(service: Service, version: str) -> None:
    """The oldest spelling, with the page size in the body and no `next`."""
    client = await service.client(**{"User-Agent": "cirq/1.7.0"})
    _, current = await client.ask("GET", f"/{version}/calibrations/current")
    assert set(current) == {"date", "target", "qubits", "connectivity", "fidelity", "timing"}
    assert "." in current["date"]
    _, listed = await client.ask("GET", f"/{version}/calibrations", {"limit": 1000}, params={"start": "1000"})
    assert listed == {"calibrations": [current]}

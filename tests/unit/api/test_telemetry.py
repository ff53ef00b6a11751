"""Figures in a registry of their own, and a log that tells no secrets."""

from __future__ import annotations

import io
import json
import time

import prometheus_client
import pytest
import structlog

from orchestrator.service import Orchestrator
from orchestrator.telemetry import Latency, Telemetry, configure_logging, redact

SECRET = "ion_0123456789abcdef_" + "0123456789abcdef" * 4


async def test_two_orchestrators_count_apart() -> None:
    """Nothing lands in Prometheus' global registry, and nothing is shared."""
    async with Orchestrator.open(adapters=[]) as one, Orchestrator.open(adapters=[]) as two:
        first, second = Telemetry(one), Telemetry(two)
        first.requests["/v0.4/jobs", "POST", 201] += 2
        first.submit_latency.observe(0.003)
        text = first.render()[0].decode()
        assert 'orchestrator_http_requests_total{method="POST",route="/v0.4/jobs",status="201"} 2.0' in text
        assert 'orchestrator_submit_seconds_bucket{le="0.005"} 1.0' in text
        assert "orchestrator_loop_idle_seconds" in text
        assert "POST" not in second.render()[0].decode()
        first.close()
        second.close()
    assert b"orchestrator" not in prometheus_client.generate_latest()


def test_a_latency_counts_each_bound_once() -> None:
    """Buckets are cumulative and end at the number of observations."""
    latency = Latency()
    for seconds in (0.0001, 0.001, 0.3, 99.0):
        latency.observe(seconds)
    samples = {sample.labels.get("le"): sample.value for sample in latency.metric("x", "y").samples}
    assert (samples["0.0005"], samples["0.001"], samples["0.5"], samples["10.0"], samples["+Inf"]) == (1, 2, 3, 3, 4)


@pytest.mark.parametrize(
    "entry",
    [
        {"authorization": SECRET},
        {"api_key": SECRET},
        {"note": f"sent {SECRET} away"},
        {"headers": {"Authorization": f"apiKey {'x' * 20}"}},
        {"nested": [{"deep": f"apiKey {SECRET}"}]},
    ],
)
def test_secrets_are_hidden(entry: dict[str, object]) -> None:
    """By name or by form, at any depth."""
    shown = json.dumps(redact(None, "", entry))
    assert SECRET not in shown
    assert "x" * 20 not in shown


def test_the_service_log_is_json_without_locals() -> None:
    """One object a line; a traceback shows no local variables; below the level nothing is written."""
    stream = io.StringIO()
    try:
        configure_logging("info", stream)
        log = structlog.get_logger()
        log.debug("unseen")
        hidden = "local-" + SECRET
        try:
            int(hidden[:6])
        except ValueError:
            log.exception("it broke", job_id="j", key=SECRET)
    finally:
        structlog.reset_defaults()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["it broke"]
    assert lines[0]["job_id"] == "j"
    assert SECRET not in stream.getvalue()


def test_whatever_is_logged_is_written() -> None:
    """Half a surrogate pair, an exception that cannot be told, a huge number of letters: none holds up who logs it."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError("no words")

    stream = io.StringIO()
    try:
        configure_logging("info", stream)
        log = structlog.get_logger()
        for error in (RuntimeError("from a device: \udcff"), Mute(), RuntimeError("y" * 3_000_000)):
            began = time.perf_counter()
            log.error("it broke", said="\ud800", exc_info=error)
            assert time.perf_counter() - began < 1.0  # once it took minutes, in which no thread could run
    finally:
        structlog.reset_defaults()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["said"] for line in lines] == ["\\ud800"] * 3
    assert lines[0]["exception"][0]["exc_value"] == "from a device: \\udcff"
    assert len(stream.getvalue()) < 100_000

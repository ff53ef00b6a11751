"""``orchestrator events``: the log from a cursor on, over both doors."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.cli.conftest import Run, Serve, Server

FLIP = json.dumps({"qubits": 1, "circuit": [{"gate": "x", "target": 0}]})
STEPS = ["job.submitted", "job.ready", "job.started", "job.completed"]


@pytest.fixture(params=["http", "owner"])
def door(request: pytest.FixtureRequest, server: Server) -> list[str]:
    """Options for either way to the same server."""
    if request.param == "http":
        return ["--url", f"{server.url}/v0.4", "--key", server.key]
    return ["--data", str(server.data)]


def test_events_are_printed_from_a_cursor_on(run: Run, door: list[str]) -> None:
    """A page ends with where to go on; a cursor in the middle gives the rest; kinds and jobs choose."""
    (job_id,) = run("submit", "-", *door, text=FLIP).lines
    run("watch", job_id, *door)
    *events, live = run("events", "--job", job_id, "--json", *door).documents
    assert ([event["kind"] for event in events], live["type"]) == (STEPS, "live")
    rest = run("events", "--since", events[1]["cursor"], "--job", job_id, "--json", *door).documents
    assert [event["cursor"] for event in rest[:-1]] == [event["cursor"] for event in events[2:]]
    shown = run("events", "--job", job_id, "--kind", "job.completed", "--kind", "job.ready", *door).lines
    assert [line.split()[1:3] for line in shown] == [["job.ready", job_id], ["job.completed", job_id]]
    told = run("events", "--backend", "aria-1", "--backend", "qpu.aria-2", "--json", *door).documents[:-1]
    assert {event["backend"] for event in told} == {"qpu.aria-1", "qpu.aria-2"}


def test_a_session_is_followed(run: Run, door: list[str], server: Server) -> None:
    """Jobs join a session as they are submitted, and its events are chosen by it."""
    request = urllib.request.Request(  # noqa: S310 - a server of our own
        f"{server.url}/v0.4/sessions",
        data=b'{"backend": "simulator"}',
        headers={"Authorization": f"apiKey {server.key}"},
    )
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        session = json.load(answer)["id"]
    (outside,) = run("submit", "-", *door, text=FLIP).lines
    (job_id,) = run("submit", "-", "--session", session, *door, text=FLIP).lines
    run("watch", job_id, outside, *door)
    *events, live = run("events", "--session", session, "--json", *door).documents
    assert ([(event["job_id"], event["kind"]) for event in events], live["type"]) == (
        [(job_id, kind) for kind in STEPS],
        "live",
    )
    refused = run("submit", "-", "--session", session, "--backend", "qpu.aria-1", *door, text=FLIP)
    assert (refused.code, refused.out) == (3, "")
    assert "session_backend" in refused.err


def test_following_outlives_the_server(run: Run, serve: Serve) -> None:
    """With --follow events come as they happen, also those after the server was killed and started again."""
    server = serve()
    http = ["--url", server.url, "--key", server.key]
    command = [sys.executable, "-m", "orchestrator.cli", "events", "--follow", "--json", "--kind", "job.*", *http]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as process:
        try:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["type"] == "live"
            run("submit", "-", *http, text=FLIP)
            seen = [json.loads(process.stdout.readline()) for _ in STEPS]
            server.stop(signal.SIGKILL)
            port = server.url.rpartition(":")[2]
            again = serve(server.data, "--port", port)
            run("submit", "-", "--url", again.url, "--key", server.key, text=FLIP)
            while len(seen) < 2 * len(STEPS):
                frame = json.loads(process.stdout.readline())
                if frame["type"] == "event":
                    seen.append(frame)
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
    assert [event["kind"] for event in seen] == STEPS * 2


def test_a_cursor_or_kind_that_cannot_be_is_refused(run: Run, door: list[str]) -> None:
    """The server's own reason is told, in one line."""
    for wrong in (["--since", "nonsense"], ["--kind", "job.exploded"]):
        done = run("events", *wrong, *door)
        assert (done.code, done.out, len(done.err.splitlines())) == (3, "", 1)
        assert "feed_unavailable" not in done.err

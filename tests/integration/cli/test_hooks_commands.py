"""``orchestrator hooks`` as people run it, beside a server that posts to a real receiver."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import TYPE_CHECKING

import pytest
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

if TYPE_CHECKING:
    from tests.integration.cli.conftest import Run, Serve

JOB = {
    "type": "ionq.circuit.v1",
    "backend": "simulator",
    "name": "vqe-1",
    "input": {"gateset": "qis", "qubits": 1, "circuit": [{"gate": "h", "target": 0}]},
}
SETTINGS = '[channels.webhook]\nallow_http = true\nallow_private = ["127.0.0.0/8"]\nports = ["1-65535"]\n'


class Receiver:
    """Keeps what is posted to it."""

    def __init__(self) -> None:
        self.posts: Queue[tuple[dict[str, str], bytes]] = Queue()
        posts = self.posts

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                posts.put(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/in"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    thread = Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def test_hooks_from_beginning_to_end(run: Run, serve: Serve, receiver: Receiver, tmp_path: Path) -> None:
    """A hook made at the terminal posts signed events of matching jobs, can be tried, looked into and removed."""
    settings = tmp_path / "settings.toml"
    settings.write_text(SETTINGS)
    server = serve(None, "--config", str(settings))
    folder = ["--data", str(server.data)]
    made = run("hooks", "add", "webhook", f"url={receiver.url}", "--kind", "job.completed", "--name", "vqe-*", *folder)
    assert made.code == 0
    (hook_id,) = made.lines
    secret = made.err.split()[-1]
    assert run("hooks", "test", hook_id, *folder).lines == ["delivered: HTTP 204"]
    headers, body = receiver.posts.get(timeout=10)
    assert Webhook(secret).verify(body, headers)["type"] == "hook.test"

    (tmp_path / "job.json").write_text(json.dumps(JOB))
    assert run("submit", str(tmp_path / "job.json"), "--watch", *folder).code == 0
    headers, body = receiver.posts.get(timeout=10)
    assert Webhook(secret).verify(body, headers)["type"] == "job.completed"

    http = ["--url", server.url, "--key", server.key]
    (listed,) = run("hooks", "list", "--json", *http).document
    assert listed["id"] == hook_id
    assert secret not in str(listed)
    assert run("hooks", "redeliver", hook_id, headers["webhook-id"], *http).lines == ["1 to deliver again"]
    again, _ = receiver.posts.get(timeout=10)
    assert again["webhook-id"] == headers["webhook-id"]
    log = run("hooks", "log", hook_id, "--json", *folder).document
    assert {line["kind"] for line in log} == {"hook.test", "job.completed"}
    shown = run("hooks", "list", *folder).out
    assert all(whole in shown for whole in (hook_id, receiver.url, "job.completed", "name=vqe-*"))
    shown = run("hooks", "log", hook_id, *folder).out
    assert all(whole in shown for whole in (headers["webhook-id"], "HTTP 204", log[0]["job_id"]))
    assert "…" not in shown
    assert run("hooks", "log", hook_id, "--dead", "--json", *folder).document == []
    assert run("hooks", "remove", hook_id, *folder).lines == [f"removed {hook_id}"]
    assert run("hooks", "test", hook_id, *folder).err.startswith("error: not_found: ")
    assert server.stop()[0] == 0


def test_secrets_rotate_and_hooks_are_switched(run: Run, serve: Serve, receiver: Receiver, tmp_path: Path) -> None:
    """While a secret rotates both verify; then the new one alone. A hook that is off tells nothing until it is on."""
    settings = tmp_path / "settings.toml"
    settings.write_text(SETTINGS)
    server = serve(None, "--config", str(settings))
    http = ["--url", server.url, "--key", server.key]
    made = run("hooks", "add", "webhook", f"url={receiver.url}", "--kind", "job.*", "--backend", "simulator", *http)
    (hook_id,) = made.lines
    old = made.err.split()[-1]
    (new,) = run("hooks", "rotate", hook_id, *http).lines

    def verified() -> list[bool]:
        assert run("hooks", "test", hook_id, *http).code == 0
        headers, body = receiver.posts.get(timeout=10)
        found = []
        for secret in (old, new):
            try:
                found.append(bool(Webhook(secret).verify(body, headers)))
            except WebhookVerificationError:
                found.append(False)
        return found

    assert verified() == [True, True]
    assert run("hooks", "rotate", hook_id, "--finish", *http).code == 0
    assert verified() == [False, True]
    assert run("hooks", "disable", hook_id, *http).lines == [f"disabled {hook_id}"]
    assert "off: disabled by hand" in run("hooks", "list", *http).out
    assert " job.* " in run("hooks", "list", *http).out  # the family that was asked for, not its nine kinds
    assert run("hooks", "enable", hook_id, "--json", *http).document["disabled_at"] is None
    assert run("hooks", "add", "webhook", f"url={receiver.url}", "--backend", "", *http).err.startswith("error: ")
    unknown = run("hooks", "add", "webhook", f"url={receiver.url}", "--kind", "jobs.*", *http)
    assert all(kind in unknown.err for kind in ("job.completed", "job.*", "backend.*"))
    assert server.stop()[0] == 0


def test_refusals_are_one_line(run: Run, tmp_path: Path) -> None:
    """Without a server too, a target that is no target and a channel that is none are told in one line."""
    folder = ["--data", str(tmp_path / "data")]
    assert run("projects", "add", "lab", *folder).code == 0
    assert run("hooks", "add", "webhook", "https://example.org/in", *folder).code == 2
    assert run("hooks", "add", "webhook", "url=http://169.254.169.254/", *folder).err.startswith(
        "error: url_not_allowed: "
    )
    assert run("hooks", "add", "pigeon", *folder).err.startswith("error: channel_unavailable: ")
    assert run("hooks", "list", "--json", *folder).document == []

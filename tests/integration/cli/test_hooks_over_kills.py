"""Webhooks of a real server that is killed between its commits and its deliveries."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from standardwebhooks import Webhook

from orchestrator import Circuit, Gate
from orchestrator.client import SyncClient

if TYPE_CHECKING:
    from tests.integration.cli.conftest import Run, Serve

ONE = Circuit(qubits=1, gates=(Gate("h", (0,)),))
KINDS = ("job.submitted", "job.ready", "job.started", "job.completed")
SETTINGS = '[channels.webhook]\nallow_http = true\nallow_private = ["127.0.0.0/8"]\nports = ["1-65535"]\n'
_LIMIT_S = 20.0


class Post(NamedTuple):
    """A request, and whether it was answered."""

    headers: dict[str, str]
    body: bytes
    answered: bool

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> Any:
        return json.loads(self.body)["data"]["event"]


class Receiver:
    """Keeps what is posted to it; while `silent`, it answers nothing until the sender is gone."""

    def __init__(self) -> None:
        self.posts: Queue[Post] = Queue()
        self.silent = Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                answered = not receiver.silent.is_set()
                receiver.posts.put(Post(headers, body, answered))
                if answered:
                    self.send_response(204)
                    self.end_headers()
                else:
                    self.rfile.read()
                    self.close_connection = True

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/in"
        self._thread = Thread(target=self._server.serve_forever)
        self._thread.start()

    def take(self, number: int) -> list[Post]:
        """The next posts."""
        return [self.posts.get(timeout=_LIMIT_S) for _ in range(number)]

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.stop()


def test_nothing_is_lost_between_commit_and_delivery(
    run: Run, serve: Serve, receiver: Receiver, tmp_path: Path
) -> None:
    """Killed with everything committed and the first delivery under way, twice: each event arrives, in order, under one
    id; only what was under way comes again, the same.
    """
    settings = tmp_path / "settings.toml"
    settings.write_text(SETTINGS)
    options = ("--config", str(settings), "--log-level", "ERROR")
    variables = {"ORCHESTRATOR_BOOTSTRAP_KEY": "a-key-over-several-lives"}
    server = serve(None, *options, **variables)
    kinds = [part for kind in KINDS for part in ("--kind", kind)]
    made = run("hooks", "add", "webhook", f"url={receiver.url}", *kinds, "--data", str(server.data))
    (hook_id,) = made.lines
    secret = made.err.split()[-1]

    receiver.silent.set()
    with SyncClient(server.url, variables["ORCHESTRATOR_BOOTSTRAP_KEY"]) as client:
        for job_id in client.submit_many([ONE] * 3):
            client.wait(job_id, timeout_s=_LIMIT_S)
    posts = receiver.take(1)  # under way, unanswered, with all else waiting behind it
    assert server.stop(signal.SIGKILL)[0] == -signal.SIGKILL

    server = serve(server.data, *options, **variables)
    posts += receiver.take(1)
    assert server.stop(signal.SIGKILL)[0] == -signal.SIGKILL

    receiver.silent.clear()
    server = serve(server.data, *options, **variables)
    posts += receiver.take(3 * len(KINDS))
    assert [(post.id, post.answered) for post in posts[:3]] == [
        (posts[0].id, False), (posts[0].id, False), (posts[0].id, True),
    ]  # fmt: skip
    assert [post.event for post in posts[:2]] == [posts[2].event] * 2
    delivered = posts[2:]
    assert len({post.id for post in delivered}) == len(delivered)
    sequences = [post.event["sequence"] for post in delivered]
    assert sequences == sorted(sequences)
    assert sorted(post.event["kind"] for post in delivered) == sorted(KINDS * 3)
    for post in posts:
        Webhook(secret).verify(post.body, post.headers)

    listed = run("hooks", "log", hook_id, "--pending", "--json", "--data", str(server.data))
    assert listed.document == []
    assert server.stop()[0] == 0
    assert receiver.posts.empty()
    assert run("verify", "--data", str(server.data)).code == 0

"""``orchestrator serve`` as a process: what it prints, which key opens it, how it stops."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.cli.conftest import Run, Serve

BOOTSTRAP = "a-key-given-from-outside"


def test_the_first_start_prints_url_and_one_key_that_works(serve: Serve) -> None:
    """The first line is the address, which answers; the key that follows opens it, nothing else does."""
    server = serve()
    assert server.url.startswith("http://127.0.0.1:")
    assert server.ask("/healthz") == (200, {"status": "ok"})
    assert server.ask("/v0.4/jobs", server.key)[0] == 200
    assert server.ask("/v0.4/jobs")[0] == 401
    assert server.lines[1:] == [
        f"export IONQ_API_KEY={server.key}",
        f"export IONQ_API_URL={server.url}/v0.4",
        f"export IONQ_REMOTE_HOST={server.url}/v0.4",
    ]
    code, out, err = server.stop()
    assert (code, out) == (0, "")
    assert [json.loads(line)["event"] for line in err.splitlines()] == ["serving", "stopping", "stopped"]


def test_the_key_is_kept_by_nobody(serve: Serve) -> None:
    """Neither the log nor the data folder holds the key; a later start prints none, and the first still works."""
    first = serve()
    *_, err = first.stop(signal.SIGINT)
    assert first.key not in err
    for file in first.data.iterdir():
        assert file.is_socket() or first.key.encode() not in file.read_bytes()
    second = serve(first.data)
    assert not any("IONQ_API_KEY" in line for line in second.lines)
    assert second.ask("/v0.4/jobs", first.key)[0] == 200


def test_a_given_key_is_adopted_at_every_start(serve: Serve) -> None:
    """ORCHESTRATOR_BOOTSTRAP_KEY opens the server, is no second key at the next start, and is never printed."""
    server = serve(ORCHESTRATOR_BOOTSTRAP_KEY=BOOTSTRAP)
    assert server.ask("/v0.4/jobs", BOOTSTRAP)[0] == 200
    assert BOOTSTRAP not in "".join(server.lines)
    assert server.key == '"$ORCHESTRATOR_BOOTSTRAP_KEY"'
    server.stop()
    again = serve(server.data, ORCHESTRATOR_BOOTSTRAP_KEY=BOOTSTRAP)
    assert again.ask("/v0.4/jobs", BOOTSTRAP)[0] == 200


def test_settings_come_from_file_environment_and_command_line(serve: Serve, tmp_path: Path) -> None:
    """The file chooses the backends; what it does not say comes from elsewhere."""
    config = tmp_path / "own.toml"
    config.write_text('backends = ["noise_model"]\n[server]\nport = 1\n')
    server = serve(None, "--config", str(config))
    _, backends = server.ask("/v0.4/backends")
    assert [each["backend"] for each in backends] == ["simulator"]


@pytest.mark.parametrize(
    ("arguments", "variables", "told"),
    [
        ([], {"ORCHESTRATOR_BOOTSTRAP_KEY": "short"}, "16 to 128"),
        ([], {"ORCHESTRATOR_SERVER__PROT": "1"}, "did you mean 'port'"),
        (["--host", "192.0.2.1"], {}, "error: system: "),
    ],
)
def test_a_start_that_cannot_be_says_why(
    run: Run, tmp_path: Path, arguments: list[str], variables: dict[str, str], told: str
) -> None:
    """A bad key, setting or address ends the start with exit code 3 and one line."""
    done = run("serve", "--port", "0", "--data", str(tmp_path / "data"), *arguments, **variables)
    assert (done.code, done.out) == (3, "")
    (line,) = done.err.splitlines()
    assert told in line


def test_a_folder_has_one_owner(run: Run, serve: Serve) -> None:
    """A second server on the same folder is refused by name, and the first goes on."""
    first = serve()
    done = run("serve", "--port", "0", "--data", str(first.data))
    assert done.code == 3
    assert f"{first.data} is in use by process {first.process.pid}" in done.err
    assert first.ask("/healthz")[0] == 200

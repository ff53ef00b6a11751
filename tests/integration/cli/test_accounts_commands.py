"""Projects and keys while the server runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.integration.cli.conftest import Run, Server


def test_a_new_key_opens_its_project_at_once_and_a_revoked_one_nothing(run: Run, server: Server) -> None:
    """Project and key made beside a running server work there; the key dies with its revocation."""
    folder = ["--data", str(server.data)]
    project = run("projects", "add", "lab", "--json", *folder).document
    added = run("keys", "add", "--project", "lab", "--name", "ci", *folder)
    assert added.code == 0
    key = added.lines[-1]
    status, caller = server.ask("/v0.4/whoami", key)
    assert (status, caller["project_id"]) == (200, project["id"])
    (listed,) = run("keys", "list", "--project", "lab", "--json", *folder).document
    assert listed["name"] == "ci"
    assert key not in str(listed)
    assert run("keys", "revoke", listed["id"], "--project", "lab", *folder).code == 0
    assert server.ask("/v0.4/whoami", key)[0] == 401
    assert "lab" in run("projects", "list", *folder).out


def test_json_tells_the_secret_once(run: Run, server: Server) -> None:
    """Scripts get key and secret in one document, without the digest."""
    made = run("keys", "add", "--json", "--data", str(server.data)).document
    assert server.ask("/v0.4/whoami", made["secret"])[0] == 200
    assert "digest" not in made["key"]


def test_names_that_cannot_be_are_refused(run: Run, server: Server) -> None:
    """A taken name and an unknown project are one line each."""
    folder = ["--data", str(server.data)]
    run("projects", "add", "taken", *folder)
    again = run("projects", "add", "taken", *folder)
    assert (again.code, again.out) == (3, "")
    assert "exists" in again.err
    unknown = run("keys", "add", "--project", "nowhere", *folder)
    assert (unknown.code, unknown.out) == (3, "")
    assert unknown.err.startswith("error: not_found: ")

"""Jobs from the command line: over HTTP with a key, and as the owner of a data folder."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.cli.conftest import Run, Serve, Server

BELL = json.dumps({"qubits": 2, "circuit": [{"gate": "h", "target": 0}, {"gate": "cnot", "control": 0, "target": 1}]})
THREE = json.dumps([{"name": name, "qubits": 1, "circuit": [{"gate": "x", "target": 0}]} for name in "abc"])
WIDE = json.dumps({"qubits": 31, "circuit": [{"gate": "h", "targets": list(range(31))}]})
GONE = "0197c3a2-4f10-7e6b-8a2d-5d7c1b0e9f31"


@pytest.fixture(params=["http", "owner"])
def door(request: pytest.FixtureRequest, server: Server) -> list[str]:
    """Options for either way to the same server."""
    if request.param == "http":
        return ["--url", f"{server.url}/v0.4", "--key", server.key]
    return ["--data", str(server.data)]


@pytest.fixture
def http(server: Server) -> list[str]:
    """Options for the way over HTTP alone."""
    return ["--url", server.url, "--key", server.key]


def test_submit_prints_the_id_and_jobs_shows_the_job(run: Run, door: list[str]) -> None:
    """The id stands alone on standard output; `watch` waits for the end; `jobs` knows it, with its histogram."""
    (job_id,) = run("submit", "-", "--name", "bell", *door, text=BELL).lines
    assert run("watch", job_id, *door).code == 0
    listed = run("jobs", "--limit", "5", "--json", *door).document["jobs"]
    assert {"id": job_id, "status": "completed", "name": "bell"}.items() <= listed[0].items()
    shown = run("jobs", job_id, *door)
    assert shown.code == 0
    assert [line.split()[0] for line in shown.lines[-2:]] == ["00", "11"]
    assert shown.lines[-1].split()[-2:] == ["50.0", "%"]


def test_watching_a_submit_shows_each_state_and_the_results(run: Run, http: list[str]) -> None:
    """Without a terminal every event is a line, and the histogram follows."""
    done = run("submit", "-", "--shots", "64", "--noise", "aria-1", "--seed", "3", "--watch", *http, text=BELL)
    assert done.code == 0
    kinds = [line.split()[1] for line in done.lines if " job." in line]
    assert kinds == ["job.submitted", "job.ready", "job.started", "job.completed"]
    assert "64 shots" in done.out
    assert "noise aria-1" in done.out


def test_json_is_nothing_but_json(run: Run, door: list[str]) -> None:
    """A watched submit prints the feed's frames and, last, the job with its results; the family is complete."""
    *frames, last = run("submit", "-", "--watch", "--json", *door, text=THREE).documents
    assert {frame["type"] for frame in frames} == {"event", "live"}
    assert last["job"]["status"] == "completed"
    assert [each["name"] for each in last["results"]] == ["a", "b", "c"]
    assert all(each["result"]["probabilities"] == {"1": 1.0} for each in last["results"])


def test_the_same_seed_gives_the_same_counts(run: Run, http: list[str]) -> None:
    """--seed reproduces a noisy histogram."""
    options = ["--shots", "500", "--noise", "aria-1", "--seed", "11", "--watch", "--json"]
    first, second = (run("submit", "-", *options, *http, text=BELL).documents[-1] for _ in range(2))
    assert first["results"][0]["result"]["counts"] == second["results"][0]["result"]["counts"]


NOISY = json.dumps(
    {"backend": "simulator", "noise": {"model": "aria-1", "seed": 3}, "shots": 40, "input": json.loads(BELL)}
)


def test_a_noise_model_stays_with_its_backend(run: Run, door: list[str]) -> None:
    """A file's model is left out, aloud, where --backend has none; one that was asked for there fails the job."""
    moved = run("submit", "-", "--backend", "aria-1", "--watch", *door, text=NOISY)
    assert (moved.code, moved.err) == (0, "qpu.aria-1 has no noise models: the file's, aria-1, is left out\n")
    kept = run("submit", "-", "--backend", "simulator", "--watch", *door, text=NOISY)
    assert (kept.code, kept.err) == (0, "")
    assert "noise aria-1" in kept.out
    asked = run("submit", "-", "--backend", "aria-1", "--noise", "aria-1", "--watch", *door, text=NOISY)
    assert (asked.code, asked.err) == (1, "")
    unknown = run("submit", "-", "--backend", "nowhere", *door, text=NOISY)
    assert (unknown.code, unknown.err.startswith("error: ")) == (3, True)


def test_native_gates_are_known(run: Run, door: list[str]) -> None:
    """A list of pulses runs as it is; what both gate sets have is qis unless --gateset says otherwise."""
    pulses = json.dumps([{"gate": "gpi", "target": 0, "phase": 0.0}])
    done = run("submit", "-", "--watch", "--json", *door, text=pulses)
    assert done.documents[-1]["results"][0]["result"]["probabilities"] == {"1": 1.0}
    both = json.dumps([{"gate": "zz", "targets": [0, 1], "angle": 0.1}])
    assert "rotation" in run("submit", "-", *door, text=both).err
    assert run("submit", "-", "--gateset", "native", "--watch", *door, text=both).code == 0


def test_costs_are_told(run: Run, serve: Serve) -> None:
    """What a job of a backend with prices cost, for people and for scripts; nothing of one that is free."""
    calibrations = Path(__file__).parents[3] / "configs" / "calibrations"  # half a dollar at least
    server = serve(ORCHESTRATOR_PLUGINS__TRAPPED_ION__CALIBRATIONS=str(calibrations))
    for door in (["--url", server.url, "--key", server.key], ["--data", str(server.data)]):
        watched = run("submit", "-", "--backend", "lab-12", "--watch", *door, text=BELL)
        assert "  cost 0.50 usd" in watched.out
        free = run("submit", "-", "--watch", *door, text=BELL)
        assert "cost" not in free.out
        listed = run("jobs", "--json", "--limit", "2", *door).document["jobs"]
        assert [each["cost"] for each in listed] == [{"value": value, "unit": "usd"} for value in (0.0, 0.5)]
        shown = run("jobs", listed[1]["id"], "--json", *door).document
        assert shown["job"] == listed[1]
        assert sum(shown["results"][0]["result"]["counts"].values()) == 100
        assert "  cost 0.50 usd" in run("jobs", listed[1]["id"], *door).out


def test_a_failed_job_is_exit_code_1(run: Run, http: list[str]) -> None:
    """A job that fails is told with its code and reason, and the answer is no."""
    done = run("submit", "-", "--watch", *http, text=WIDE)
    assert done.code == 1
    assert "NotEnoughQubits" in done.lines[-1]


def test_refusals_name_the_member(run: Run, door: list[str]) -> None:
    """What the server refuses is one line with its code and the member."""
    done = run("submit", "-", *door, text='{"circuit": [{"gate": "frob", "target": 0}]}')
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith("error: unknown_gate: ")
    assert "input.circuit[0].gate" in done.err


def test_cancel_tells_how_each_job_stands(run: Run, door: list[str]) -> None:
    """A job that has ended stays as it is, and the answer is no; an unknown one is refused."""
    (job_id,) = run("submit", "-", *door, text=BELL).lines
    run("watch", job_id, *door)
    done = run("cancel", job_id, "--json", *door)
    assert (done.code, done.document) == (1, {"jobs": [{"id": job_id, "status": "completed"}]})
    unknown = run("cancel", GONE, *door)
    assert (unknown.code, unknown.err) == (3, "error: not_found: job not found\n")


def test_both_doors_tell_the_same(run: Run, server: Server) -> None:
    """Whoever asks, a job and a page of jobs are the same documents; keys and projects have times of the same form."""
    http, owner = ["--url", server.url, "--key", server.key], ["--data", str(server.data)]
    for text in (BELL, THREE):
        (job_id,) = run("submit", "-", *http, text=text).lines
        run("watch", job_id, *http)
        assert run("jobs", job_id, "--json", *http).document == run("jobs", job_id, "--json", *owner).document
    page = run("jobs", "--json", "--limit", "5", *http).document
    assert page == run("jobs", "--json", "--limit", "5", *owner).document
    for accounts in ("keys", "projects"):
        (first, *_) = run(accounts, "list", "--json", *owner).document
        assert len(first["created_at"]) == len(page["jobs"][0]["submitted_at"])


def test_backends_are_listed(run: Run, door: list[str]) -> None:
    """All installed backends, with their width."""
    widths = {each["backend"]: each["qubits"] for each in run("backends", "--json", *door).document}
    assert widths["simulator"] == 29
    assert widths["qpu.aria-1"] == 25
    assert "qpu.forte-enterprise-1" in run("backends", *door).out


def test_nobody_to_talk_to_is_wrong_usage(run: Run) -> None:
    """Without folder and address the options are named."""
    done = run("jobs")
    assert done.code == 2
    assert "--data" in done.err
    assert "IONQ_API_KEY" in done.err


def test_the_owner_needs_no_server(run: Run, serve: Serve) -> None:
    """Where no server runs, commands open the store: they list, run jobs, cancel and make keys; a server goes on."""
    server = serve()
    server.stop()
    folder = ["--data", str(server.data)]
    done = run("submit", "-", "--watch", "--json", *folder, text=BELL)
    job_id = done.documents[-1]["job"]["id"]
    assert done.documents[-1]["results"][0]["result"]["probabilities"] == {"0": 0.5, "3": 0.5}
    assert [each["id"] for each in run("jobs", "--json", *folder).document["jobs"]] == [job_id]
    secret = run("keys", "add", "--project", "default", *folder).lines[-1]
    again = serve(server.data)
    assert again.ask(f"/v0.4/jobs/{job_id}", secret)[1]["status"] == "completed"


def test_looking_makes_no_folder(run: Run, tmp_path: Path) -> None:
    """Commands that only look refuse a folder without a store, and leave it alone."""
    for command in (["jobs"], ["watch", GONE], ["verify"], ["keys", "list"], ["projects", "list"]):
        done = run(*command, "--data", str(tmp_path / "typo"))
        assert done.code == 3
        assert "no store" in done.err
    assert not (tmp_path / "typo").exists()


def test_verify_proves_and_disproves(run: Run, serve: Serve) -> None:
    """A sound store verifies, also while it is served; one whose rows were changed by hand does not."""
    server = serve()
    folder = ["--data", str(server.data)]
    run("submit", "-", "--watch", *folder, text=THREE)
    live = run("verify", "--json", *folder)
    assert (live.code, live.document["jobs"], live.document["problems"]) == (0, 4, [])
    server.stop()
    with sqlite3.connect(server.data / "orchestrator.db") as connection:
        connection.execute("UPDATE jobs SET attempt = 7 WHERE parent_id IS NOT NULL")
    connection.close()
    done = run("verify", *folder)
    assert done.code == 1
    assert sum("row says attempt 7" in line for line in done.lines) == 3
    assert done.lines[-1].startswith("4 jobs, ")

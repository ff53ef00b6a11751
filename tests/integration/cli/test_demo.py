"""``orchestrator demo``: the first thing anyone sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.integration.cli.conftest import Run


def test_the_demo_shows_the_whole_line(run: Run) -> None:
    """Piped, at 80 columns: every event, the histograms, the proof, what to do next; nothing on standard error."""
    done = run("demo")
    assert (done.code, done.err) == (0, "")
    kinds = [line.split()[1] for line in done.lines if " job." in line]
    assert kinds.count("job.completed") == 5
    assert kinds.count("job.submitted") == 5
    assert any("101 " in line and line.rstrip().endswith("100.0 %") for line in done.lines)
    assert "the tables equal the log" in done.out
    assert "export IONQ_API_URL=" in done.out
    assert max(len(line) for line in done.lines if " job." not in line) <= 80


def test_the_demo_speaks_json(run: Run) -> None:
    """One document: both jobs completed, exact where nothing was sampled, no problems."""
    told = run("demo", "--json").document
    bell, three = told["jobs"]
    assert [job["job"]["status"] for job in told["jobs"]] == ["completed", "completed"]
    counts = bell["results"][0]["result"]["counts"]
    assert sum(counts.values()) == bell["job"]["shots"]
    assert counts["0"] + counts["3"] > 0.9 * bell["job"]["shots"]
    ghz, w_state, hidden = (each["result"]["probabilities"] for each in three["results"])
    assert ghz == {"0": 0.5, "7": 0.5}
    assert set(w_state) == {"1", "2", "4"}
    assert hidden == {"5": 1.0}
    assert told["problems"] == []


def test_plain_terminals_get_plain_characters(run: Run) -> None:
    """Where the terminal has no Unicode the demo still works, in ASCII."""
    done = run("demo", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.code == 0
    assert done.out.isascii()
    assert "#####" in done.out

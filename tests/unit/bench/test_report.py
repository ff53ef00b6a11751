"""The report of a run: medians, bars, and what was left out."""

from pathlib import Path

import pytest

from orchestrator.bench.conditions import conditions
from orchestrator.bench.plan import QUICK, ratios
from orchestrator.bench.report import SECTIONS, Report, report

NAMES = {row.name for _, rows in SECTIONS for row in rows}


def reported(path: Path, *rounds: dict[str, float]) -> Report:
    return report(conditions(path), QUICK, rounds)


def test_a_figure_is_the_median_of_its_rounds(tmp_path: Path) -> None:
    """One disturbed round does not move a figure; all rounds can be seen."""
    figure = reported(tmp_path, *({"cycles_64": rate} for rate in (7000.0, 10.0, 7200.0))).figures["cycles_64"]
    assert (figure.value, figure.rounds) == (7000.0, [7000.0, 10.0, 7200.0])


@pytest.mark.parametrize(
    ("name", "good", "bad"), [("cycles_64", 6500.0, 6499.0), ("completed_ms_p50", 2.0, 2.001)], ids=["least", "most"]
)
def test_a_bar_is_reached_or_missed(tmp_path: Path, name: str, good: float, bad: float) -> None:
    """Rates shall be at least their bar, latencies at most."""
    assert reported(tmp_path, {name: good}).figures[name].reached is True
    assert reported(tmp_path, {name: bad}).figures[name].reached is False


def test_what_was_not_measured_is_said(tmp_path: Path) -> None:
    """A figure that a missing plugin takes away is left out, and the report says so."""
    values = dict.fromkeys(NAMES - {"simulator_http_cycles"}, 1.0)
    found = reported(tmp_path, values)
    assert set(found.figures) == set(values)
    assert len(found.notes) == 1
    assert "noise_model" in found.notes[0]


def test_ratios_compare_neighbours() -> None:
    """Each ratio has the figure it is named after on top."""
    values = {"cycles_64": 8.0, "raw_rows": 100.0, "http_submits": 6.0, "http_empty": 8.0, "filled_cycles_64": 4.0}
    values |= {"full_cycles_64": 9.0, "normal_cycles_64": 10.0}
    assert ratios(values) == {
        "cycles_64_per_raw_row": 0.08,
        "http_submits_per_empty": 0.75,
        "filled_per_empty": 0.5,
        "full_per_normal": 0.9,
    }

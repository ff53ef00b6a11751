"""Which attempts are struck: settings, draws, and that a rehearsal can be repeated."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.errors import SettingsError
from orchestrator_fault.plan import Every, Fault, Settings, read


def struck(settings: Settings, fault: Fault, attempts: int = 4_000, backend: str = "fault.trap") -> list[int]:
    """Numbers of the attempts that a fault strikes."""
    return [number for number in range(1, attempts + 1) if fault in settings.strikes(backend, number)]


@pytest.mark.parametrize("fault", list(Fault))
def test_a_probability_is_kept_and_repeated_by_seed(fault: Fault) -> None:
    """About so many are struck, the same ones with the same seed, others with another seed or backend."""
    settings = read({fault.value: 0.25, "seed": 5})
    found = struck(settings, fault)
    assert len(found) == pytest.approx(1_000, abs=140), "five standard deviations"
    assert found == struck(read({"seed": 5, fault.value: 0.25}), fault)
    assert found != struck(read({fault.value: 0.25, "seed": 6}), fault)
    assert found != struck(settings, fault, backend="fault.other")
    assert {struck_by for number in found for struck_by in settings.strikes("fault.trap", number)} == {fault}


def test_every_so_many_none_and_all() -> None:
    """Every third is every third; a probability of 0 strikes nobody, of 1 everybody."""
    assert struck(Settings(busy=Every(3)), Fault.BUSY, 10) == [3, 6, 9]
    assert struck(Settings(), Fault.BUSY, 1_000) == []
    assert struck(Settings(lost=1.0), Fault.LOST, 10) == list(range(1, 11))


def test_faults_are_drawn_apart() -> None:
    """One fault says nothing about another: both strike together as often as chance has it."""
    settings = Settings(lost=0.5, late=0.5)
    both = set(struck(settings, Fault.LOST)) & set(struck(settings, Fault.LATE))
    assert len(both) == pytest.approx(1_000, abs=140)


@pytest.mark.parametrize(
    ("table", "names"),
    [
        ({"busy": 1.5}, "busy"),
        ({"busy": {"every": 0}}, "busy.every"),
        ({"busy": {"each": 2}}, "each"),
        ({"busi": 0.5}, "busi"),
        ({"late_s": -1}, "late_s"),
        ({"late_s": float("nan")}, "late_s"),
    ],
    ids=str,
)
def test_wrong_settings_are_refused_by_name(table: dict[str, Any], names: str) -> None:
    """A settings error names the plugin and the key."""
    with pytest.raises(SettingsError, match="fault: ") as caught:
        read(table)
    assert names in str(caught.value)


def test_settings_of_the_environment() -> None:
    """Numbers come as text from there."""
    assert read({"busy": "0.5", "seed": "3", "lost_vouched": "true"}) == Settings(busy=0.5, seed=3, lost_vouched=True)

"""Words of users lose what could deceive, and nothing else."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.events import EventKind
from orchestrator.notify.channels import wording
from orchestrator.testing.channel_checks import HOSTILE_NAMES, notification


@given(st.text())
def test_clean_is_one_visible_line(text: str) -> None:
    """Any text becomes one bounded line without invisible characters; cleaning again changes nothing."""
    line = wording.clean(text)
    assert 0 < len(line) <= wording.MAX_NAME
    assert len(line.splitlines()) == 1
    assert not any(unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for character in line)
    assert "=?" not in line
    assert wording.clean(line) == line


def test_ordinary_names_stay() -> None:
    """Letters of all alphabets, accents and punctuation are kept."""
    for name in ("Bell pair", "Ωμέγα – 量子 🎉", "שלום עולם", "a+b=c? <d>", "naïve café"):
        assert wording.clean(name) == name


def test_every_kind_has_words() -> None:
    """Each kind of event has a subject and facts of its own."""
    subjects = {wording.subject([notification(kind)]) for kind in EventKind}
    assert len(subjects) == len(EventKind)
    assert all(wording.facts(notification(kind)) for kind in EventKind)


def test_hostile_names_have_a_subject() -> None:
    """Whatever a job is called, the subject is one line."""
    for name in HOSTILE_NAMES:
        assert len(wording.subject([notification(name=name)]).splitlines()) == 1


def test_durations() -> None:
    """Times are told in the unit people would choose."""
    told = [wording.duration(value) for value in (0, 999, 1000, 12_400, 59_999, 60_000, 3_600_000, 7_380_000)]
    assert told == ["0 ms", "999 ms", "1.0 s", "12.4 s", "60.0 s", "1 min 0 s", "1 h 0 min", "2 h 3 min"]

"""The conformance kit of adapters: what is sound passes, and each fault is caught by the check that is for it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import anyio
import anyio.lowlevel
import pytest
import structlog

from orchestrator.backends.abc import Attempt, Prepared
from orchestrator.errors import ExecutionError
from orchestrator.model import Failure, Result
from orchestrator.testing.adapter_kit import CHECKS, Bench, Course, Finding, Verdict, examine, found
from orchestrator.testing.adapter_kit.checks import name_of, promise_of
from tests.conformance.adapters import sound
from tests.conformance.adapters.broken import (
    FAULTS,
    RELEASES,
    BlocksForGood,
    CountsOneTooMany,
    Fault,
    NeverLetsGo,
    Raises,
)

BY_NAME = {name_of(check): check for check in CHECKS}
SOUND = [sound.Sound, sound.SoundBatch, sound.SoundStream, sound.SoundElsewhere]
#: Nothing sound waits so long, and what hangs shall not hold up the tests.
LIMIT_S = 10.0
QUICK_S = 1.0


def bench_of(fault: Fault) -> Bench:
    """A patient bench, but for what never ends."""
    hangs = "did not end" in fault.words or "no more jobs" in fault.words or "for good" in fault.words
    return Bench(fault.adapter, limit_s=QUICK_S if hangs else LIMIT_S, cancel_s=0.2)


@pytest.fixture(autouse=True)
def _released() -> Iterator[None]:
    yield
    while RELEASES:
        RELEASES.pop()()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.adapter.__name__)
def test_each_fault_is_caught(fault: Fault) -> None:
    """The check that is for it finds it, and says in words what it is."""
    finding = found(BY_NAME[fault.check], bench_of(fault))
    assert finding.verdict is Verdict.BROKEN
    assert fault.words in finding.why


@pytest.mark.parametrize("check", CHECKS, ids=name_of)
@pytest.mark.parametrize("adapter", SOUND, ids=lambda made: made.__name__)
def test_what_is_sound_passes(adapter: type[sound.Sound], check: object) -> None:
    """No check finds fault with an adapter that keeps its promises, in any of the forms."""
    finding = found(BY_NAME[name_of(check)], Bench(adapter))  # type: ignore[arg-type]
    assert finding.verdict is not Verdict.BROKEN, finding.why


def test_what_prepare_raises_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception in `prepare` is told with its words and the author's own line, like one in `run`."""
    monkeypatch.setattr("orchestrator.testing.adapter_kit.host._TRIES", 1)  # tries are a second apart

    class RaisesPreparing(sound.SoundStream):
        async def prepare(self, attempts: Sequence[Attempt]) -> list[Prepared | Failure]:
            raise RuntimeError("no ions")

    why = found(BY_NAME["plain_job"], Bench(RaisesPreparing)).why
    assert "the backend raised RuntimeError: no ions, at test_adapter_kit.py:" in why
    assert why.endswith("(prepare) while preparing")


def test_every_check_can_fail() -> None:
    """For each promise there is a fault that breaks it, or it is one that the orchestrator keeps with the adapter."""
    kept_together = {
        "families",
        "foreign_gates",
        "limits",
        "noise_models",
        "noise_seed",
        "noisy_outcomes",
        "prepare_answers",
    }
    kept_together |= {"prepare_interrupted", "cancel_waiting", "stop"}
    assert {fault.check for fault in FAULTS} | kept_together == BY_NAME.keys()


def test_every_promise_is_a_sentence() -> None:
    """The docstrings are what people read in the report."""
    for check in CHECKS:
        assert promise_of(check).endswith(".")
    assert len(BY_NAME) == len(CHECKS)


async def test_a_report_in_plain_words() -> None:
    """A foundation that is broken is told alone: what needs it is not tried. Progress tells each finding."""
    told: list[Finding] = []
    report = await examine(Bench(CountsOneTooMany), told.append)
    assert [finding.check for finding in report.broken] == ["plain_job"]
    assert report.findings == told
    assert len(told) == len(CHECKS)
    text = report.render()
    assert "Not kept: A plain job completes" in text
    assert "counts sum to 101, not to the 100 shots asked for" in text
    assert "1 promise kept, 1 not kept" in text
    assert text.count("Left out:") == 1
    assert f"Left out: {len(CHECKS) - 2} checks: not tried, since plain_job is broken" in text


async def test_nothing_is_logged_meanwhile(capfd: pytest.CaptureFixture[str]) -> None:
    """What the kit breaks on purpose is told in findings, not on the terminal; afterwards logs are what they were."""
    before = structlog.get_config()["processors"]
    await examine(Bench(Raises))
    assert capfd.readouterr() == ("", "")
    assert structlog.get_config()["processors"] is before


def test_foundations_come_first_in_any_order() -> None:
    """The first check of a process tells what is broken underneath it; the rest is left out."""
    course = Course()
    first = course.found(BY_NAME["registers"], Bench(Raises))
    assert first.verdict is Verdict.BROKEN
    assert "plain_job is broken, which all others need: a job on sound failed" in first.why
    assert course.found(BY_NAME["shots"], Bench(Raises)).why == "not tried, since plain_job is broken"


@pytest.mark.parametrize("adapter", [NeverLetsGo, BlocksForGood], ids=lambda made: made.__name__)
async def test_no_fault_makes_the_kit_hang(adapter: type[sound.Sound]) -> None:
    """An adapter that swallows every cancellation, or blocks its event loop for ever, is examined to the end."""
    began = time.monotonic()
    report = await examine(Bench(adapter, limit_s=0.2))
    assert report.broken
    assert time.monotonic() - began < 60


def test_a_cancel_comes_at_every_await() -> None:
    """Each await of an adapter is reached by a cancel: of four in a row, at the first, at the second, and so on."""
    reached = set()

    class Steps(sound.Sound):
        async def run(self, attempt: Attempt) -> Result:
            for step in range(4):
                try:
                    await anyio.lowlevel.checkpoint()
                except anyio.get_cancelled_exc_class():
                    reached.add(step)
                    raise
            return self.measured(attempt)

    assert found(BY_NAME["cancel_anywhere"], Bench(Steps)).verdict is Verdict.KEPT
    assert reached == {0, 1, 2, 3}


@pytest.mark.parametrize("form", ["run", "run_batch"])
def test_plain_functions_pass(form: str) -> None:
    """An adapter whose code runs in threads keeps the promises as well."""

    class Plain(sound.Sound):
        if form == "run":

            def run(self, attempt: Attempt) -> Result:  # type: ignore[override]
                return self.measured(attempt)

        else:

            def run_batch(self, attempts: Sequence[Attempt]) -> list[Result | ExecutionError]:
                return [self.measured(attempt) for attempt in attempts]

    broken = [finding for check in CHECKS if (finding := found(check, Bench(Plain))).verdict is Verdict.BROKEN]
    assert broken == []

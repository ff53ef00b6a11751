"""What may stand in the settings of a remote, and how answers are read."""

from __future__ import annotations

import asyncio
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from orchestrator.errors import SettingsError
from orchestrator.testing.clock import START_MS, ManualClock
from orchestrator_remote_cloud.answers import retry_after_s
from orchestrator_remote_cloud.intents import Intent, Intents
from orchestrator_remote_cloud.link import Link
from orchestrator_remote_cloud.settings import RemoteSettings, read
from orchestrator_remote_cloud.transport import Answer
from tests.unit.remote_cloud.scripted import Cloud, in_front, until

GOOD: dict[str, Any] = {"url": "https://far.test/v0.4", "prefix": "far."}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"api_key": "secret"}, "unknown field `api_key`"),
        ({"url": "far.test"}, "remotes.far.url: expected an address"),
        ({"url": "https://me:secret@far.test"}, "remotes.far.url: credentials do not belong into an address"),
        ({"key_env": "A", "key_file": "b"}, "give key_env or key_file, not both"),
        ({"backends": {"a": "b"}}, "either `backends`, or `prefix` for all"),
        ({"prefix": None}, "either `backends`, or `prefix` for all"),
        ({"prefix": None, "backends": {"a": "x", "b": "x"}}, "imported twice"),
        ({"rate_per_s": float("nan")}, "rate_per_s"),
        ({"poll_least_s": 50.0}, "poll_least_s: above poll_most_s"),
        ({"kind": "other"}, "kind"),
    ],
)
def test_settings_that_cannot_be_are_named(change: dict[str, Any], complaint: str) -> None:
    """The remote and the key are named; secrets are not repeated."""
    with pytest.raises(SettingsError) as refused:
        read({"remotes": {"far": {**GOOD, **change}}})
    assert complaint in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_local_name_is_imported_once() -> None:
    """Two remotes cannot serve the same backend."""
    table = {"url": "https://far.test", "backends": {"a": "x"}}
    with pytest.raises(SettingsError, match="a is imported by one too"):
        read({"remotes": {"one": table, "two": table}})


async def test_a_missing_key_makes_the_plugin_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By name and reason; nothing else is taken down."""
    clock = ManualClock()
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    keys: list[dict[str, Any]] = [{"key_env": "NO_SUCH_KEY"}, {"key_file": str(tmp_path / "none")}]
    for key in keys:
        async with in_front(Cloud(clock), clock, **key) as service:
            [problem] = service.backends.problems
            assert problem.name == "remote_cloud"
            assert "NO_SUCH_KEY" in str(problem) or "cannot be read" in str(problem)


@pytest.mark.parametrize(
    ("url", "keyed", "warned"),
    [
        ("http://cloud.example/v0.4", True, True),
        ("http://192.0.2.7:8700", True, True),
        ("http://cloud.example/v0.4", False, False),
        ("https://cloud.example/v0.4", True, False),
        ("http://localhost:8700", True, False),
        ("http://127.0.0.2:8700", True, False),
        ("http://[::1]:8700", True, False),
    ],
)
async def test_a_key_in_clear_is_warned_of(tmp_path: Path, url: str, keyed: bool, warned: bool) -> None:
    """Once at the start, by the remote's name and without the key."""
    clock, file = ManualClock(), tmp_path / "key"
    file.write_text("secret-key")
    with capture_logs() as logs:
        async with in_front(Cloud(clock), clock, url=url, key_file=str(file) if keyed else None):
            pass
    found = [entry for entry in logs if "unencrypted" in entry["event"]]
    assert [entry["remote"] for entry in found] == (["far"] if warned else [])
    assert "secret-key" not in str(found)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        (" 0 ", 0.0),
        ("Thu, 01 Jan 2026 00:01:30 GMT", 90.0),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    """Seconds and dates; anything else says nothing."""
    assert retry_after_s(value, START_MS) == seconds


async def test_a_retry_after_is_heeded_by_all_requests() -> None:
    """Nothing is asked before its time, whoever asks."""
    clock = ManualClock()
    cloud = Cloud(clock)
    settings = RemoteSettings(url="https://far.test", prefix="")
    link = Link("far", settings, cloud, clock, random.Random(1))
    cloud.fault((429, {"Retry-After": "40"}), "GET", "/v0.4/jobs")
    asked = asyncio.ensure_future(link.persist(dict[str, Any], "GET", "/v0.4/jobs"))
    await until(lambda: len(cloud.asked) == 1)
    await clock.advanced(39.0)
    assert len(cloud.asked) == 1
    await clock.advanced(20.0)
    await asked
    assert len(cloud.asked) == 2


@pytest.mark.parametrize("what", ["pause", "down"])
async def test_the_rate_holds_after_a_pause(what: str) -> None:
    """Requests that waited while the remote asked for a pause, or was down, come one by one, not all at once."""
    clock, times = ManualClock(), list[float]()

    class Timed(Cloud):
        async def send(self, method: str, path: str, **request: Any) -> Answer:
            times.append(clock.monotonic())
            return await super().send(method, path, **request)

    cloud = Timed(clock)
    settings = RemoteSettings(url="https://far.test", prefix="", rate_per_s=10.0, burst=5, breaker_failures=1)
    link = Link("far", settings, cloud, clock, random.Random(1))
    cloud.fault((429, {"Retry-After": "40"}) if what == "pause" else 500, "GET", "/v0.4/jobs", times=5)
    await clock.advanced(10.0)
    asked = [asyncio.ensure_future(link.persist(dict[str, Any], "GET", "/v0.4/jobs")) for _ in range(30)]
    begun = clock.monotonic()
    await until(lambda: len(times) == 5)
    await clock.advanced(30.0)
    assert len(times) == 5
    if what == "down":
        recovering = asyncio.ensure_future(link.recover())
        await until(recovering.done, clock, 0.05)
    await until(lambda: all(one.done() for one in asked), clock, 0.05)
    later = [at for at in times if at > begun + 20.0]
    spaces = [after - before for before, after in pairwise(later)]
    assert len(later) >= 30
    assert min(spaces) > 0.099
    assert len(later) / (later[-1] - later[0]) > 9.0


async def test_intents_that_are_closed_take_nothing_more(tmp_path: Path) -> None:
    """What waited is written and answered; what comes afterwards is refused, and nobody tries for ever."""
    clock = ManualClock()
    intents = Intents(clock)
    await intents.open(tmp_path)
    await intents.add(Intent(token="a", backend="b", jobs=("a",), created_ms=1))
    patient = asyncio.ensure_future(intents.accepted("a", "remote-a"))
    await clock.until_sleeping(1)
    await intents.aclose()
    await clock.advanced(1.0)
    await patient
    with pytest.raises(anyio.ClosedResourceError):
        await intents.remove("a")
    again = Intents(clock)
    await again.open(tmp_path)
    assert [one.remote_id for one in await again.of("b")] == ["remote-a"]
    await again.aclose()


async def test_intents_are_there_again(tmp_path: Path) -> None:
    """What was written is read back by the next life, and what was removed is not; the instance stays."""
    clock = ManualClock()
    first = Intents(clock)
    await first.open(tmp_path / "own")
    for token in "abc":
        await first.add(Intent(token=token, backend="b", jobs=(token, token * 2), created_ms=1))
    async with anyio.create_task_group() as patient:  # neither is in a hurry; a close writes them all the same
        patient.start_soon(first.accepted, "a", "remote-a")
        patient.start_soon(first.remove, "c")
        await clock.until_sleeping(2)
        await first.aclose()
        patient.cancel_scope.cancel()
    second = Intents(clock)
    await second.open(tmp_path / "own")
    assert second.instance == first.instance
    assert await second.of("b") == [
        Intent(token="a", backend="b", jobs=("a", "aa"), created_ms=1, remote_id="remote-a"),
        Intent(token="b", backend="b", jobs=("b", "bb"), created_ms=1),
    ]
    await second.aclose()

"""The Apprise channel against a service of its own kind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from orchestrator.clock import SystemClock
from orchestrator.errors import SettingsError
from orchestrator.notify.abc import ChannelContext, Verdict
from orchestrator.testing.channel_checks import Bench, notification
from orchestrator.testing.channel_suite import ChannelConformance
from orchestrator_apprise_channel.channel import AppriseChannel

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


class Service:
    """Speaks Apprise's own JSON over HTTP: what came, and what it says to the next."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.status = 200
        self.port = 0

    async def handle(self, request: web.Request) -> web.Response:
        self.messages.append(await request.json())
        return web.Response(status=self.status)

    @property
    def settings(self) -> dict[str, Any]:
        return {"targets": {"lab": f"json://127.0.0.1:{self.port}/"}}


@pytest.fixture
async def service(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    made = Service()
    app = web.Application()
    app.router.add_post("/", made.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.port = runner.addresses[0][1]
    yield made
    await runner.cleanup()


class TestAppriseChannel(ChannelConformance):
    """The channel keeps the contract."""

    @pytest.fixture
    def bench(self, service: Service) -> Bench:
        return Bench(
            AppriseChannel,
            settings=service.settings,
            good=[{"to": "lab"}],
            bad=[{"to": "json://127.0.0.1/"}, {"to": ["lab"]}],
        )


@pytest.fixture
async def channel(service: Service) -> AsyncIterator[AppriseChannel]:
    made = AppriseChannel()
    await made.open(ChannelContext(clock=SystemClock(), settings=service.settings))
    yield made
    await made.aclose()


async def test_title_and_text(channel: AppriseChannel, service: Service) -> None:
    """The service is told what happened; if it does not take it, there is another attempt."""
    service.status = 503
    assert (await channel.deliver({"to": "lab"}, [notification()])).verdict is Verdict.RETRY
    service.status = 200
    assert (await channel.deliver({"to": "lab"}, [notification()])).verdict is Verdict.DELIVERED
    assert service.messages[-1]["title"] == "Job failed (SimulationError): Bell pair"
    assert "no memory" in service.messages[-1]["message"]


async def test_names_that_went(channel: AppriseChannel, service: Service) -> None:
    """A stored target that the operator has removed since is rejected."""
    assert (await channel.deliver({"to": "gone"}, [notification()])).verdict is Verdict.REJECTED
    assert service.messages == []


async def test_urls_that_cannot_be_read() -> None:
    """The channel refuses to open, without telling the URL."""
    with pytest.raises(SettingsError) as caught:
        await AppriseChannel().open(
            ChannelContext(clock=SystemClock(), settings={"targets": {"lab": "nonsense://hunter2"}})
        )
    assert "hunter2" not in str(caught.value)

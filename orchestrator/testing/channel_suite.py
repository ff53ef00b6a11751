"""The conformance kit of channels as a pytest class.

    class TestMyChannel(ChannelConformance):
        @pytest.fixture
        def bench(self) -> Bench:
            return Bench(MyChannel, good=[{"to": "here"}], bad=[{"to": ""}])

Tests run on asyncio by anyio's pytest plugin, which comes with anyio.
"""

from __future__ import annotations

import pytest

from orchestrator.testing.channel_checks import CHECKS, Bench, Check


@pytest.mark.anyio
class ChannelConformance:
    """Every check of the kit, on the channel of the `bench` fixture."""

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    @pytest.fixture
    def bench(self) -> Bench:
        """The channel and its targets; override this."""
        raise NotImplementedError("override the bench fixture")

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
    async def test_promise(self, check: Check, bench: Bench) -> None:
        """The check's own docstring says what is promised."""
        await check(bench)

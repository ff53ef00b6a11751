"""Fixtures: one server and one client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.contract.harness import Client, Service, launched


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """One server."""
    async with launched() as started:
        yield started


@pytest.fixture
async def client(service: Service) -> Client:
    """A client of the first project."""
    return await service.client()

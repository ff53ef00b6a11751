"""The page of the feed, in a browser where there is one."""

from __future__ import annotations

import asyncio
from pathlib import Path

from examples import embed_aiohttp
from orchestrator import Circuit, Gate, Orchestrator
from tests.browser import browser, needs_chromium

ONE = Circuit(qubits=1, gates=(Gate("x", (0,)),))
_LIMIT_S = 60.0


@needs_chromium
async def test_the_page_follows_and_resumes(tmp_path: Path) -> None:
    """It shows jobs as they move, and after the server was away goes on where it stood."""
    async with asyncio.timeout(_LIMIT_S), browser(tmp_path) as page, Orchestrator.open() as orchestrator:
        _, key = await orchestrator.accounts.add_key(orchestrator.project.id, "page")
        async with embed_aiohttp.served(orchestrator, 0) as url:
            port = int(url.rpartition(":")[2])
            await page.visit(f"{url}/cloud/")
            await page.run("Math.random = () => 0; null")  # it pauses for no time
            await page.run(f"at('key').value = '{key}'; at('form').requestSubmit()")
            await page.until("at('state').textContent === 'live'")
            first = await orchestrator.submit(ONE)
            text = await page.until("document.querySelector('.completed')")
            assert first.id in text
            before = await page.run("cursor")
        await page.until("at('state').textContent === 'connecting again'")
        second = await orchestrator.submit(ONE)
        await orchestrator.wait(second.id)
        await page.run("first_row = rows.values().next().value; null")
        async with embed_aiohttp.served(orchestrator, port):
            text = await page.until("document.querySelectorAll('.completed').length === 2")
            assert second.id in text
            assert await page.run("rows.values().next().value === first_row")  # not begun anew
            assert await page.run("cursor") != before

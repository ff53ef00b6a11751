"""The page of the feed, in a browser where there is one."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from examples import embed_aiohttp
from orchestrator import Circuit, Gate, Orchestrator
from orchestrator.api.server import serve
from orchestrator.settings import ServerSettings, Settings
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


@asynccontextmanager
async def elsewhere() -> AsyncIterator[str]:
    """An empty page of another origin."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>elsewhere</title><body></body>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/", page)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield "http://{}:{}".format(*runner.addresses[0])
    finally:
        await runner.cleanup()


@needs_chromium
async def test_event_sources_of_another_origin_follow_and_resume(tmp_path: Path) -> None:
    """The script of docs/feed.md, on a page of an allowed origin: nothing twice and nothing missing over a restart."""
    text = (Path(__file__).parents[3] / "docs" / "feed.md").read_text("utf-8")
    (script,) = re.findall(r"^```js\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    async with asyncio.timeout(_LIMIT_S), elsewhere() as origin, browser(tmp_path) as page:
        settings = Settings(server=ServerSettings(allowed_origins=(origin,)))
        async with Orchestrator.open(settings=settings) as orchestrator:
            record, key = await orchestrator.accounts.add_key(orchestrator.project.id, "page")
            async with serve(orchestrator, "127.0.0.1", 0) as bound:
                port = int(bound.url.rpartition(":")[2])
                await page.visit(origin)
                await page.run(f"Math.random = () => 0; {script}; globalThis.follow = follow; null")
                await page.run(
                    "const add = text => document.body.append(text + ' ');"
                    f"follow('{bound.url}', '{key}', f => add(f.type === 'event' ? f.kind : f.type), add); null"
                )
                await page.until("document.body.innerText.includes('live')")
                await orchestrator.wait((await orchestrator.submit(ONE)).id)
                await page.until("document.body.innerText.includes('job.completed')")
            await orchestrator.wait((await orchestrator.submit(ONE)).id)
            async with serve(orchestrator, "127.0.0.1", port):
                await page.until("document.body.innerText.split('live').length === 3")
                await orchestrator.wait((await orchestrator.submit(ONE)).id)
                seen = await page.until("document.body.innerText.split('job.completed').length === 4")
                await orchestrator.accounts.revoke_key(record.id, project=orchestrator.project.id)
                await page.until("document.body.innerText.includes('revoked')")
    kinds = [word for word in seen.split() if word.startswith("job.")]
    assert kinds == ["job.submitted", "job.ready", "job.started", "job.completed"] * 3

"""The page of a job: how it is served, and in a browser where there is one."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from orchestrator.api.server import serve
from orchestrator.model import Failure
from orchestrator.settings import NotifySettings, Settings
from tests.browser import Browser, browser, needs_chromium
from tests.contract.harness import BELL, MULTI, Service, launched

PARTS = ("/console/job.js", "/console/job.css", "/console/icon.svg")
HOSTILE = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"
_LIMIT_S = 60.0


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with launched() as started:
        yield started


async def test_the_page_is_the_same_for_everyone(service: Service) -> None:
    """It needs no key and tells nothing: the same bytes whatever is asked for, under a strict policy."""
    client, stranger = await service.client(), await service.stranger()
    known = await client.submit()
    status, page = await stranger.raw("GET", f"/jobs/{known}")
    assert status == 200
    assert page == (await stranger.raw("GET", "/jobs/unknown"))[1] == (await client.raw("GET", f"/jobs/{known}"))[1]
    for path in (f"/jobs/{known}", *PARTS):
        assert (await stranger.raw("GET", path))[0] == 200
        policy = stranger.headers["Content-Security-Policy"]
        assert {"default-src 'self'", "frame-ancestors 'none'"} <= {part.strip() for part in policy.split(";")}
        assert "unsafe" not in policy
        assert stranger.headers["X-Content-Type-Options"] == "nosniff"
    text = page.decode()
    assert set(re.findall(r'(?:src|href)="\.\.([^"]+)"', text)) == set(PARTS)
    assert re.search(r"<style|style=|\son\w+=|<script(?! src=)", text) is None


async def test_changes_are_not_for_foreign_pages(service: Service) -> None:
    """A page of another origin changes nothing, whatever key it holds; the server's own may, also behind a proxy."""
    client = await service.client()
    job_id = await client.submit({**BELL, "name": "hold"})
    path = f"/v0.4/jobs/{job_id}/status/cancel"
    for origin in ("https://elsewhere.example", "null", "http://["):
        assert (await client.ask("PUT", path, headers={"Origin": origin}))[0] == 403
    assert (await client.ask("GET", f"/v0.4/jobs/{job_id}"))[1]["status"] != "canceled"
    assert (await client.ask("PUT", path, headers={"Origin": service.bound.url}))[0] == 200


async def test_the_public_address_is_an_own_origin() -> None:
    """A proxy may not pass on the host that the browser sees; the public address is known."""
    from orchestrator import Orchestrator

    settings = Settings(notify=NotifySettings(public_url="https://quantum.example.org/cloud"))
    async with AsyncExitStack() as stack:
        orchestrator = await stack.enter_async_context(Orchestrator.open(adapters=[], settings=settings))
        bound = await stack.enter_async_context(serve(orchestrator, "127.0.0.1", 0))
        client = await Service(orchestrator, bound, None, stack, stack).client()  # type: ignore[arg-type]
        for origin, status in (("https://quantum.example.org", 201), ("https://quantum.example.com", 403)):
            assert (await client.ask("POST", "/events/v1/tickets", headers={"Origin": origin}))[0] == status


async def come_in(page: Browser, key: str) -> str:
    await page.run(f"at('key').value = {key!r}; at('entry').requestSubmit()")
    return await page.until("at('feed').textContent === 'live' || !at('refusal').hidden")


@needs_chromium
async def test_a_job_in_a_browser(tmp_path: Path) -> None:
    """A wrong key is told so; with a good one the page follows the job to its end, past a restart, and shows it all."""
    async with asyncio.timeout(_LIMIT_S), browser(tmp_path) as page, launched() as service:
        orchestrator = service.orchestrator
        accounts = orchestrator.accounts
        added, key = await accounts.add_key(orchestrator.project.id, "page")
        stranger = await accounts.add_project("strangers")
        _, foreign = await accounts.add_key(stranger.id, "page")
        client = await service.client()
        held = await client.submit({**BELL, "name": "hold", "metadata": {"team": HOSTILE}})
        await page.visit(f"{service.bound.url}/jobs/{held}")
        await page.run("Math.random = () => 0; null")  # it pauses for no time
        assert "not valid" in await come_in(page, "wrong")
        assert "no such job" in await come_in(page, foreign)
        text = await come_in(page, key)
        assert held in text
        assert HOSTILE in text  # as text
        await page.run("const made = document.createElement('script'); made.textContent = 'window.taken = 1';"
                       "document.head.append(made)")  # fmt: skip
        assert await page.run("[document.querySelectorAll('img').length, typeof window.taken].join()") == "0,undefined"
        assert "Running" in await page.until("document.title.startsWith('Running')")
        port = int(service.bound.url.rpartition(":")[2])
        await service.stop()
        await page.until("at('feed').textContent.startsWith('connecting again')")
        async with serve(orchestrator, "127.0.0.1", port):
            await page.until("at('feed').textContent === 'live'")
            service.adapter.held.set()
            text = await page.until("document.title.startsWith('Completed') && !at('result').hidden")
            assert re.search(r"00\s+50\.0 %\s+11\s+50\.0 %", text)
            assert await page.run("at('cancel').hidden && document.querySelectorAll('#steps .done').length === 4")
            await accounts.revoke_key(added.id, project=orchestrator.project.id)
            assert "revoked" in await page.until("!at('refusal').hidden")
            assert await page.run("sessionStorage.length") == 0


@needs_chromium
async def test_what_a_person_can_do_in_a_browser(tmp_path: Path) -> None:
    """A job is canceled by a button that asks twice; a failure is shown; circuits of a parent are links."""
    async with asyncio.timeout(_LIMIT_S), browser(tmp_path) as page, launched() as service:
        orchestrator = service.orchestrator
        _, key = await orchestrator.accounts.add_key(orchestrator.project.id, "page")
        client = await service.client()
        held = await client.submit({**BELL, "name": "hold"})
        await page.visit(f"{service.bound.url}/jobs/{held}")
        await come_in(page, key)
        await page.until("!at('cancel').hidden")
        await page.run("at('cancel').click()")
        assert (await orchestrator.get(held)).outcome.failure is None
        assert await page.run("at('cancel').textContent") == "Really cancel?"
        await page.run("at('cancel').click()")
        await page.until("document.title.startsWith('Canceled')")
        wide = {"gateset": "qis", "qubits": 40, "circuit": [{"gate": "h", "targets": list(range(40))}]}
        failed = await client.submit({**BELL, "input": wide})
        failure = (await orchestrator.wait(failed)).outcome.failure
        assert isinstance(failure, Failure)
        await page.go(f"{service.bound.url}/jobs/{failed}")  # the tab has kept the key
        text = await page.until("at('feed').textContent === 'live'")
        assert failure.code in text
        assert failure.message in text
        parent = await client.submit({**MULTI, "name": "three"})
        await orchestrator.wait(parent)
        await page.go(f"{service.bound.url}/jobs/{parent}")
        await page.until("document.querySelectorAll('#children a.completed').length === 3 && !at('result').hidden")
        child = (await orchestrator.children(parent))[1].id
        assert await page.run("at('children').children[1].href") == f"{service.bound.url}/jobs/{child}"

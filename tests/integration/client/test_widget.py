"""The notebook's widget: what it is told by a real server, and how it looks in a browser where there is one."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Circuit, Gate, Orchestrator
from orchestrator.api.server import Bound, serve
from orchestrator.backends.abc import Attempt
from orchestrator.client import Client, SyncClient, widget
from orchestrator.client.widget import JobsWidget
from orchestrator.errors import ExecutionError
from orchestrator.model import Result
from orchestrator.testing.adapters import ScriptedAdapter
from tests.browser import browser, needs_chromium

ONE = Circuit(qubits=2, gates=(Gate("h", (1,)),))
SCRIPT = Path(widget.__file__).with_name("widget.js")
HOSTILE = "<img src=x onerror=\"document.title='taken'\">"


def answer(attempt: Attempt) -> Result | Exception:
    if attempt.job.spec.name == "bad":
        return ExecutionError("SimulationError", "it broke")
    return Result(qubits=2, probabilities={0: 0.75, 2: 0.25})


@pytest.fixture
async def bound() -> AsyncIterator[tuple[Bound, str]]:
    async with AsyncExitStack() as stack:
        adapter = ScriptedAdapter("simulator", answer=answer)
        orchestrator = await stack.enter_async_context(Orchestrator.open(adapters=[adapter]))
        _, key = await orchestrator.accounts.add_key(orchestrator.project.id)
        yield await stack.enter_async_context(serve(orchestrator, "127.0.0.1", 0)), key


async def test_traits_follow_the_jobs(bound: tuple[Bound, str]) -> None:
    """Rows change with events until all jobs have ended, with histogram or failure; unknown jobs are told as such."""
    server, key = bound
    seen: list[list[str]] = []
    async with Client(server.url, key) as client, asyncio.timeout(30):
        ids = [
            await client.submit(ONE, name="good"),
            await client.submit(ONE, name="bad"),
            await client.submit([ONE] * 3),
        ]
        shown = JobsWidget(client, ids)
        shown.observe(lambda change: seen.append([row["status"] for row in change["new"]]), "jobs")
        await shown.following
        good, bad, family = shown.jobs
        assert good["histogram"] == [["00", 1.0, "75.0 %"], ["10", pytest.approx(1 / 3), "25.0 %"]]
        assert (bad["status"], bad["message"]) == ("failed", "SimulationError: it broke")
        assert (family["status"], family["histogram"]) == ("completed", [])
        assert seen[-1] == ["completed", "failed", "completed"]
        lost = JobsWidget(client, "0197c3a2-4f10-7e6b-8a2d-5d7c1b0e9f31")
        await lost.following
        assert lost.problem.startswith("not_found: ")


async def test_a_cell_needs_no_await(bound: tuple[Bound, str]) -> None:
    """With the client for notebooks it goes on beside the cells; closing ends that and cancels no job."""
    server, key = bound

    def cell() -> list[dict[str, Any]]:
        with SyncClient(server.url, key) as client:
            shown = JobsWidget(client, client.submit(ONE))
            shown.following.result(timeout=20)
            other = JobsWidget(client, client.submit(ONE))
            other.close()
            assert other.following.done()
            return list(shown.jobs)

    (row,) = await asyncio.to_thread(cell)
    assert row["status"] == "completed"
    assert len(row["histogram"]) == 2


def test_without_anywidget_the_extra_is_named() -> None:
    """What to install is in the error; the client itself needs nothing of it."""
    code = (
        "import sys; sys.modules['anywidget'] = None; import orchestrator.client\n"
        "try: import orchestrator.client.widget\nexcept ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=60, check=True)
    assert "ion-orchestrator[notebook]" in done.stdout


@needs_chromium
async def test_it_draws_in_a_browser(tmp_path: Path) -> None:
    """States, progress, histogram and failure are drawn, drawn again on a change, and names are text."""
    rows = [
        {"id": "a", "name": HOSTILE, "backend": "qpu.aria-1", "status": "started", "progress": 0.4, "message": "",
         "histogram": []},
        {"id": "b", "name": "bell", "backend": "simulator", "status": "completed", "progress": None, "message": "",
         "histogram": [["00", 1.0, "50.0 %"], ["11", 0.9, "45.0 %"]]},
        {"id": "c", "name": "", "backend": "simulator", "status": "failed", "progress": None,
         "message": "NotEnoughQubits: 40 are wanted", "histogram": []},
    ]  # fmt: skip
    source = SCRIPT.read_text().replace("export default { render };", "window.render = render;")
    told = json.dumps(rows).replace("<", r"\u003c")
    page_file = tmp_path / "page.html"
    page_file.write_text(
        f"""<!doctype html><meta charset="utf-8"><title>widget</title><body><div id="place"></div><script type="module">
        {source}
        const data = {{ jobs: {told}, problem: "" }};
        window.change = (name, value) => {{ data[name] = value; window.draw(); }};
        const on = (_, draw) => {{ window.draw = draw; }};
        render({{ model: {{ get: name => data[name], on }}, el: document.getElementById("place") }});
        </script>"""
    )
    async with asyncio.timeout(60), browser(tmp_path / "profile") as page:
        await page.visit(page_file.as_uri())
        text = await page.until("document.querySelectorAll('.job').length === 3")
        for part in (HOSTILE, "qpu.aria-1", "started", "bell", "50.0 %", "11", "NotEnoughQubits: 40 are wanted"):
            assert part in text
        assert await page.run("document.querySelector('progress').value") == 0.4
        assert await page.run("document.title") == "widget"
        await page.picture(tmp_path / "widget.png", width=760, height=420)
        await page.run("change('problem', 'unauthorized: the key was revoked')")
        assert "the key was revoked" in await page.run("document.body.innerText")

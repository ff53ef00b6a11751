"""The examples do what they say, over real sockets."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import uvicorn
from aiohttp import web

from examples import embed_aiohttp, embed_fastapi, webhook_receiver
from orchestrator import Circuit, Gate, Orchestrator, Settings
from orchestrator.api.feed.hub import Close
from orchestrator.api.feed.routes import schema_bytes
from orchestrator.client import Client

EXAMPLES = Path(__file__).parents[3] / "examples"
PAGE = (EXAMPLES / "feed.html").read_text("utf-8")
SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ONE = Circuit(qubits=1, gates=(Gate("x", (0,)),))
_LIMIT_S = 60.0


def test_the_script(tmp_path: Path) -> None:
    """It tells of its job as events in order, by its hook and with its result."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / "embed_script.py", tmp_path / "data"],
        capture_output=True,
        encoding="utf-8",
        timeout=_LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    kinds = [line.split()[1] for line in lines if line.startswith("event:")]
    assert (kinds[0], kinds[-1]) == ("job.submitted", "job.completed")
    assert [line.split()[2] for line in lines if line.startswith("hook:")] == ["completed"]
    assert [line.split()[1] for line in lines if line.startswith("state:")] == ["|00>", "|11>"]


@asynccontextmanager
async def aiohttp_served() -> AsyncIterator[tuple[Orchestrator, str, str]]:
    """The aiohttp example: its orchestrator, its URL and a key."""
    async with Orchestrator.open() as orchestrator, embed_aiohttp.served(orchestrator, 0) as url:
        _, key = await orchestrator.accounts.add_key(orchestrator.project.id, "test")
        yield orchestrator, url, key


async def test_inside_aiohttp() -> None:
    """The application's own route and the API beside it work on one orchestrator, and the page is served."""
    async with aiohttp_served() as (orchestrator, url, key), aiohttp.ClientSession(url) as session:
        async with session.post("/dice") as answer:
            thrown = await answer.json()
        assert 1 <= thrown["side"] <= 8
        assert (await orchestrator.get(thrown["job"])).spec.name == "dice"
        async with Client(f"{url}/cloud/v0.4", key) as client:
            assert (await client.get(thrown["job"])).status == "completed"
        async with session.get("/cloud/") as answer:
            assert await answer.text() == PAGE


async def test_aiohttp_closes_its_feeds() -> None:
    """When the application ends, open feeds are told so with 1001."""
    async with aiohttp.ClientSession() as session:
        async with aiohttp_served() as (_, url, key):
            socket = await session.ws_connect(
                f"{url}/cloud/events/v1?cursor=earliest", headers={"Authorization": f"apiKey {key}"}
            )
            while (await socket.receive_json())["type"] != "live":
                pass
            reading = asyncio.ensure_future(socket.receive())
        assert (await reading).type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == 1001


@asynccontextmanager
async def fastapi_served() -> AsyncIterator[str]:
    """The FastAPI example under uvicorn; gives its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(embed_fastapi.create, factory=True, ws="none", lifespan="on", log_config=None)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield "http://{}:{}".format(*listening.getsockname())
        finally:
            server.should_exit = True
            await serving


async def test_inside_fastapi() -> None:
    """A job is submitted, followed to its end and shown with its result; an unknown one is not there."""
    async with fastapi_served() as url, aiohttp.ClientSession(url) as session:
        async with session.post("/jobs", params={"qubits": 3}) as answer:
            assert answer.status == 201
            job_id = (await answer.json())["id"]
        async with session.get(f"/jobs/{job_id}/events") as answer:
            assert answer.content_type == "text/event-stream"
            told = [json.loads(data) for data in re.findall(r"^data: (.*)$", await answer.text(), re.MULTILINE)]
        assert [event["kind"] for event in told][:: len(told) - 1] == ["job.submitted", "job.completed"]
        async with session.get(f"/jobs/{job_id}") as answer:
            shown = await answer.json()
        assert shown["status"] == "completed"
        assert set(shown["probabilities"]) == {"0", "7"}
        async with session.get("/jobs/0/events") as answer:
            assert answer.status == 404
        async with session.post("/jobs", params={"qubits": 13}) as answer:
            assert answer.status == 422


async def test_the_receiver_gets_what_a_hook_tells() -> None:
    """A real delivery is verified and handled once; what is not signed, or comes twice, is not handled."""
    messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    runner = web.AppRunner(webhook_receiver.create(SECRET, messages.put), access_log=None, shutdown_timeout=0.1)
    settings = Settings(
        channels={"webhook": {"allow_http": True, "allow_private": ["127.0.0.0/8"], "ports": ["1-65535"]}}
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = "http://{}:{}/".format(*runner.addresses[0])
        async with Orchestrator.open(settings=settings) as orchestrator, asyncio.timeout(_LIMIT_S):
            await orchestrator.hooks.add("webhook", {"url": url, "secret": SECRET}, kinds=["job.completed"])
            job = await orchestrator.submit(ONE, name="one")
            message = await messages.get()
        assert message["type"] == "job.completed"
        assert message["data"]["job"]["id"] == job.id
        async with aiohttp.ClientSession() as session:
            for forged in (
                {},
                _signed(b"{}", version="v0"),
                _signed(b"{ }"),
                {**_signed(b"{}"), "webhook-id": "other"},
            ):
                async with session.post(url, data=b"{}", headers=forged) as answer:
                    assert answer.status == 401
            for _ in range(2):
                async with session.post(url, data=b"{}", headers=_signed(b"{}")) as answer:
                    assert answer.status == 204
        assert [messages.get_nowait()] == [{}]
        assert messages.empty()
    finally:
        await runner.cleanup()


def _signed(body: bytes, version: str = "v1") -> dict[str, str]:
    """Headers of a message, signed by hand after the convention."""
    now = str(int(time.time()))
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    digest = hmac.digest(key, b"msg_1.%b.%b" % (now.encode(), body), hashlib.sha256)
    signature = f"{version},{base64.b64encode(digest).decode()}"
    return {"webhook-id": "msg_1", "webhook-timestamp": now, "webhook-signature": signature}


def test_the_page_keeps_to_the_protocol() -> None:
    """It is short, makes no markup of what it is told, and knows the frames, members and codes there are."""
    assert len(PAGE.splitlines()) <= 60
    assert re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", PAGE) is None
    schema = json.loads(schema_bytes())["$defs"]
    handlers = re.findall(r"^  (\w+)\((?:\{(.*?)\})?\) \{", PAGE, re.MULTILINE)
    assert [name for name, _ in handlers] == ["live", "gap", "event"]
    for name, taken in handlers:
        members = {member.split(":")[0].strip() for member in taken.split(",") if member}
        assert members <= schema[name]["properties"].keys()
        assert "cursor" in schema[name]["properties"]
    assert (
        set(re.findall(r"\bjob\.(\w+)", PAGE)) - {"deleted"}
        <= schema["gap"]["properties"]["snapshot"]["properties"]["jobs"]["items"]["properties"].keys()
    )
    assert {int(code) for code in re.findall(r"\b4\d{3}\b", PAGE)} == {int(code) for code in Close if code >= 4000}

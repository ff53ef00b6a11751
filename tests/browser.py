"""A browser for tests of pages, where there is one, over its debugging protocol."""

from __future__ import annotations

import asyncio
import base64
import shutil
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")

#: Waits, without polling, until a condition on the document holds.
UNTIL = """new Promise(done => {
  const look = () => (%s) && (watch.disconnect(), done(document.body.innerText));
  const watch = new MutationObserver(look);
  watch.observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
  look();
})"""


class Browser:
    """One page of a browser, over its debugging protocol."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._session: dict[str, str] = {}
        self._last = 0

    async def call(self, method: str, **params: Any) -> Any:
        """A command's answer."""
        self._last += 1
        await self._socket.send_json({"id": self._last, "method": method, "params": params, **self._session})
        while (answer := await self._socket.receive_json()).get("id") != self._last:
            pass
        return answer["result"]

    async def visit(self, url: str) -> None:
        """Open a page and wait until it is loaded."""
        target = await self.call("Target.createTarget", url="about:blank")
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        await self.call("Page.enable")
        await self.go(url)

    async def go(self, url: str) -> None:
        """Take the same tab elsewhere."""
        await self.call("Page.navigate", url=url)
        while (await self._socket.receive_json()).get("method") != "Page.loadEventFired":
            pass

    async def run(self, script: str) -> Any:
        """What a script gives, once its promise is kept."""
        answer = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def picture(self, file: Path, *, dark: bool = False, width: int = 900, height: int = 900) -> None:
        """Keep how the page looks, for people."""
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        await self.call("Emulation.setEmulatedMedia", features=scheme)
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        await self.call("Emulation.setDeviceMetricsOverride", **size)
        shot = await self.call("Page.captureScreenshot", format="png")
        await asyncio.to_thread(file.write_bytes, base64.b64decode(shot["data"]))

    async def until(self, condition: str) -> str:
        """The text of the page, once the condition holds."""
        text: str = await self.run(UNTIL % condition)
        return text


@asynccontextmanager
async def browser(folder: Path) -> AsyncIterator[Browser]:
    """A headless browser with a profile of its own."""
    assert CHROMIUM is not None
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-port=0")
    process = await asyncio.create_subprocess_exec(
        CHROMIUM, *flags, f"--user-data-dir={folder}", "about:blank", stdout=DEVNULL, stderr=PIPE
    )
    try:
        assert process.stderr is not None
        mark, url = "DevTools listening on ", None
        async for line in process.stderr:
            if mark in (text := line.decode(errors="replace")):
                url = text.partition(mark)[2].strip()
                break
        assert url is not None, "the browser did not start"
        draining = asyncio.create_task(process.stderr.read())
        async with aiohttp.ClientSession() as session, session.ws_connect(url, max_msg_size=0) as socket:
            made = Browser(socket)
            yield made
            await made.call("Browser.close")
        await draining
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()

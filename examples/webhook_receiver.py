"""A receiver of webhooks that believes only what is signed.

    pip install aiohttp standardwebhooks
    export WEBHOOK_SECRET=whsec_...
    python webhook_receiver.py

Give the hook that secret, or the receiver the one that the hook was given:

    orchestrator hooks add webhook url=http://127.0.0.1:9000/ secret=$WEBHOOK_SECRET --kind job.completed

For a receiver on the server's own machine, see "Where webhooks may lead" in docs/channels.md.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

#: Ids remembered to know duplicates by. Where it matters, keep them in the database, in the transaction of the effect.
REMEMBERED = 10_000

Handler = Callable[[dict[str, Any]], Awaitable[None]]


def create(secret: str, handle: Handler) -> web.Application:
    """Make the receiver; `handle` gets each message once, as ``{"version", "type", "timestamp", "data"}``."""
    webhook = Webhook(secret)
    seen: OrderedDict[str, None] = OrderedDict()

    async def receive(request: web.Request) -> web.Response:
        body = await request.read()  # the bytes as they came: the signature is over these
        try:
            message = webhook.verify(body, dict(request.headers))
        except (WebhookVerificationError, ValueError):  # the latter: not even the shape of a signature
            return web.Response(status=401)
        message_id = request.headers["webhook-id"]
        if message_id not in seen:  # delivery is at least once, under one id
            await handle(message)  # if it raises, the answer is 500, and the message comes again
            seen[message_id] = None
            if len(seen) > REMEMBERED:
                seen.popitem(last=False)
        return web.Response(status=204)

    app = web.Application(client_max_size=2**20)
    app.router.add_post("/", receive)
    return app


async def tell(message: dict[str, Any]) -> None:
    """Print what happened."""
    job = message["data"]["job"] or {}
    print(message["timestamp"], message["type"], job.get("id"), job.get("name"), flush=True)


if __name__ == "__main__":
    web.run_app(create(os.environ["WEBHOOK_SECRET"], tell), host="127.0.0.1", port=9000)

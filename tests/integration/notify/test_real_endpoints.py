"""From a committed event to a real mail server and a real receiver, through all moods, on a clock that is moved."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import anyio
import anyio.lowlevel
from aiohttp import web
from standardwebhooks.webhooks import Webhook

from orchestrator import Circuit, Gate, Orchestrator
from orchestrator.errors import ExecutionError
from orchestrator.hooks import Hook
from orchestrator.settings import Settings
from orchestrator.testing.adapters import ScriptedAdapter
from orchestrator.testing.clock import ManualClock
from tests.mail import mail_server
from tests.receiver import receiving

ONE = Circuit(qubits=1, gates=(Gate("h", (0,)),))
#: Waits of the schedule; each may be a tenth longer.
WAITS_S = (5.0, 300.0, 1_800.0, 7_200.0)
_LIMIT_S = 20.0


def opened(clock: ManualClock, **channels: dict[str, Any]) -> Orchestrator:
    """An orchestrator whose jobs fail, with the settings of its channels."""
    broken = ScriptedAdapter(answer=lambda attempt: ExecutionError("SimulationError", "it broke"))
    return Orchestrator.open(adapters=[broken], clock=clock, settings=Settings(channels=channels))


async def attempts(orchestrator: Orchestrator, hook: Hook, number: int) -> list[str]:
    """The verdicts of a hook's attempts, oldest first, once there are so many."""
    with anyio.fail_after(_LIMIT_S):
        while len(lines := await orchestrator.hooks.log(hook.id)) < number:
            await anyio.lowlevel.checkpoint()
    return [line.verdict for line in reversed(lines)]


async def waited(orchestrator: Orchestrator, hook: Hook, clock: ManualClock, least_s: float) -> None:
    """Move time to the next attempt, which is so far away or a tenth more, and not beyond."""
    head = (await orchestrator.hooks.pending(hook.id))[0]
    left_s = (head.due_at - clock.now_ms()) / 1000
    assert least_s - 1 <= left_s <= 1.1 * least_s
    await clock.advanced(left_s + 0.01)  # wall time counts in milliseconds


async def test_a_mail_arrives_once_through_all_moods_of_a_server() -> None:
    """Refused for now, greylisted, cut off, then accepted: each failed job's mail arrives once, under one id.

    One that is refused for good is dead until it is sent again, and then has the id it had.
    """
    clock = ManualClock()
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(mail_server())
        table = {"host": "127.0.0.1", "port": server.port, "security": "none", "sender": "cloud@example.org"}
        table |= {"recipients": ["ada@example.org"], "digest_s": 0.0}
        orchestrator = await stack.enter_async_context(opened(clock, email=table))
        hook = await orchestrator.hooks.add("email", {"to": "ada@example.org"})
        server.moods = ["MAIL 421 4.3.2 busy", "RCPT 451 4.7.1 greylisted", "drop before", "DATA 452 4.2.2 full"]
        first = await orchestrator.submit(ONE, backend="scripted", name="first")
        second = await orchestrator.submit(ONE, backend="scripted", name="second")
        for number, wait_s in enumerate(WAITS_S, 1):
            assert await attempts(orchestrator, hook, number) == ["retry"] * number
            assert server.kept == []
            await waited(orchestrator, hook, clock, wait_s)
        assert await attempts(orchestrator, hook, 6) == ["retry"] * 4 + ["delivered"] * 2
        assert [mail["subject"].rpartition(" ")[2] for mail in server.kept] == ["first", "second"]
        assert set(Counter(mail["message-id"] for mail in server.kept).values()) == {1}
        for job, mail in zip((first, second), server.kept, strict=True):
            text = mail.get_body(("plain",))
            assert text is not None
            assert job.id in text.get_content()

        server.moods = ["RCPT 550 5.1.1 no such user"]
        await orchestrator.submit(ONE, backend="scripted", name="third")
        assert (await attempts(orchestrator, hook, 7))[-1] == "rejected"
        (dead,) = await orchestrator.hooks.dead(hook.id)
        assert await orchestrator.hooks.redeliver(hook.id) == 1
        assert (await attempts(orchestrator, hook, 8))[-1] == "delivered"
        assert server.kept[-1]["message-id"] == f"<{dead.id}@example.org>"
        assert len(server.kept) == 3


async def test_a_receiver_in_all_moods_gets_all_in_order() -> None:
    """Not there, 500, a redirect, slower than its time: what was committed meanwhile arrives in order, the late under
    the id of its first attempt, signed; a 410 ends it.
    """
    clock = ManualClock()
    table = {"allow_http": True, "allow_private": ["127.0.0.0/8"], "ports": ["1-65535"]}
    async with AsyncExitStack() as stack:
        async with receiving() as gone:
            port = gone.port
        orchestrator = await stack.enter_async_context(opened(clock, webhook=table))
        hook = await orchestrator.hooks.add(
            "webhook", {"url": f"http://127.0.0.1:{port}/hook"}, kinds=["job.submitted", "job.started", "job.failed"]
        )
        for _ in range(3):
            job = await orchestrator.submit(ONE, backend="scripted")
            await orchestrator.wait(job.id)
        assert await attempts(orchestrator, hook, 1) == ["retry"]  # nobody listens
        receiver = await stack.enter_async_context(receiving(port))
        receiver.says(500)
        await waited(orchestrator, hook, clock, WAITS_S[0])
        assert await attempts(orchestrator, hook, 2) == ["retry"] * 2
        receiver.says(308, Location=f"http://127.0.0.1:{port}/elsewhere")
        await waited(orchestrator, hook, clock, WAITS_S[1])
        assert await attempts(orchestrator, hook, 3) == ["retry"] * 3
        arrived, let_go = anyio.Event(), anyio.Event()

        async def slow(request: web.Request) -> web.Response:
            arrived.set()
            await let_go.wait()
            return web.Response()

        receiver.answer = slow
        await waited(orchestrator, hook, clock, WAITS_S[2])
        await arrived.wait()
        await clock.advanced(20)
        assert await attempts(orchestrator, hook, 4) == ["retry"] * 4
        let_go.set()
        receiver.says(204)
        await waited(orchestrator, hook, clock, WAITS_S[3])
        assert await attempts(orchestrator, hook, 13) == ["retry"] * 4 + ["delivered"] * 9

        told = [(head["webhook-id"], head, body) for _, head, body in receiver.requests]
        ids = [each[0] for each in told]
        assert ids[:4] == [ids[0]] * 4  # 500, the redirect, the slow one, and the one that arrived
        assert len(set(ids[3:])) == len(ids[3:]) == 9
        assert {path for path, _, _ in receiver.requests} == {"/hook"}
        signer = Webhook(hook.target["secret"])  # its `verify` goes by the real clock, from which ours has departed
        for number, head, body in told:
            at = datetime.fromtimestamp(int(head["webhook-timestamp"]), UTC)
            assert head["webhook-signature"] == signer.sign(number, at, body.decode())
        events = [json.loads(body)["data"]["event"] for _, _, body in told[3:]]
        assert [event["kind"] for event in events] == ["job.submitted", "job.started", "job.failed"] * 3
        assert [event["sequence"] for event in events] == sorted(event["sequence"] for event in events)

        receiver.says(410)
        await orchestrator.submit(ONE, backend="scripted")
        assert (await attempts(orchestrator, hook, 14))[-1] == "gone"
        assert orchestrator.hooks.get(hook.id).disabled_reason == "HTTP 410"

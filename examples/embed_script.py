"""A plain script with a quantum cloud inside: no server, no globals, no thread of its own.

    python embed_script.py [FOLDER]

With a folder jobs outlive the script; without one everything is in memory.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing

from orchestrator import Circuit, Gate, Orchestrator
from orchestrator.events import Event
from orchestrator.lifecycle import TERMINAL
from orchestrator.subscription import Delivered

BELL = Circuit(qubits=2, gates=(Gate("h", (0,)), Gate("x", (1,), (0,))))  # x with a control: cnot


async def main(folder: str | None = None) -> None:
    """Run one job and tell of it three ways: as its events, by a hook, and with its result."""
    orchestrator = Orchestrator.open(folder)

    @orchestrator.on(["job.completed", "job.failed"])
    async def tell(event: Event) -> None:
        print("hook: ", event.job_id, event.after)  # in a task of its own: slow is fine

    async with orchestrator:
        job = await orchestrator.submit(BELL, backend="simulator", shots=500, name="bell")

        # What happened already, then what happens now. Keep `item.cursor`, and you can go on from there next time.
        async with aclosing(orchestrator.events("earliest", jobs=[job.id])) as items:
            async for item in items:
                if isinstance(item, Delivered):
                    print("event:", item.event.kind, item.cursor)
                    if item.event.after in TERMINAL:
                        break

        result = await orchestrator.result(job.id)  # raises JobFailed or JobCanceled where there is none
        for outcome, probability in sorted(result.probabilities.items()):
            print("state:", f"|{outcome:0{result.qubits}b}>", probability)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:2]))

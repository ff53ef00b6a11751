"""What an orchestrator in front of another one costs a job in time.

*Near* serves the backends of *far*; both are ``orchestrator serve`` in processes of their own. Small jobs go one after
the other, in turn to far itself and to it through near, so that whatever else the machine does meets both. A job's
latency is that of a client: from its submission to the word that it has ended.
"""

from __future__ import annotations

import signal
import statistics
import time
from pathlib import Path
from typing import Final

import aiohttp

from benchmarks.kills import KEY, Lives
from benchmarks.report import Report
from orchestrator.circuits.ir import Circuit, Gate
from orchestrator.client import Client

#: A job through near costs at most so many times one of far, and one round trip.
MOST: Final = 1.5
#: Jobs before those that count: connections, caches and workers are warm then.
_WARM: Final = 20
_BELL: Final = Circuit(qubits=2, gates=(Gate("h", (0,)), Gate("x", (1,), (0,))))
_LIMIT_S: Final = 30.0


async def rehearse(folder: Path, jobs: int, most: float = MOST) -> Report:
    """So many jobs each way, and their medians beside the bound, `most` times and a round trip."""
    report = Report()
    (folder / "far").mkdir()
    (folder / "near").mkdir()
    far = Lives(folder / "far")
    config = folder / "near.toml"
    config.write_text(_CONFIG.format(url=far.url))
    near = Lives(folder / "near", "--config", str(config), environment={"FAR_KEY": KEY})
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_LIMIT_S)) as session:
            for server in (far, near):  # near sees far's backends when it starts
                await server.start()
                await server.answering(session)
            round_trip = statistics.median([await _asked(session, far.url) for _ in range(max(jobs, _WARM))])
            async with Client(far.url, KEY) as straight, Client(near.url, KEY) as through:
                for _ in range(_WARM):
                    await _run(straight, "simulator"), await _run(through, "far.simulator")
                pairs = [(await _run(straight, "simulator"), await _run(through, "far.simulator")) for _ in range(jobs)]
    finally:
        codes = [await near.end(signal.SIGTERM), await far.end(signal.SIGTERM)]
    report.expect(codes == [0, 0], f"the servers stopped with {codes}")
    direct, fronted = (statistics.median(ways) for ways in zip(*pairs, strict=True))
    bound = most * direct + round_trip
    report.figures += [
        f"{jobs} jobs each way, medians: {1000 * direct:.2f} ms at far, {1000 * fronted:.2f} ms through near, "
        f"{1000 * round_trip:.2f} ms a round trip",
        f"through near: {fronted / direct:.2f} times far; {fronted / bound:.2f} of the bound "
        f"({most:g} times far and a round trip: {1000 * bound:.2f} ms)",
    ]
    report.expect(fronted <= bound, f"a job through near took {1000 * fronted:.2f} ms, more than {1000 * bound:.2f}")
    return report


async def _asked(session: aiohttp.ClientSession, url: str) -> float:
    """Seconds of the smallest request."""
    begun = time.perf_counter()
    async with session.get(f"{url}/healthz") as response:
        await response.read()
    return time.perf_counter() - begun


async def _run(client: Client, backend: str) -> float:
    """Seconds of one job, as its client sees it."""
    begun = time.perf_counter()
    job_id = await client.submit(_BELL, backend=backend, shots=10, noise={"model": "aria-1"})
    job = await client.wait(job_id, timeout_s=_LIMIT_S)
    took = time.perf_counter() - begun
    if job.status != "completed":
        raise RuntimeError(f"a job ended {job.status}: {job.failure}")
    return took


_CONFIG: Final = """
backends = ["remote_cloud"]

[plugins.remote_cloud.remotes.far]
url = "{url}"
key_env = "FAR_KEY"
prefix = "far."
"""

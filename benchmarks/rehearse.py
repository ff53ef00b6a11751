"""Rehearse promises in full: ``python -m benchmarks.rehearse NAME``; the tests do it at about a fiftieth.

* ``kill``: SIGKILL a real server at random moments under load, again and again; nothing acknowledged is lost.
* ``cancel``: cancel public coroutines anywhere, many times; nothing is left behind.
* ``crowd``: hundreds of websockets, some of which never read; memory, delay, and a SIGTERM with all of them open.
* ``feed``: read a feed from many cursors while its server is killed again and again; no gap, nothing twice.
* ``remote``: kill an orchestrator that buys from another, over a bad link; nothing is bought twice, nothing is lost.
* ``latency``: jobs through an orchestrator in front of another, beside jobs of the other itself.

Each stops by itself, uses the loopback address and a temporary folder alone, prints what it saw, and exits with 1 if
a promise was broken.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from pathlib import Path

import structlog

from benchmarks import cancels, crowd, feed_rehearsal, kills, remote_latency, remote_rehearsal


def main() -> None:
    """Run the rehearsal that is named."""
    parser = argparse.ArgumentParser(prog="benchmarks.rehearse", description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=None, help="of moments and choices; drawn unless given")
    commands = parser.add_subparsers(dest="name", required=True)
    kill = commands.add_parser("kill")
    kill.add_argument("--kills", type=int, default=200)
    kill.add_argument("--submitters", type=int, default=4)
    cancel = commands.add_parser("cancel")
    cancel.add_argument("--times", type=int, default=10_000)
    many = commands.add_parser("crowd")
    many.add_argument("--readers", type=int, default=450)
    many.add_argument("--stalled", type=int, default=50)
    many.add_argument("--seconds", type=float, default=20.0)
    feed = commands.add_parser("feed")
    feed.add_argument("--events", type=int, default=100_000)
    feed.add_argument("--readers", type=int, default=100)
    feed.add_argument("--kills", type=int, default=20)
    remote = commands.add_parser("remote")
    remote.add_argument("--kills", type=int, default=200)
    remote.add_argument("--submitters", type=int, default=4)
    remote.add_argument("--plain", action="store_true", help="speak to the other as to any cloud: no keys, no feed")
    latency = commands.add_parser("latency")
    latency.add_argument("--jobs", type=int, default=200)
    latency.add_argument("--most", type=float, default=remote_latency.MOST, help="times the other's own latency")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else time.time_ns() % 1_000_000
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    print(f"{options.name}, seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="rehearse-") as folder:
        if options.name == "kill":
            report = asyncio.run(kills.rehearse(Path(folder), options.kills, options.submitters, seed))
        elif options.name == "crowd":
            report = asyncio.run(crowd.rehearse(Path(folder), options.readers, options.stalled, options.seconds))
        elif options.name == "remote":
            report = asyncio.run(
                remote_rehearsal.rehearse(Path(folder), options.kills, options.submitters, seed, plain=options.plain)
            )
        elif options.name == "latency":
            report = asyncio.run(remote_latency.rehearse(Path(folder), options.jobs, options.most))
        elif options.name == "feed":
            report = asyncio.run(
                feed_rehearsal.rehearse(Path(folder), options.events, options.readers, options.kills, seed)
            )
        else:
            report = asyncio.run(cancels.rehearse(Path(folder), options.times, seed))
    for line in report.figures:
        print(line)
    for problem in report.problems[:20]:
        print(f"BROKEN: {problem}")
    print("kept" if not report.problems else f"broken: {len(report.problems)}")
    sys.exit(bool(report.problems))


if __name__ == "__main__":
    main()

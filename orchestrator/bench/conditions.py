"""Under which conditions the figures were measured; without them they say nothing."""

from __future__ import annotations

import gc
import os
import platform
import sqlite3
import sys
from importlib.metadata import version
from pathlib import Path

import msgspec

from orchestrator.bench.raw import fsync_ms
from orchestrator.process import loop_factory


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """The machine and the software.

    Attributes:
        fsync_ms: Median cost of writing and syncing one page where the stores of the bench are.
        load_average: Of the last minute at the beginning: above zero, others were using the machine.
        switch_interval_s: How long Python lets one thread run when another one waits.
    """

    cpu: str
    cores: int
    system: str
    python: str
    loop: str
    versions: dict[str, str]
    synchronous: str
    fsync_ms: float
    load_average: float
    gc_thresholds: tuple[int, int, int]
    switch_interval_s: float


def conditions(folder: Path) -> Conditions:
    """Those of this process, with its stores in `folder`."""
    packages = ("aiohttp", "aiosqlite", "anyio", "msgspec")
    return Conditions(
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        loop="asyncio" if loop_factory() is None else f"uvloop {version('uvloop')}",
        versions={"sqlite": sqlite3.sqlite_version} | {package: version(package) for package in packages},
        synchronous="FULL",
        fsync_ms=round(fsync_ms(folder / "fsync"), 3),
        load_average=os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0,
        gc_thresholds=gc.get_threshold(),
        switch_interval_s=sys.getswitchinterval(),
    )


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())

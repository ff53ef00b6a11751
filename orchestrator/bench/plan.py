"""What is measured in which order: all in one run, every figure once a round, so that ratios compare neighbours."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import quantiles
from typing import Final

import msgspec

from orchestrator.backends.abc import Adapter
from orchestrator.backends.discovery import discover
from orchestrator.bench import embedding, http, raw
from orchestrator.bench.fill import fill
from orchestrator.bench.workload import BACKEND, NoopAdapter
from orchestrator.service import Orchestrator
from orchestrator.settings import Settings, StorageSettings

BATCH_SUBMITTERS: Final = 8
BATCH: Final = 100
SIMULATOR: Final = "simulator"
_PAUSE_S: Final = 0.003
#: Before each figure: caches, statements and connections warm up for this part of its time.
_WARM_UP: Final = 0.15

Values = dict[str, float]
Tell = Callable[[str], None]


class Sizes(msgspec.Struct, frozen=True):
    """How much is measured.

    Attributes:
        seconds: Of each figure, each round.
        latency_jobs: Jobs behind each percentile of a round.
        finished: Finished jobs in the filled store.
    """

    rounds: int
    seconds: float
    latency_jobs: int
    finished: int


QUICK: Final = Sizes(1, 0.3, 40, 10_000)
USUAL: Final = Sizes(5, 1.0, 150, 100_000)
FULL: Final = Sizes(5, 1.5, 300, 1_000_000)


class Bench:
    """One run.

    Args:
        folder: For its stores; emptied as it goes.
        tell: Told what is being done.
    """

    def __init__(self, folder: Path, sizes: Sizes, tell: Tell) -> None:
        self._folder = folder
        self._sizes = sizes
        self._tell = tell
        self._filled = folder / "filled"
        self._simulator = False

    async def run(self) -> list[Values]:
        """The values of each round by the name of the figure."""
        self._simulator = bool((await discover(["noise_model"]))[0])
        self._tell(f"filling a store with {self._sizes.finished:,} finished jobs")
        await fill(self._filled, self._sizes.finished)
        return [await self._round(number) for number in range(1, self._sizes.rounds + 1)]

    async def _round(self, number: int) -> Values:
        def tell(what: str) -> None:
            self._tell(f"round {number} of {self._sizes.rounds}: {what}")

        tell("the disk")
        values = {"raw_rows": self._raw()}
        tell("life cycles")
        values |= await self._embedding("", self._folder / "empty")
        tell("synchronous = NORMAL")
        values |= await self._normal()
        tell(f"{self._sizes.finished:,} finished jobs")
        values |= await self._embedding("filled_", self._filled, keep=True)
        tell("HTTP")
        values |= await self._http()
        if self._simulator:
            tell("the simulator")
            values["simulator_http_cycles"] = await self._http_cycles(None, SIMULATOR)
        return values | ratios(values)

    def _raw(self) -> float:
        path = self._folder / "raw.db"
        try:
            return raw.rows_per_second(path, self._sizes.seconds)
        finally:
            for file in self._folder.glob("raw.db*"):
                file.unlink()

    async def _embedding(self, prefix: str, data: Path, *, keep: bool = False) -> Values:
        """Life cycles and latencies through the embedding API."""
        seconds = self._sizes.seconds
        values: Values = {}
        async with Orchestrator.open(data, adapters=[NoopAdapter()]) as orchestrator:
            for submitters in (64, 1, 1000):
                await embedding.cycles_per_second(orchestrator, submitters, _WARM_UP * seconds)
                rate = await embedding.cycles_per_second(orchestrator, submitters, seconds)
                values[f"{prefix}cycles_{submitters}"] = rate
            values[f"{prefix}cycles_batches"] = await embedding.batched_cycles_per_second(
                orchestrator, BATCH_SUBMITTERS, BATCH, seconds
            )
            latencies = await embedding.idle_latencies(orchestrator, self._sizes.latency_jobs, _PAUSE_S)
        for name, times in latencies._asdict().items():
            percentiles = quantiles(times, n=100, method="inclusive")
            values |= {f"{prefix}{name}_p50": percentiles[49], f"{prefix}{name}_p99": percentiles[98]}
        if not keep:
            shutil.rmtree(data)
        return values

    async def _normal(self) -> Values:
        """64 submitters with FULL and with NORMAL, one after the other."""
        values: Values = {}
        for synchronous in ("FULL", "NORMAL"):
            data = self._folder / synchronous
            settings = Settings(storage=StorageSettings(synchronous=synchronous))
            async with Orchestrator.open(data, settings=settings, adapters=[NoopAdapter()]) as orchestrator:
                await embedding.cycles_per_second(orchestrator, 64, _WARM_UP * self._sizes.seconds)
                rate = await embedding.cycles_per_second(orchestrator, 64, self._sizes.seconds)
                values[f"{synchronous.lower()}_cycles_64"] = rate
            shutil.rmtree(data)
        return values

    async def _http(self) -> Values:
        """The empty handler, submits alone, whole life cycles."""
        seconds, body = self._sizes.seconds, http.body()
        async with http.empty_server() as base:
            await http.load(base, body, _WARM_UP * seconds)
            empty = await http.load(base, body, seconds)
        data = self._folder / "http"
        async with (
            Orchestrator.open(data, adapters=[NoopAdapter(held=True)]) as orchestrator,
            http.served(orchestrator) as (base, key),
        ):
            await http.load(base, body, _WARM_UP * seconds, key=key)
            submits = await http.load(base, body, seconds, key=key)
        shutil.rmtree(data)
        return {
            "http_empty": empty.per_second,
            "http_submits": submits.per_second,
            "http_cycles": await self._http_cycles([NoopAdapter()], BACKEND),
        }

    async def _http_cycles(self, adapters: Sequence[Adapter] | None, backend: str) -> float:
        """Whole life cycles through HTTP on a backend; without adapters, on that of the plugin."""
        data = self._folder / "http"
        settings = Settings(backends=("noise_model",))
        async with (
            Orchestrator.open(data, settings=settings, adapters=adapters) as orchestrator,
            http.served(orchestrator) as (base, key),
        ):
            await http.cycles_per_second(orchestrator, base, key, _WARM_UP * self._sizes.seconds, backend)
            rate = await http.cycles_per_second(orchestrator, base, key, self._sizes.seconds, backend)
        shutil.rmtree(data)
        return rate


def ratios(values: Values) -> Values:
    """What the figures of one round say about each other."""
    return {
        "cycles_64_per_raw_row": values["cycles_64"] / values["raw_rows"],
        "http_submits_per_empty": values["http_submits"] / values["http_empty"],
        "filled_per_empty": values["filled_cycles_64"] / values["cycles_64"],
        "full_per_normal": values["full_cycles_64"] / values["normal_cycles_64"],
    }

"""The figures of a run: medians over its rounds, in the order people read them."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Final, NamedTuple

import msgspec

from orchestrator.bench.conditions import Conditions
from orchestrator.bench.plan import Sizes, Values


class Row(NamedTuple):
    """One figure: its name in JSON, what people read, its unit, and what it shall reach (`most`: not exceed)."""

    name: str
    title: str
    unit: str
    reach: float | None = None
    most: bool = False


def _embedding(prefix: str) -> tuple[Row, ...]:
    return (
        Row(f"{prefix}cycles_1", "1 submitter", "/s"),
        Row(f"{prefix}cycles_64", "64 submitters", "/s", None if prefix else 6_500),
        Row(f"{prefix}cycles_1000", "1,000 submitters", "/s"),
        Row(f"{prefix}cycles_batches", "8 submitters, 100 a call", "/s"),
        Row(f"{prefix}started_ms_p50", "idle, to started, p50", "ms", 2.0, most=True),
        Row(f"{prefix}started_ms_p99", "idle, to started, p99", "ms"),
        Row(f"{prefix}completed_ms_p50", "idle, to completed, p50", "ms", 2.0, most=True),
        Row(f"{prefix}completed_ms_p99", "idle, to completed, p99", "ms"),
    )


#: Sections in order, with their titles.
SECTIONS: Final[tuple[tuple[str, tuple[Row, ...]], ...]] = (
    (
        "Embedding API: life cycles of no-op jobs",
        (
            *_embedding(""),
            Row("raw_rows", "raw limit: plain sqlite3, 100 rows a commit", "/s"),
            Row("cycles_64_per_raw_row", "64 submitters / raw limit", "", 0.08),
        ),
    ),
    (
        "HTTP, POST /v0.4/jobs over 64 connections",
        (
            Row("http_empty", "empty aiohttp handler", "/s"),
            Row("http_submits", "submits alone", "/s"),
            Row("http_submits_per_empty", "submits / empty handler", "", 0.7),
            Row("http_cycles", "whole life cycles, no-op", "/s", 2_500),
            Row("simulator_http_cycles", "whole life cycles, simulated Bell", "/s", 1_000),
        ),
    ),
    (
        "With {finished:,} finished jobs in the store",
        (*_embedding("filled_"), Row("filled_per_empty", "64 submitters / same in an empty store", "", 0.9)),
    ),
    (
        "What a durable commit costs",
        (
            Row("full_cycles_64", "64 submitters, FULL", "/s"),
            Row("normal_cycles_64", "64 submitters, NORMAL", "/s"),
            Row("full_per_normal", "FULL / NORMAL", "", 0.8),
        ),
    ),
)


class Figure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One figure.

    Attributes:
        value: Median of the rounds.
        reach: What it shall be at least, or at most if `most`.
    """

    title: str
    unit: str
    value: float
    rounds: list[float]
    reach: float | None = None
    most: bool = False
    reached: bool | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run. `figures` leaves out what could not be measured; `notes` says why."""

    conditions: Conditions
    sizes: Sizes
    figures: dict[str, Figure]
    notes: list[str]


def report(conditions: Conditions, sizes: Sizes, rounds: Sequence[Values]) -> Report:
    """The report of a run."""
    figures = {}
    notes = []
    for _, rows in SECTIONS:
        for row in rows:
            values = [values[row.name] for values in rounds if row.name in values]
            if values:
                figures[row.name] = _figure(row, values)
            else:
                notes.append(f"not measured: {row.title}: the plugin noise_model is not installed")
    return Report(conditions=conditions, sizes=sizes, figures=figures, notes=notes)


def _figure(row: Row, values: list[float]) -> Figure:
    value = median(values)
    reached = None
    if row.reach is not None:
        reached = value <= row.reach if row.most else value >= row.reach
    rounded = [float(f"{each:.4g}") for each in (value, *values)]
    return Figure(
        title=row.title,
        unit=row.unit,
        value=rounded[0],
        rounds=rounded[1:],
        reach=row.reach,
        most=row.most,
        reached=reached,
    )

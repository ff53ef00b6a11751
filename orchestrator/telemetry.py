"""Figures for Prometheus and the shape of the log: for whoever runs the service, never for embedders.

Figures live in a registry of their own. What is counted per request or per event is a plain dictionary
entry; Prometheus' own objects are made when somebody asks.
"""

from __future__ import annotations

import logging
import re
import sys
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, TextIO

import msgspec
import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from orchestrator.storage.abc import Committed

if TYPE_CHECKING:
    from orchestrator.service import Orchestrator

_BOUNDS_S: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Latency:
    """A histogram of durations, seconds."""

    def __init__(self) -> None:
        self._counts = [0] * (len(_BOUNDS_S) + 1)
        self._sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self._counts[bisect_left(_BOUNDS_S, seconds)] += 1
        self._sum_s += seconds

    def metric(self, name: str, documentation: str) -> Metric:
        """What was counted so far."""
        bounds = [*map(str, _BOUNDS_S), "+Inf"]
        cumulated = list(zip(bounds, accumulate(self._counts), strict=True))
        return HistogramMetricFamily(name, documentation, buckets=cumulated, sum_value=self._sum_s)


class Telemetry(Collector):
    """Figures of one orchestrator.

    Attributes:
        requests: HTTP answers by route, method and status.
        submit_latency: Seconds from a checked request to its commit.
    """

    def __init__(self, orchestrator: Orchestrator) -> None:
        self.requests: Counter[tuple[str, str, int]] = Counter()
        self._events: Counter[tuple[str, str]] = Counter()
        self._orchestrator = orchestrator
        self._feeds: Callable[[], int] = int
        self._registry = CollectorRegistry(auto_describe=False)
        self.submit_latency = Latency()
        self._registry.register(self)
        self._unsubscribe = orchestrator.bus.subscribe(self._count)

    def watch_feeds(self, number: Callable[[], int]) -> None:
        """Ask `number` for the open feeds."""
        self._feeds = number

    def _count(self, entries: Sequence[Committed]) -> None:
        for event, _ in entries:
            self._events[event.kind, event.backend or ""] += 1

    def describe(self) -> Iterator[Metric]:
        """Nothing is known before the first scrape."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """The figures as Prometheus knows them."""
        requests = CounterMetricFamily(
            "orchestrator_http_requests", "HTTP answers", labels=("route", "method", "status")
        )
        for (route, method, status), number in self.requests.items():
            requests.add_metric((route, method, str(status)), number)
        yield requests
        yield self.submit_latency.metric("orchestrator_submit_seconds", "Seconds from a checked body to its commit")
        events = CounterMetricFamily(
            "orchestrator_events", "Committed events, transitions of jobs among them", labels=("kind", "backend")
        )
        for labels, number in self._events.items():
            events.add_metric(labels, number)
        yield events
        queued = GaugeMetricFamily("orchestrator_jobs_queued", "Jobs waiting for a backend", labels=("backend",))
        available = GaugeMetricFamily(
            "orchestrator_backend_available", "Whether a backend takes jobs: 1 or 0", labels=("backend",)
        )
        for name in self._orchestrator.backends.names():
            state = self._orchestrator.backends.state(name)
            queued.add_metric((name,), state.queued)
            available.add_metric((name,), state.status == "available")
        yield queued
        yield available
        idle = GaugeMetricFamily("orchestrator_loop_idle_seconds", "Seconds since a loop's last turn", labels=("loop",))
        for name, seconds in self._orchestrator.alive().items():
            idle.add_metric((name,), seconds)
        yield idle
        yield GaugeMetricFamily("orchestrator_feeds", "Open event feeds", value=self._feeds())

    def render(self) -> tuple[bytes, str]:
        """All figures in the text format, and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4

    def close(self) -> None:
        """Stop counting."""
        self._unsubscribe()


# -- the log of the service ---------------------------------------------------------------

_SECRET_NAME: Final = re.compile(r"authorization|secret|password|token|api_?key|^key$", re.IGNORECASE)
#: Tried at the first letter of a word alone: from each letter of a long word on, it would read the rest of it again.
_SECRET_TEXT: Final = re.compile(r"(?<![A-Za-z])[A-Za-z]+_[0-9a-f]{8,}_[0-9a-f]{20,}|apikey\s+\S+", re.IGNORECASE)
_HIDDEN: Final = "[hidden]"
#: Characters of one text; an exception may carry the answer of a whole device.
_LONGEST: Final = 20_000


def redact(_logger: object, _method: str, entry: Any) -> Any:
    """Hide what looks like a secret, by name or by form, at any depth."""
    return {name: _HIDDEN if _SECRET_NAME.search(name) else _clean(value) for name, value in entry.items()}


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return _SECRET_TEXT.sub(_HIDDEN, value)[:_LONGEST].encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return redact(None, "", {str(name): inner for name, inner in value.items()})
    if isinstance(value, list | tuple):
        return [_clean(inner) for inner in value]
    return value


def configure_logging(level: str = "INFO", stream: TextIO | None = None) -> None:
    """Make structlog write one JSON object a line. For processes of our own only.

    Args:
        level: Least level that is written.
        stream: Where to; standard error unless given.
    """
    tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer(tracebacks),
            redact,
            structlog.processors.JSONRenderer(serializer=_serialize),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(stream or sys.stderr),
        cache_logger_on_first_use=True,
    )


def _serialize(entry: Any, **_options: object) -> str:
    return msgspec.json.encode(entry, enc_hook=repr).decode()

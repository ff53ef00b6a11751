"""The log of our own processes: JSON lines for collectors, readable lines for people; always standard error."""

from __future__ import annotations

import logging
import sys

import structlog

from orchestrator import telemetry


def configure_logging(level: str = "INFO") -> None:
    """Write the log to standard error, in the form its reader can use."""
    if not sys.stderr.isatty():
        telemetry.configure_logging(level)
        return
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
            telemetry.redact,
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )

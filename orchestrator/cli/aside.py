"""Standard output set aside while foreign code runs, so that a command's own report stays readable.

What the code prints is counted and not shown; what its child processes print goes to standard error.
"""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, NoReturn, TextIO

import click

from orchestrator.testing.adapter_kit.frames import told

_LONGEST: Final = 60


class Aside(io.TextIOBase):
    """Stands for standard output.

    Attributes:
        report: Where the command itself writes meanwhile.
    """

    def __init__(self, report: TextIO) -> None:
        self.report = report
        self._lines = 0
        self._first = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._lines += text.count("\n")
        if not self._first.strip() or "\n" not in self._first:
            self._first = (self._first + text).lstrip()[: 4 * _LONGEST]
        return len(text)

    def summary(self) -> str:
        """What was printed, in a line; empty if nothing was."""
        first = self._first.partition("\n")[0][:_LONGEST]
        number = max(self._lines, 1)
        lines = "a line" if number == 1 else f"{number} lines"
        return f"the adapter printed {lines}, left out here; the first: {first}" if first else ""


@contextmanager
def set_aside() -> Iterator[Aside]:
    """Set standard output aside while the block runs; the descriptor too, where there is one."""
    real = sys.stdout
    descriptor, kept = None, None
    with suppress(OSError, ValueError):  # of what stands for a file, in tests and notebooks
        descriptor, errors = real.fileno(), sys.stderr.fileno()
        real.flush()
        kept = os.dup(descriptor)
        os.dup2(errors, descriptor)
    report = real if kept is None else os.fdopen(kept, "w", encoding=real.encoding, closefd=False)
    aside = Aside(report)
    sys.stdout = aside
    try:
        yield aside
    finally:
        sys.stdout = real
        if descriptor is not None and kept is not None:
            report.flush()
            os.dup2(kept, descriptor)
            os.close(kept)


@contextmanager
def exits_told(code: int) -> Iterator[None]:
    """Tell on standard error who ends this process with `os._exit`, past every ``except``; it ends with `code`."""
    real = os._exit
    process = os.getpid()

    def ending(status: int) -> NoReturn:
        if os.getpid() == process:  # a fork of this process ends so as it should
            place = told(traceback.extract_stack())
            click.echo(f"error: os._exit({status}) ended the process{place and f', at {place}'}", err=True)
            real(code)
        real(status)

    os._exit = ending
    try:
        yield
    finally:
        os._exit = real

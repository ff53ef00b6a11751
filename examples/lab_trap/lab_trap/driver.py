"""The instrument's driver: plain blocking sockets, as a vendor's SDK, a serial port or an SSH session would be.

It knows the instrument and nothing of the orchestrator. Each conversation has a connection of its own, so that
`Trap.abort` gets through while a run goes on, and no answer is ever taken for that to another question.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO


class TrapError(Exception):
    """The instrument refused, or stopped. ``code``: ``busy``, ``lost``, ``interlock``, ``aborted`` or ``syntax``."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Trap:
    """An instrument at an address. Calls block; OSError: nobody answers, `TrapError`: it refuses.

    Args:
        patience_s: Longest silence of the instrument, seconds.
    """

    def __init__(self, host: str, port: int, patience_s: float) -> None:
        self._address = (host, port)
        self._patience_s = patience_s

    def status(self) -> dict[str, str]:
        """Ions in the trap and of how many, the door, the tag that runs, the number of the calibration."""
        return self._ask("STATUS")

    def calibration(self) -> dict[str, str]:
        """Number and time of the newest calibration, and what it found."""
        return self._ask("CALIBRATION")

    def load(self) -> None:
        """Fill the trap."""
        self._ask("LOAD")

    def abort(self, tag: str = "*") -> None:
        """Stop the run of that tag, or whatever runs; returns when it has stopped. Nothing of that tag is no error."""
        self._ask(f"ABORT {tag}")

    def calibrate(self) -> None:
        """Calibrate now."""
        self._ask("CALIBRATE")

    def door(self, state: str) -> None:
        """Tell that the door is ``open`` or ``closed``, for want of a real one."""
        self._ask(f"DOOR {state}")

    def run(self, tag: str, pulses: Sequence[str], shots: int) -> list[str]:
        """Run a program; the outcome of each shot, ion 0 first."""
        outcomes = []
        with self._conversation() as lines:
            print(f"RUN {tag} {shots} {';'.join(pulses)}", file=lines, flush=True)
            while (line := _line(lines)).startswith("SHOT "):
                outcomes.append(line.removeprefix("SHOT "))
        _checked(line)
        return outcomes

    def _ask(self, command: str) -> dict[str, str]:
        with self._conversation() as lines:
            print(command, file=lines, flush=True)
            return _checked(_line(lines))

    @contextmanager
    def _conversation(self) -> Iterator[TextIO]:
        with (
            socket.create_connection(self._address, self._patience_s) as connection,
            connection.makefile("rw", encoding="ascii", newline="\n") as lines,
        ):
            yield lines


def _line(lines: TextIO) -> str:
    line = lines.readline()
    if not line.endswith("\n"):
        raise ConnectionError("the trap hung up")
    return line.strip()


def _checked(answer: str) -> dict[str, str]:
    """The members of an ``OK``."""
    verdict, _, rest = answer.partition(" ")
    if verdict != "OK":
        code, _, message = rest.partition(" ")
        raise TrapError(code, message)
    return dict(word.split("=", 1) for word in rest.split())

"""Named checks of one client, run by an interpreter that has it: every check prints one line of JSON.

Run as ``python checks/SCRIPT.py URL KEY``. A script registers its checks with `check` and ends with `main`;
the lines hold ``check``, ``ok`` and, for a failed one, ``error`` with its traceback.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

_Check = TypeVar("_Check", bound=Callable[[], None])

#: Root of the server, without a version; and a key of its default project.
URL, KEY = sys.argv[1], sys.argv[2]

_checks: list[Callable[[], None]] = []


def check(function: _Check) -> _Check:
    """Register a check; its name is the function's, its promise the docstring."""
    _checks.append(function)
    return function


def raises(
    kind: type[BaseException] | tuple[type[BaseException], ...], call: Callable[..., object], *given: Any
) -> Any:
    """The error of `kind` that the call raises, with the members of its class.

    Raises:
        AssertionError: It raised none.
    """
    try:
        answer = call(*given)
    except kind as error:
        return error
    raise AssertionError(f"{kind} expected, got {answer!r}")


def within(seconds: float, done: Callable[[], bool]) -> None:
    """Wait for a condition of the server, which no client of the vendor can be told of.

    Raises:
        AssertionError: It did not come true in time.
    """
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.01)


def main() -> None:
    """Run every check; a failed one stops no other."""
    for function in _checks:
        line: dict[str, object] = {"check": function.__name__, "ok": True}
        began = time.monotonic()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                function()
        except Exception:
            line |= {"ok": False, "error": traceback.format_exc()}
        line["seconds"] = round(time.monotonic() - began, 3)
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()

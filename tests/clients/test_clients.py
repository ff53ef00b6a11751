"""The published SDKs, unmodified, against a real server: what each check promises stands at the check."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CHECKS = Path(__file__).with_name("checks")


def checks() -> Iterator[Any]:
    """Every check of every script, found without the SDKs that the scripts import."""
    for path in sorted(CHECKS.glob("*_v0?.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and any(
                isinstance(mark, ast.Name) and mark.id == "check" for mark in node.decorator_list
            ):
                yield pytest.param(path.stem, node.name, id=f"{path.stem}-{node.name}")


@pytest.mark.parametrize(("script", "check"), list(checks()))
def test_client(script: str, check: str, report: Callable[[str], dict[str, dict[str, Any]]]) -> None:
    """The check passes in the interpreter that has its SDK."""
    said = report(script)
    assert check in said, f"the script ended before this check:\n{said['']['error']}"
    assert said[check]["ok"], said[check]["error"]

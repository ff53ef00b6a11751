"""Named queries: each SQL file holds statements under ``-- name: something`` lines."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_ROW = re.compile(r"\{(.*?)\}")


@cache
def load(group: str) -> dict[str, str]:
    """The statements of ``<group>.sql`` by name."""
    text = files(__name__).joinpath(f"{group}.sql").read_text(encoding="utf-8")
    parts = _NAME.split(text)[1:]
    return {name: body.strip().rstrip(";") for name, body in zip(parts[::2], parts[1::2], strict=True)}


@cache
def repeated(group: str, name: str, rows: int) -> str:
    """A statement whose part in braces stands there once for each of `rows` rows."""
    return _ROW.sub(lambda row: ", ".join([row[1]] * rows), load(group)[name])

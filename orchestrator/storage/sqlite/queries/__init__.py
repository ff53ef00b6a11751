"""Named queries: each SQL file holds statements under ``-- name: something`` lines."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@cache
def load(group: str) -> dict[str, str]:
    """The statements of ``<group>.sql`` by name."""
    text = files(__name__).joinpath(f"{group}.sql").read_text(encoding="utf-8")
    parts = _NAME.split(text)[1:]
    return {name: body.strip().rstrip(";") for name, body in zip(parts[::2], parts[1::2], strict=True)}

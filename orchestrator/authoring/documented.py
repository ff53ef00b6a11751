"""What docstrings in Google's form say of members: shown by ``plugins info`` and by docs/adapter-reference.md."""

from __future__ import annotations

import inspect
import re
from typing import Any, Final

import msgspec

_MEMBER: Final = re.compile(r"^    (\w+): (.*(?:\n     +.*)*)", re.MULTILINE)


def summary(subject: object) -> str:
    """The docstring without its sections, or nothing."""
    return re.split(r"\n\n?(?:Args|Attributes|Raises|Returns|Yields):\n", inspect.getdoc(subject) or "")[0].strip()


def section(subject: object, title: str) -> dict[str, str]:
    """The entries of a section, each as one line: name -> meaning."""
    found = re.search(rf"^{title}:\n((?:    .*\n?|\n(?=    ))*)", inspect.getdoc(subject) or "", re.MULTILINE)
    entries = _MEMBER.findall(found[1]) if found else []
    return {name: " ".join(text.split()) for name, text in entries}


def struct_members(kind: type[msgspec.Struct]) -> list[tuple[str, Any, str]]:
    """Each member of a struct: name, default (`msgspec.NODEFAULT` where it must be given), meaning."""
    meanings = section(kind, "Attributes")
    return [(field.name, _default(field), meanings.get(field.name, "")) for field in msgspec.structs.fields(kind)]


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default


def shown(value: object) -> str:
    """A value of a capability or a setting as people read it."""
    if value is None or (isinstance(value, str | tuple | dict) and not value):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple | list):
        return ", ".join(map(shown, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} ({shown(each)})" for key, each in value.items())
    if isinstance(value, msgspec.Struct):
        return ", ".join(f"{name} {shown(getattr(value, name))}" for name in value.__struct_fields__)
    return str(value)

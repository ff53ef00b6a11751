"""Tables that people write: a channel's settings and the target of a hook."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

import msgspec

from orchestrator.errors import InvalidRequest, SettingsError

SettingsT = TypeVar("SettingsT", bound=msgspec.Struct)


def read_settings(table: Mapping[str, Any], kind: type[SettingsT], name: str) -> SettingsT:
    """The table ``[channels.<name>]`` as a struct.

    Raises:
        SettingsError: A key is unknown or a value of the wrong kind; the message does not repeat values.
    """
    known = kind.__struct_fields__
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise SettingsError(f"channels.{name}: unknown key {key!r}{hint}")
    try:
        return msgspec.convert(dict(table), kind, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"channels.{name}: {error}") from error


def refuse_unknown(target: Mapping[str, Any], known: Collection[str]) -> None:
    """Refuse a target with members that mean nothing.

    Raises:
        InvalidRequest: ``unknown_field``.
    """
    for key in target:
        if key not in known:
            listing = ", ".join(sorted(known))
            raise InvalidRequest(
                f"the target has members that are unknown; known: {listing}", code="unknown_field", fields=("target",)
            )

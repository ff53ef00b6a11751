"""What keys and numbers of a JSON body may be, as hooks of the C scanner of `json`, and where a rule is broken.

The hooks keep nothing: an object becomes None as soon as it is complete. They do not know where they are, so a
refused body is read a second time, by hooks that return a place where something is wrong and hand it upwards.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from math import isinf
from typing import Final, NoReturn

from orchestrator.errors import InvalidRequest

#: Names that refusals repeat; what else a request calls its members is not echoed.
_NAME: Final = re.compile(r"\w{1,40}", re.ASCII)


def _pairs(pairs: list[tuple[str, object]]) -> None:
    if len(pairs) > 1 and len(dict(pairs)) != len(pairs):
        raise InvalidRequest("an object repeats a key", code="duplicate_key")


def _integer(text: str) -> None:
    if len(text) > 18 and not (len(text) < 21 and -(2**63) <= int(text) < 2**63):
        raise InvalidRequest("an integer does not fit into 64 bits", code="integer_out_of_range")


def _float(text: str) -> None:
    if isinf(float(text)):
        _constant(text)


def _constant(_text: str) -> NoReturn:
    raise InvalidRequest("numbers must be finite", code="non_finite_number")


#: Raises at the first value that breaks a rule.
checker: Final = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_int=_integer, parse_float=_float, parse_constant=_constant
)


class _Place(str):
    """The way from a value to what is wrong in it; empty if it is the value itself."""

    __slots__ = ()

    def below(self, member: str) -> _Place:
        return _Place(f"{member}.{self}" if self and self[0] != "[" else member + self)


def _placed(value: object) -> _Place | None:
    if isinstance(value, list):
        for number, item in enumerate(value):
            if (place := _placed(item)) is not None:
                return place.below(f"[{number}]")
    return value if isinstance(value, _Place) else None


def _placed_in(pairs: list[tuple[str, object]]) -> _Place | None:
    seen = set()
    for key, value in pairs:
        place = _Place() if key in seen else _placed(value)
        if place is not None:
            return place.below(key if _NAME.fullmatch(key) else "[...]")
        seen.add(key)
    return None


def _placing(check: Callable[[str], None]) -> Callable[[str], _Place | None]:
    def place(text: str) -> _Place | None:
        try:
            check(text)
        except InvalidRequest:
            return _Place()
        return None

    return place


_finder: Final = json.JSONDecoder(
    object_pairs_hook=_placed_in,
    parse_int=_placing(_integer),
    parse_float=_placing(_float),
    parse_constant=_placing(_constant),
)


def offending(text: str) -> tuple[str, ...]:
    """The member that `checker` refused, such as ``("input.circuit[3].rotation",)``; none if the text ends badly."""
    try:
        place = _placed(_finder.decode(text))
    except (json.JSONDecodeError, RecursionError):
        return ()
    return (str(place),) if place else ()

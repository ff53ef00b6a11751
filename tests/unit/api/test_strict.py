"""The strict reader against a plain reading of its rules."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.api.strict import MAX_DEPTH, check
from orchestrator.errors import InvalidRequest

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
leaves = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | texts
documents = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=6) | st.dictionaries(texts, inner, max_size=6), max_leaves=60
)


def code_of(body: bytes) -> str | None:
    try:
        check(body)
    except InvalidRequest as error:
        return error.code
    return None


def finite(document: Any) -> bool:
    if isinstance(document, float):
        return math.isfinite(document)
    if isinstance(document, dict):
        return all(map(finite, document.values()))
    return not isinstance(document, list) or all(map(finite, document))


def depth(document: Any) -> int:
    if isinstance(document, dict):
        return 1 + max(map(depth, document.values()), default=0)
    if isinstance(document, list):
        return 1 + max(map(depth, document), default=0)
    return 0


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ('{"shots":NaN}', ("shots",)),
        ('{"input":{"circuit":[{"rotation":1},{"rotation":-1e400}]}}', ("input.circuit[1].rotation",)),
        ('{"a":{"coefficients":[0,[Infinity]],"b":NaN}}', ("a.coefficients[1][0]",)),
        ('{"a":1,"qubits":99999999999999999999}', ("qubits",)),
        ('{"a":[{"b":1,"b":2}],"c":NaN}', ("a[0].b",)),
        ('{"no name of ours":{"c":NaN}}', ("[...].c",)),
        ("[1,NaN]", ("[1]",)),
        ("NaN", ()),
        ('{"shots":NaN', ()),
    ],
)
def test_what_breaks_a_rule_is_named(body: str, fields: tuple[str, ...]) -> None:
    """The first member with a number or key that is not allowed, unless the text is malformed besides."""
    with pytest.raises(InvalidRequest) as refused:
        check(body.encode())
    assert refused.value.fields == fields


def test_no_depth_is_too_much_for_finding_the_place() -> None:
    """Brackets that never close, around a number that is refused: a refusal whatever the stack allows."""
    for levels in range(900, 1000):
        with pytest.raises(InvalidRequest):
            check(b"[" * levels + b"NaN")


@given(documents, st.booleans(), st.sampled_from([None, 2]))
def test_everything_else_is_taken(document: Any, ascii_only: bool, indent: int | None) -> None:
    """Finite JSON of allowed depth passes, escaped or not, compact or not."""
    body = json.dumps(document, ensure_ascii=ascii_only, indent=indent).encode()
    expected = None if finite(document) else "non_finite_number"
    assert code_of(body) == (expected if depth(document) <= MAX_DEPTH else "json_too_deep")


@given(st.binary(max_size=60) | st.text('[]{}",:\\0n .eE-', max_size=60).map(str.encode))
def test_whatever_passes_is_json(body: bytes) -> None:
    """No byte string makes the reader raise anything else, and what it takes `json` takes too."""
    if code_of(body) is None:
        json.loads(body.decode())


@given(st.integers(1, 80), texts, st.sampled_from(["[]", "{}"]))
def test_depth_is_counted_outside_of_strings(levels: int, text: str, kind: str) -> None:
    """Brackets within strings, escaped quotes among them, do not count."""
    inner = json.dumps(text + '"[[[[{{{{\\"' * 4)
    opening, closing = ("[", "]") if kind == "[]" else ('{"k":', "}")
    body = (opening * levels + inner + closing * levels).encode()
    assert code_of(body) == ("json_too_deep" if levels > MAX_DEPTH else None)


@given(st.text('\\u0d8ace"n', max_size=24))
def test_escapes_follow_what_they_decode_to(raw: str) -> None:
    """Lone surrogates and U+0000 are refused exactly where decoding would produce them."""
    body = f'"{raw}"'.encode()
    try:
        decoded = json.loads(body)
    except ValueError:
        assert code_of(body) is not None
        return
    if any("\ud800" <= letter <= "\udfff" for letter in decoded):
        assert code_of(body) in {"invalid_unicode", "invalid_character"}
    else:
        assert code_of(body) == ("invalid_character" if "\0" in decoded else None)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        ("9223372036854775807", None),
        ("-9223372036854775808", None),
        ("9223372036854775808", "integer_out_of_range"),
        ("-9223372036854775809", "integer_out_of_range"),
        ("1e308", None),
        ("1e309", "non_finite_number"),
        ("0." + "0" * 400 + "1", None),
        ("-0", None),
    ],
)
def test_the_edges_of_numbers(number: str, code: str | None) -> None:
    """Integers fit 64 bits, floats are finite."""
    assert code_of(f'{{"n":{number}}}'.encode()) == code


@given(st.lists(texts, min_size=2, max_size=6))
def test_a_repeated_key_is_found_at_any_depth(keys: list[str]) -> None:
    """Repetition is judged after escapes are decoded."""
    members = ",".join(f"{json.dumps(key, ensure_ascii=index % 2 == 0)}:1" for index, key in enumerate(keys))
    repeated = len(set(keys)) < len(keys)
    assert code_of(f'[{{"a":{{{members}}}}}]'.encode()) == ("duplicate_key" if repeated else None)

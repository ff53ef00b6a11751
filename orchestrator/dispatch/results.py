"""Adapters are trusted code, never trusted data: what they answer is checked like any other input.

Structs do not check their members when they are made, so each answer is brought through its own type once more.
"""

from __future__ import annotations

import math
import re
from typing import Final

import msgspec

from orchestrator.backends.abc import Prepared
from orchestrator.errors import OrchestratorError
from orchestrator.foreign import legible
from orchestrator.model import Failure, Job, Result

#: Probabilities are rounded at 12 decimals each, so their sum may be off by half a unit for each outcome.
_TOLERANCE: Final = 1e-6
#: More does not fit one row of the store's table with room to spare.
_MOST_BYTES: Final = 256 * 1024 * 1024
#: Widest register; a circuit has at most that many wires.
_MOST_QUBITS: Final = 1024

#: A century, milliseconds.
_MOST_MS: Final = 100 * 366 * 86_400_000
#: Largest amount that still has its millionths as a float, and what names a currency.
_MOST_MONEY: Final = 1e9
_UNIT: Final = re.compile("[a-zA-Z]{3,10}")

#: Characters of a failure's code and message.
_LONGEST_CODE: Final = 100
_LONGEST_MESSAGE: Final = 2_000

#: Members of a result that hold numbers: in what, and of which type.
_NUMBERS: Final[dict[str, tuple[type | None, str]]] = {
    "qubits": (None, "int"),
    "probabilities": (dict, "float"),
    "counts": (dict, "int"),
    "shots": (list, "int"),
    "execution_ms": (None, "int"),
    "predicted_execution_ms": (None, "int"),
}

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Result).decode


class InvalidResult(OrchestratorError):
    """An adapter answered what cannot be the answer for that job; says why in plain words."""

    code = "invalid_result"


def failure(code: object, message: object) -> Failure:
    """A failure in an adapter's words, cut to what can be stored and shown."""
    return Failure(code=legible(code, _LONGEST_CODE), message=legible(message, _LONGEST_MESSAGE))


def text(value: object) -> str:
    """An adapter's words for people, cut to what can be stored and shown."""
    return legible(value, _LONGEST_MESSAGE)


def prepared(answer: object) -> Prepared | Failure:
    """What `prepare` answered for one job.

    Raises:
        InvalidResult: It is neither, or a member is of the wrong type.
    """
    if isinstance(answer, Failure):
        return failure(answer.code, answer.message)
    if not isinstance(answer, Prepared):
        raise InvalidResult(f"the backend answered a {type(answer).__name__}, not a Prepared")
    try:
        checked = msgspec.convert(msgspec.structs.asdict(answer), Prepared)
        _encode((checked.warnings, (checked.compiled or b"").decode()))  # stored as text
    except (msgspec.MsgspecError, TypeError, ValueError) as error:
        raise InvalidResult(str(error)) from error
    return checked


def checked(job: Job, answer: object) -> tuple[Result, bytes]:
    """The result as it will be read back, and its encoding.

    Raises:
        InvalidResult: It is of the wrong type, too large, or does not belong to the job.
    """
    if not isinstance(answer, Result):
        raise InvalidResult(f"the backend answered a {type(answer).__name__}, not a Result")
    for member in ("probabilities", "counts"):
        _check_keys(member, getattr(answer, member))
    try:
        body = _encode(answer)
        result = _decode(body)
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
        raise InvalidResult(_foreign(answer) or str(error)) from error
    if len(body) > _MOST_BYTES:
        raise InvalidResult(f"it takes {len(body)} bytes, more than {_MOST_BYTES}")
    if result.execution_ms is None and answer.execution_ms is not None:  # NaN and infinity are encoded as null
        raise InvalidResult("the execution time is not a number")
    if (fault := _fault(job, result)) is not None:
        raise InvalidResult(fault)
    return result, body


def _check_keys(member: str, outcomes: object) -> None:
    """Refuse outcomes that are no integers: as JSON they would be text, and text such as "11" be read as eleven."""
    if not isinstance(outcomes, dict) or (kinds := set(map(type, outcomes))) <= {int}:
        return
    odd = next(key for key in outcomes if type(key) is not int)
    if str in kinds:
        raise InvalidResult(f'{member} has the key {odd!r}; outcomes are integers: of bits as text, use int("10", 2)')
    raise InvalidResult(f"{member} has a key of type {_type(odd)}; use int(...)")


def _foreign(answer: Result) -> str:
    """Which value is of a type that cannot be stored, and what to do about it; empty if none is known."""
    for member, (container, plain) in _NUMBERS.items():
        value = getattr(answer, member)
        if value is None:
            continue
        if container is not None and not isinstance(value, container):
            return f"{member} is of type {_type(value)}, not a {container.__name__}"
        values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else (value,)
        if (odd := next((each for each in values if type(each) not in (int, float)), None)) is not None:
            return f"{member} has a value of type {_type(odd)}; use {plain}(...)"
        if (
            odd := next((each for each in values if type(each) is float and not math.isfinite(each)), None)
        ) is not None:
            return f"{member} has the value {odd}, which is no number"
    return ""


def _type(value: object) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def _fault(job: Job, result: Result) -> str | None:
    if not 0 <= result.qubits <= _MOST_QUBITS:
        return f"a register of {result.qubits} qubits"
    limit = 1 << result.qubits
    total = 0.0
    for outcome, probability in result.probabilities.items():
        if not 0 <= outcome < limit:
            return f"outcome {outcome} does not fit {result.qubits} qubits"
        if not 0.0 <= probability <= 1.0 + _TOLERANCE:
            return f"probability {probability} of outcome {outcome} is not between 0 and 1"
        total += probability
    if abs(total - 1.0) > _TOLERANCE + len(result.probabilities) * 1e-12:
        return f"probabilities sum to {total}, not 1"
    if result.counts is not None:
        if any(number < 0 for number in result.counts.values()):
            return "a count is negative"
        if any(not 0 <= outcome < limit for outcome in result.counts):
            return f"a counted outcome does not fit {result.qubits} qubits"
        if (counted := sum(result.counts.values())) != job.spec.shots:
            return f"counts sum to {counted}, not to the {job.spec.shots} shots asked for"
    if result.shots is not None:
        if len(result.shots) != job.spec.shots:
            return f"{len(result.shots)} shots are listed, not the {job.spec.shots} asked for"
        if not (min(result.shots) >= 0 and max(result.shots) < limit):
            return f"the outcome of a shot does not fit {result.qubits} qubits"
    times = {"execution time": result.execution_ms, "predicted execution time": result.predicted_execution_ms}
    for name, value in times.items():
        if value is not None and value < 0:
            return f"the {name} is negative"
        if value is not None and value > _MOST_MS:
            return f"the {name} is {value} ms, more than a century"
    if result.cost is not None and not (0.0 <= result.cost.value <= _MOST_MONEY and _UNIT.fullmatch(result.cost.unit)):
        return "the cost is not an amount of a currency"
    return None

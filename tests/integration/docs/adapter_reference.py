"""Writes docs/adapter-reference.md from the contract's own signatures and docstrings.

python -m tests.integration.docs.adapter_reference
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from orchestrator import errors
from orchestrator.authoring.documented import section, shown, struct_members, summary
from orchestrator.backends import abc
from orchestrator.model import BackendState, Characterization, Cost, Failure, JobSpec, Noise, Result

PAGE: Final = Path(__file__).parents[3] / "docs" / "adapter-reference.md"

_HEAD: Final = """\
# The adapter contract

Every member of `orchestrator.backends.abc` and of what goes through it. [Writing a backend](backends.md) is the
walk through, [circuits and gates](circuits.md) what there is to run;
`python -m tests.integration.docs.adapter_reference` makes this page from the code, and a test compares.
`orchestrator plugins check NAME` holds an adapter to all of it. What no other module is named for is imported from
`orchestrator.backends.abc`.

"""

#: Members of an adapter by what they are for; every public one is named exactly once.
GROUPS: Final = {
    "What it is": ("name", "capabilities", "state"),
    "Opening and closing": ("open", "aclose"),
    "Before a job is ready": ("prepare", "announced", "predict_ms", "estimate", "wall_ms"),
    "Running jobs: implement one": ("run", "run_batch", "serve"),
    "Where runs are executed": ("isolation", "isolated_memory_mb", "stoppable"),
    "While jobs run": ("cancel", "heartbeat", "recover"),
    "Calibrations": ("initial_characterizations",),
}
_ATTRIBUTES: Final = {
    "name": "The name of its entry point, in the log, and of its table `[plugins.<name>]` of the settings.",
}
#: What goes in and out.
_RECORDS: Final = (
    *(JobSpec, Noise, abc.Prepared, Result, Cost, Failure),
    *(abc.NoiseModel, abc.Prices, BackendState, Characterization),
)


def page() -> str:
    """The whole page."""
    return _HEAD + "\n".join(_lines()).rstrip() + "\n"


def members() -> list[str]:
    """The public members of an adapter."""
    return [name for name in vars(abc.Adapter) if not name.startswith("_")] + ["name"]


def _lines() -> Iterator[str]:
    yield from ("## Adapter", "", prose(summary(abc.Adapter)), "")
    meanings = _ATTRIBUTES | section(abc.Adapter, "Attributes")
    for title, names in GROUPS.items():
        yield from (f"### {title}", "")
        for name in names:
            subject = getattr(abc.Adapter, name, None)
            if inspect.isfunction(subject):
                yield from _method(name, subject)
            else:
                default = "" if subject is None and name == "name" else f" (default: {shown(subject)})"
                yield from (f"**`{name}`**{default}. {prose(meanings[name])}", "")
    yield from ("## Capabilities", "", prose(summary(abc.Capabilities)), "")
    yield from struct_table(abc.Capabilities)
    for protocol, title in ((abc.Ready, "Ready"), (abc.Emit, "Emit")):
        yield from (f"## {title}", "", prose(summary(protocol)), "")
        for name, subject in vars(protocol).items():
            if inspect.isfunction(subject) and not name.startswith("_"):
                yield from _method(name, subject)
    for given in (abc.AdapterContext, abc.Attempt):
        yield from (f"## {given.__name__}", "", prose(summary(given)), "", "| member | meaning |", "|---|---|")
        explained = section(given, "Attributes")
        for name in given.__annotations__:
            yield f"| `{name}` | {prose(explained.get(name, _PLAIN.get(name, '')))} |"
        for name, subject in vars(given).items():
            if not name.startswith("_") and (isinstance(subject, property) or hasattr(subject, "attrname")):
                yield f"| `{name}` | {prose(inspect.getdoc(subject) or '')} |"
        yield ""
    yield from ("## Records", "")
    for kind in _RECORDS:
        home = abc.__name__ if kind.__name__ in abc.__all__ else kind.__module__
        yield from (f"### {kind.__name__}", "", f"`from {home} import {kind.__name__}`", "", prose(summary(kind)), "")
        yield from struct_table(kind)
    yield from (
        "## Faults",
        "",
        "Raised by an adapter, or answered in place of a result; all are in `orchestrator.errors`.",
        "",
    )
    yield from ("| raise | what becomes of the job |", "|---|---|")
    for fault in _faults():
        parameters = _plain(str(inspect.signature(fault))).removesuffix(" -> None")
        yield f"| `{fault.__name__}{parameters}` | {prose(summary(fault))} |"


_PLAIN: Final = {
    "clock": "The orchestrator's clock; wait with `clock.sleep`, so that tests can move time.",
    "new_id": "Makes ids, for characterizations.",
}


def _faults() -> list[type[errors.ExecutionError]]:
    found = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ExecutionError)
    ]
    return [kind for kind in found if kind.__module__ == errors.__name__]


def _method(name: str, subject: Any) -> Iterator[str]:
    keyword = "async def" if inspect.iscoroutinefunction(subject) else "def"
    yield from ("```", f"{keyword} {name}{_plain(str(inspect.signature(subject)))}", "```", "")
    yield from (prose(summary(subject)), "")
    if raised := section(subject, "Raises"):
        yield from ("Raises " + "; ".join(f"`{kind}`: {prose(text)}" for kind, text in raised.items()), "")


def struct_table(kind: type[msgspec.Struct]) -> Iterator[str]:
    """The members of a record, their defaults and meanings."""
    yield from ("| member | default | meaning |", "|---|---|---|")
    for name, default, meaning in struct_members(kind):
        value = "required" if default is msgspec.NODEFAULT else "" if default == "" else shown(default)
        if isinstance(default, msgspec.Struct):
            value = "empty"
        yield f"| `{name}` | {value} | {prose(meaning)} |"
    yield ""


def _plain(signature: str) -> str:
    """Types without their packages, as an author writes them."""
    unquoted = re.sub(r"(: |-> )'([^']*)'", r"\1\2", signature)
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", unquoted)


def prose(text: str) -> str:
    """Docstring to Markdown: one code quote, whole paragraphs."""
    paragraphs = [" ".join(part.split()) for part in text.replace("``", "`").split("\n\n")]
    return "\n\n".join(paragraphs)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

"""A new backend's project: its names, and its files from the templates beside this module.

The templates are `string.Template` texts, package data; where each goes is `FILES`.
"""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import entry_points, packages_distributions
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Final

from orchestrator.backends.discovery import GROUP

#: Template -> path in the project; both may hold names.
FILES: Final = {
    "README.md.tmpl": "README.md",
    "pyproject.toml.tmpl": "pyproject.toml",
    "package.py.tmpl": "$module/__init__.py",
    "adapter.py.tmpl": "$module/adapter.py",
    "test_adapter.py.tmpl": "tests/test_$module.py",
}

_LONGEST: Final = 50
_NAME: Final = re.compile(r"[a-z][a-z0-9]*([-_.][a-z0-9]+)*")
#: Words of Python's own that a package would hide, or be hidden by, and the folder of the project's tests.
_TAKEN: Final = sys.stdlib_module_names | {"orchestrator", "test", "tests"}


class ProjectRefused(ValueError):
    """There can be no project of that name, or not there; says why, and what could be."""


@dataclass(frozen=True)
class Names:
    """What a project calls its things.

    Attributes:
        distribution: What people install: ``my-lab``.
        module: Its package, its entry point and its table of the settings: ``my_lab``.
        class_name: Its adapter: ``MyLabAdapter``.
        backend: What its adapter serves: ``my-lab.sim``.
    """

    distribution: str
    module: str
    class_name: str
    backend: str


def names(name: str) -> Names:
    """The names that follow from one, such as ``my-lab``.

    Raises:
        ProjectRefused: It is not a name of a distribution, or one of its names is taken.
    """
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise ProjectRefused(
            f"{name[:_LONGEST]!r}: a name is made of lower-case letters and digits, with single hyphens between, "
            f"starts with a letter and has at most {_LONGEST} characters{_suggestion(name)}"
        )
    words = re.split("[-_.]", name)
    distribution, module = "-".join(words), "_".join(words)
    if keyword.iskeyword(module) or module in _TAKEN:
        raise ProjectRefused(f"{name!r}: {module!r} is a word of Python or of the orchestrator; try {distribution}-lab")
    if (owner := _owner(module)) is not None:
        raise ProjectRefused(f"{name!r}: {owner} is installed here and has that name already; try {distribution}-lab")
    title = "".join(word.capitalize() for word in words)
    return Names(distribution, module, title.removesuffix("Adapter") + "Adapter", f"{distribution}.sim")


def _suggestion(name: str) -> str:
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name)
    better = re.sub(r"[^a-z0-9]+", "-", apart.lower()).lstrip("-0123456789")[:_LONGEST].strip("-")
    return f"; try {better}" if better else ""


def _owner(module: str) -> str | None:
    """The installed distribution whose package or plugin the new one would hide."""
    if module in {point.name for point in entry_points(group=GROUP)}:
        return f"a plugin {module}"
    owners = packages_distributions().get(module)
    return owners[0] if owners else None


def write(named: Names, parent: Path) -> list[Path]:
    """Write the project into a new folder of `parent`, which is made where needed; answers its files.

    Raises:
        ProjectRefused: There is something of that name already; nothing was written.
        OSError: The folder cannot be written.
    """
    folder = parent / named.distribution
    parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir()
    except FileExistsError:
        raise ProjectRefused(f"{folder} exists already; nothing was written") from None
    written = []
    for path, text in rendered(named):
        target = folder / path
        target.parent.mkdir(exist_ok=True)
        target.write_text(text, encoding="utf-8")
        written.append(target)
    return written


def rendered(named: Names) -> Iterator[tuple[str, str]]:
    """Path and text of each file of the project."""
    templates, values = files(__package__) / "template", asdict(named)
    for template, path in FILES.items():
        text = (templates / template).read_text(encoding="utf-8")
        yield Template(path).substitute(values), Template(text).substitute(values)

"""New projects: the names that follow from one, what is refused, and what is written."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

from orchestrator.authoring.project import FILES, Names, ProjectRefused, names, rendered, write


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("my-lab", Names("my-lab", "my_lab", "MyLabAdapter", "my-lab.sim")),
        ("my_lab.two", Names("my-lab-two", "my_lab_two", "MyLabTwoAdapter", "my-lab-two.sim")),
        ("zion2", Names("zion2", "zion2", "Zion2Adapter", "zion2.sim")),
        ("lab-adapter", Names("lab-adapter", "lab_adapter", "LabAdapter", "lab-adapter.sim")),
    ],
)
def test_names_follow_from_one(name: str, expected: Names) -> None:
    """Distribution, module, class and backend are all derived from the name."""
    assert names(name) == expected


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("", "starts with a letter"),
        ("My_Lab", "try my-lab"),
        ("IonTrap", "try ion-trap"),
        ("9lives", "try lives"),
        ("a--b", "try a-b"),
        ("../up", "try up"),
        ("a/b", "try a-b"),
        ("-x", "try x"),
        ("lab\n", "try lab"),
        ("π", "starts with a letter"),
        ("x" * 51, "at most 50"),
        ("json", "a word of Python"),
        ("class", "a word of Python"),
        ("test", "a word of Python"),
        ("tests", "a word of Python"),
        ("orchestrator", "a word of Python or of the orchestrator"),
        ("pytest", "is installed here"),
        ("noise-model", "a plugin noise_model"),
    ],
)
def test_bad_names_are_refused(name: str, told: str) -> None:
    """Each is told why, and where there is one, a name that would do."""
    with pytest.raises(ProjectRefused, match=told):
        names(name)


def test_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    """Nothing is written into a folder, over a file, or through a link that is there already."""
    for make in (Path.mkdir, Path.touch, lambda path: path.symlink_to(tmp_path / "nowhere")):
        target = tmp_path / "my-lab"
        make(target)
        with pytest.raises(ProjectRefused, match="exists already"):
            write(names("my-lab"), tmp_path)
        assert not list(tmp_path.glob("my-lab/*"))
        target.rmdir() if target.is_dir() else target.unlink()


def test_what_is_written_is_whole(tmp_path: Path) -> None:
    """All files, no placeholder left, Python that parses, metadata that names the class, an adapter under 60 lines."""
    named = names("my-lab")
    written = write(named, tmp_path / "new" / "place")
    texts = dict(rendered(named))
    assert [path.read_text("utf-8") for path in written] == list(texts.values())
    assert len(written) == len(FILES)
    for path, text in texts.items():
        assert "$" not in text
        assert all(len(line) <= 120 for line in text.splitlines())
        if path.endswith(".py"):
            ast.parse(text)
    project = tomllib.loads(texts["pyproject.toml"])["project"]
    assert project["entry-points"]["orchestrator.backends"] == {"my_lab": "my_lab.adapter:MyLabAdapter"}
    assert len(texts["my_lab/adapter.py"].splitlines()) < 60

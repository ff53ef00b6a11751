"""Plugins outside this repository: installed from folders of their own, they pass their own tests."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from zipfile import ZipFile

from orchestrator.authoring.project import FILES
from tests.integration.authoring.conftest import BASH, Shell

ROOT = Path(__file__).parents[3]
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[str]:
    """The shell blocks of a page, in order."""
    return _BLOCK.findall(page.read_text("utf-8"))


def test_the_walk_of_the_documentation(shell: Shell, environment: dict[str, str], tmp_path: Path) -> None:
    """docs/backends.md, command by command: a new project passes its tests, is checked, served, and runs a job."""
    make, check, serve, use = blocks(ROOT / "docs" / "backends.md")
    shell(make, tmp_path)
    project = tmp_path / "my-lab"
    told = shell(check, project)
    assert re.search(r"\d+ passed", told)
    assert re.search(r"my_lab: \d+ promises kept, 0 broken", told)
    listed = json.loads(shell("orchestrator plugins list --json", project))
    assert {"my_lab"} == {each["plugin"] for each in listed if each["distribution"] == "my-lab"}
    with subprocess.Popen(
        [BASH, "-c", f"exec {serve}"],
        cwd=project,
        env={**environment, "ORCHESTRATOR_SERVER__PORT": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
    ) as process:
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline().strip() for _ in range(4)]
            exported = dict(line.removeprefix("export ").split("=", 1) for line in lines[1:])
            told = shell(use, project, **exported)
            [job] = re.findall(r'"id":"([0-9a-f-]{36})"', told)
            assert "my-lab.sim" in told
            shell(f"orchestrator watch {job}", project, **exported)  # fails unless the job completes
        finally:
            process.terminate()


def test_every_name_makes_a_project_that_works(shell: Shell, tmp_path: Path) -> None:
    """A name of several words, with its own tests left as they were written; both its README's other commands."""
    shell("orchestrator plugins new ion.trap-adapter2 --dir deep/er", tmp_path)
    project = tmp_path / "deep" / "er" / "ion-trap-adapter2"
    install, test, serve = blocks(project / "README.md")[0].splitlines()
    assert serve == "orchestrator serve"
    assert "passed" in shell(f"{install}\n{test}", project)
    info = json.loads(shell("orchestrator plugins info ion_trap_adapter2 --json", project))
    assert [each["backend"] for each in info["backends"]] == ["ion-trap-adapter2.sim"]


def test_the_lab_trap_is_installed_from_its_folder(shell: Shell) -> None:
    """The example is a distribution like a stranger's: its README's commands install it and pass its tests."""
    folder = ROOT / "examples" / "lab_trap"
    install, _ = blocks(folder / "README.md")
    told = shell(install.replace("python -m pytest", "python -m pytest -p no:cacheprovider"), folder)
    assert re.search(r"\d+ passed", told)
    assert "failed" not in told
    assert "LabTrapAdapter" in shell("orchestrator plugins info lab_trap", folder)


def test_the_wheel_carries_the_templates(shell: Shell, tmp_path: Path) -> None:
    """What `plugins new` writes from is package data: every template is in a built wheel."""
    shell(f"pip wheel -q --no-deps --no-build-isolation --no-index -w {tmp_path} {ROOT}", tmp_path)
    [wheel] = tmp_path.glob("*.whl")
    with ZipFile(wheel) as archive:
        inside = {name.rpartition("/")[2] for name in archive.namelist() if "/authoring/template/" in name}
    assert inside == set(FILES)

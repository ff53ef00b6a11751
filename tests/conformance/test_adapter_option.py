"""``pytest --adapter``: the kit without a test file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_LIMIT_S = 120.0


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    """Run pytest in a folder, as strict about warnings as can be; its exit code and what it printed."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        encoding="utf-8",
        timeout=_LIMIT_S,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an adapter in a module, and somebody's tests."""
    source = "from tests.conformance.adapters.broken import ReversedBits as Mirror\n"
    (tmp_path / "my_lab.py").write_text(f"{source}from tests.conformance.adapters.sound import Sound\n")
    (tmp_path / "test_other.py").write_text("def test_other():\n    assert True\n")
    return tmp_path


def test_a_sound_adapter(folder: Path) -> None:
    """Only the kit runs, all is kept, and the end says so."""
    code, text = run(folder, "--adapter", "my_lab:Sound")
    assert code == 0, text
    assert "promises of my_lab:Sound" in text
    assert "0 not kept" in text
    assert " 1 passed" not in text


def test_a_broken_adapter_beside_a_sound_one(folder: Path) -> None:
    """Spread over processes, the report in plain words is whole, and the run fails."""
    code, text = run(folder, "--adapter", "my_lab:Mirror", "--adapter", "my_lab:Sound", "-n", "2")
    assert code == 1, text
    assert "Not kept: Qubit k of a circuit is bit k of an outcome" in text
    assert "the bits are reversed" in text
    assert text.count("promises of my_lab:") == 2


def test_paths_are_run_as_well(folder: Path) -> None:
    """With paths of one's own, those tests run beside the kit; ``-k`` chooses among both."""
    code, text = run(folder, "--adapter", "my_lab:Sound", "test_other.py", "-k", "test_other or plain_job")
    assert code == 0, text
    assert "2 passed" in text


def test_others_are_left_alone(folder: Path) -> None:
    """Without the option a run is what it was, and nothing of the kit is imported."""
    check = "import sys\ndef test_light():\n    assert 'orchestrator.testing.adapter_kit' not in sys.modules\n"
    (folder / "test_light.py").write_text(check)
    code, text = run(folder)
    assert code == 0, text
    assert "2 passed" in text
    assert "promises" not in text


@pytest.mark.parametrize("form", ["option", "class"])
@pytest.mark.parametrize("spread", [(), ("-n", "2")], ids=["alone", "spread"])
def test_a_mistake_in_run_is_told_once(folder: Path, form: str, spread: tuple[str, ...]) -> None:
    """What `run` raises is told with its line, in few lines; the checks that need it are skipped."""
    (folder / "my_lab.py").write_text("from tests.conformance.adapters.broken import Raises\n")
    (folder / "test_lab.py").write_text(
        "import pytest\nfrom my_lab import Raises\nfrom orchestrator.testing.adapter_kit import *\n"
        "class TestIt(AdapterConformance):\n"
        "    @pytest.fixture\n    def bench(self):\n        return Bench(Raises)\n"
    )
    arguments = ("--adapter", "my_lab:Raises") if form == "option" else ("test_lab.py",)
    code, text = run(folder, *arguments, *spread)
    assert code == 1, text
    assert "the backend raised ZeroDivisionError: no ions, at broken.py:" in text
    assert len(text.splitlines()) < 40, text
    assert "Traceback" not in text


@pytest.mark.parametrize("spread", [(), ("-n", "2")], ids=["alone", "spread"])
@pytest.mark.parametrize(
    ("name", "words"), [("nobody", "not installed; installed:"), ("my_lab:Nobody", "nothing of that name")]
)
def test_a_wrong_name(folder: Path, name: str, words: str, spread: tuple[str, ...]) -> None:
    """A name that leads nowhere is a mistake of the command line, told in a line."""
    code, text = run(folder, "--adapter", name, *spread)
    assert code == pytest.ExitCode.USAGE_ERROR
    assert words in text
    assert "Traceback" not in text


def test_settings_come_from_a_file(folder: Path) -> None:
    """An adapter gets its own table of the file of settings."""
    (folder / "settings.toml").write_text("[plugins.sound]\nspeed = 2\n")
    (folder / "my_lab.py").write_text(
        "from tests.conformance.adapters.sound import Sound\n"
        "class Fast(Sound):\n"
        "    async def open(self, context):\n"
        "        assert context.settings == {'speed': 2} or 'no_such_setting' in context.settings\n"
    )
    code, text = run(folder, "--adapter", "my_lab:Fast", "--adapter-config", "settings.toml", "-k", "open or plain_job")
    assert code == 0, text

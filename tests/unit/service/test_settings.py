"""Settings: where they come from, and what is refused."""

from pathlib import Path

import pytest

from orchestrator.errors import SettingsError
from orchestrator.settings import Settings, load

CONFIGS = Path(__file__).parents[3] / "configs"


def test_later_sources_win(tmp_path: Path) -> None:
    """Defaults < file < environment < command line, key by key."""
    file = tmp_path / "a.toml"
    file.write_text('backends = ["noise_model"]\n[dispatch]\nlease_s = 5\nrun_limit_s = 6\ndrain_s = 7\n')
    settings = load(
        file,
        environment={
            "ORCHESTRATOR_DISPATCH__RUN_LIMIT_S": "60",
            "ORCHESTRATOR_DISPATCH__DRAIN_S": "70",
            "ORCHESTRATOR_PLUGINS__TRAPPED_ION__TIME_SCALE": "0",
            "ORCHESTRATOR_BOOTSTRAP_KEY": "not a setting",
            "HOME": "/",
        },
        overrides={"dispatch": {"drain_s": 700}},
    )
    dispatch = settings.dispatch
    assert (dispatch.lease_s, dispatch.run_limit_s, dispatch.drain_s) == (5.0, 60.0, 700.0)
    assert dispatch.retry_cap_s == Settings().dispatch.retry_cap_s
    assert settings.backends == ("noise_model",)
    assert settings.plugins == {"trapped_ion": {"time_scale": "0"}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[dipatch]\n", ["a.toml", "dipatch", "did you mean 'dispatch'"]),
        ("[dispatch]\nlease = 3\n", ["a.toml", "dispatch.lease", "did you mean 'lease_s'"]),
        ("[dispatch]\nlease_s = 'soon'\n", ["a.toml", "lease_s"]),
        ("[dispatch]\nlease_s = nan\n", ["a.toml", "lease_s"]),
        ("[dispatch]\nlease_s = 0\n", ["a.toml", "lease_s"]),
        ("[dispatch]\nrun_limit_s = inf\n", ["a.toml", "run_limit_s"]),
        ("[dispatch]\nmax_failed_attempts = 0\n", ["a.toml", "max_failed_attempts"]),
        ("[server]\nport = 70000\n", ["a.toml", "port"]),
        ("[storage]\nsynchronous = 'OFF'\n", ["a.toml", "synchronous"]),
        ("[workers]\ncount = -1\n", ["a.toml", "count"]),
        ("server = 3\n", ["a.toml", "server"]),
        ("= 3\n", ["a.toml"]),
    ],
)
def test_what_is_wrong_is_named(text: str, words: list[str], tmp_path: Path) -> None:
    """An unknown key, a wrong type or a value out of range names the file and the key, and suggests."""
    file = tmp_path / "a.toml"
    file.write_text(text)
    with pytest.raises(SettingsError) as raised:
        load(file, environment={})
    assert all(word in str(raised.value) for word in words)


def test_the_environment_is_checked_too(tmp_path: Path) -> None:
    """An unknown variable of ours names the environment; a missing file is told by name."""
    with pytest.raises(SettingsError, match=r"environment: unknown key 'servr'; did you mean 'server'"):
        load(environment={"ORCHESTRATOR_SERVR__PORT": "1"})
    with pytest.raises(SettingsError, match="not a table"):
        load(environment={"ORCHESTRATOR_SERVER__PORT": "1", "ORCHESTRATOR_SERVER__PORT__TOO": "1"})
    with pytest.raises(SettingsError, match=r"none\.toml"):
        load(tmp_path / "none.toml", environment={})


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.toml")), ids=lambda file: file.name)
def test_configurations_load(file: Path) -> None:
    """Every file of configs/ that is a configuration loads (noise models have a format of their own)."""
    if not file.name.startswith("noise"):
        load(file, environment={})

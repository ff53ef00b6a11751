"""``orchestrator doctor``: what could be wrong with this installation."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Final

import click
import msgspec

from orchestrator.cli import DONE, NO
from orchestrator.cli.options import config_option, data_option, json_option
from orchestrator.errors import SettingsError

if TYPE_CHECKING:
    from orchestrator.settings import Settings

_SYNCS: Final = 10
_SLOW_SYNC_MS: Final = 20.0


class Finding(msgspec.Struct, frozen=True):
    """One thing looked at: whether it is well, and what was seen."""

    what: str
    well: bool
    seen: str


@click.command()
@data_option
@config_option
@json_option
def command(data: Path, config: Path | None, as_json: bool) -> int:
    """Look at the installation, the settings, the plugins and the data folder; exit 1 if something is wrong."""
    from orchestrator.cli.output import console, emit  # noqa: PLC0415 - brings rich

    findings = list(_findings(data, config))
    if as_json:
        emit(findings)
    else:
        for finding in findings:
            mark = "[green]ok  [/]" if finding.well else "[bold red]bad [/]"
            console().print(mark, f"[bold]{finding.what}[/]", finding.seen, soft_wrap=True)
    return DONE if all(finding.well for finding in findings) else NO


def _findings(data: Path, config: Path | None) -> Iterator[Finding]:
    python = f"Python {platform.python_version()} on {platform.system()}, {os.cpu_count()} processors"
    yield Finding("machine", sys.version_info >= (3, 11), python)
    yield Finding("release", True, f"ion-orchestrator {version('ion-orchestrator')}")
    yield _look("settings", lambda: _settings(config))
    from orchestrator.authoring.inspecting import plugins  # noqa: PLC0415 - brings the service's rooms
    from orchestrator.backends.placements import remembered  # noqa: PLC0415

    found = plugins(_settings_or_defaults(config), remembered(data))
    yield Finding("plugins", bool(found), ", ".join(each.plugin for each in found) or "none: no backends")
    for each in found:
        if each.loads != "yes":
            yield Finding(f"plugin {each.plugin}", False, each.loads)
        if each.moved:
            yield Finding(f"plugin {each.plugin}", False, f"runs in worker processes: {each.moved}")
    yield _look("data folder", lambda: _folder(data))
    yield from _adapters(data)


def _adapters(data: Path) -> Iterator[Finding]:
    """What the server that runs in the folder could not open, and backends that take no jobs."""
    from orchestrator.api.admin_socket import served  # noqa: PLC0415

    if not served(data):
        return
    from orchestrator.cli.fleet import fleet_of  # noqa: PLC0415

    try:
        adapters, backends = fleet_of(data)
    except Exception as error:
        yield Finding("server", False, str(error) or type(error).__name__)
        return
    for adapter in adapters:
        if adapter["reason"]:
            yield Finding(f"adapter {adapter['name']}", False, adapter["reason"])
    for state in backends:
        if state["status"] != "available":
            yield Finding(f"backend {state['backend']}", False, f"{state['status']}: {state['reason']}")


def _look(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, look())
    except Exception as error:
        return Finding(what, False, str(error) or type(error).__name__)


def _settings_or_defaults(config: Path | None) -> Settings:
    """The settings; where they are wrong, which is a finding of its own, the defaults."""
    from orchestrator.settings import Settings, load  # noqa: PLC0415

    try:
        return load(config)
    except SettingsError:
        return Settings()


def _settings(config: Path | None) -> str:
    from orchestrator.settings import load  # noqa: PLC0415

    settings = load(config)
    return f"{config or 'defaults and environment'}: port {settings.server.port}, {settings.storage.synchronous} sync"


def _folder(data: Path) -> str:
    """Whether it can be written, how long a sync takes there, and whether a server holds it."""
    from orchestrator.api.admin_socket import served  # noqa: PLC0415

    if not data.exists():
        return f"{data} will be made"
    with TemporaryFile(dir=data) as file:
        begun = time.perf_counter()
        for _ in range(_SYNCS):
            file.write(b"x" * 512)
            file.flush()
            os.fsync(file.fileno())
        sync_ms = (time.perf_counter() - begun) / _SYNCS * 1_000
    slow = " (slow: every commit waits for it)" if sync_ms > _SLOW_SYNC_MS else ""
    state = "a server runs" if served(data) else "no server runs"
    return f"{data}: writable, a sync takes {sync_ms:.1f} ms{slow}, {state}"

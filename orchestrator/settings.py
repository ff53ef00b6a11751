"""Settings: TOML in `configs/`, defaults < file < environment < command line.

Unknown keys are refused with a suggestion. Every plugin owns the table ``[plugins.<name>]``, which only it reads, and
every notification channel the table ``[channels.<name>]``.
Environment variables are named ``ORCHESTRATOR_<SECTION>__<KEY>``, for example ``ORCHESTRATOR_DISPATCH__LEASE_S``, and
``ORCHESTRATOR_PLUGINS__<PLUGIN>__<KEY>``; lists stand in files alone.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from orchestrator.errors import SettingsError

PREFIX: Final = "ORCHESTRATOR_"

#: Bounds exclude NaN and infinity, which TOML can spell.
Amount = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
Positive = Annotated[float, msgspec.Meta(gt=0, le=1e9)]
Count = Annotated[int, msgspec.Meta(ge=1)]


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The HTTP server.

    Attributes:
        host: Address to listen on.
        port: TCP port; 0 takes a free one.
        max_connections: Open connections in all; `max_connections_per_address` from one address.
        allowed_origins: Origins whose pages may open the feed and change things; the same origin and that of
            `notify.public_url` always may.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 8642
    max_connections: Count = 2000
    max_connections_per_address: Count = 1000
    allowed_origins: tuple[str, ...] = ()


class StorageSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The store.

    Attributes:
        synchronous: ``FULL``: a success is on disk before it is answered. ``NORMAL`` may lose answered writes in a
            power cut; for comparison only.
        keep_finished_days: Days to keep ended jobs and their events; 0 keeps all.
    """

    synchronous: Literal["FULL", "NORMAL"] = "FULL"
    keep_finished_days: Amount = 0.0


class DispatchSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Execution.

    Attributes:
        lease_s: Length of a lease, seconds; renewed every third of it.
        max_failed_attempts: Retryable failures and lost workers after which a job is failed.
        retry_base_s: First retry waits up to this, each further one up to twice as long.
        retry_cap_s: Longest wait between attempts.
        run_limit_s: Longest run of an attempt, seconds; 0 for none. A backend may set its own. Time in which its
            adapter says that it is unavailable does not count.
        prepare_limit_s: Longest check and compile of a job, or of a batch before each is tried alone, seconds; 0 for
            none.
        queue_limit_s: Longest wait in the queue, seconds; 0 for none.
        import_limit_s: Longest import of a plugin before it is left out, seconds; 0 for none.
        drain_s: At a stop, time for running attempts to end before they are put back.
        blocked_ms: An adapter that keeps the event loop from turning for so long is named in the log; 0 to not look.
        blocked_limit_s: An event loop that stands still for so long is given up, and `orchestrator serve` starts
            anew; 0 for never.
        blocking: ``move``: further runs of such an adapter go to worker processes where they can; ``warn``: they do
            not.
    """

    lease_s: Positive = 30.0
    max_failed_attempts: Count = 3
    retry_base_s: Amount = 1.0
    retry_cap_s: Amount = 60.0
    run_limit_s: Amount = 3600.0
    prepare_limit_s: Amount = 600.0
    queue_limit_s: Amount = 0.0
    import_limit_s: Amount = 30.0
    drain_s: Amount = 3.0
    blocked_ms: Annotated[int, msgspec.Meta(ge=0, le=60_000)] = 250
    blocked_limit_s: Amount = 30.0
    blocking: Literal["warn", "move"] = "move"


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Worker processes.

    Attributes:
        count: Processes; 0 for one per core.
    """

    count: Annotated[int, msgspec.Meta(ge=0)] = 0


class NotifySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Notifications.

    Attributes:
        channels: Channels that hooks may use, by the names of their entry points.
        public_url: Address under which people reach this server; notifications link to ``<public_url>/jobs/<id>``.
            Empty for no links.
        keep_days: Days to keep delivered and dead deliveries, and the log of attempts; 0 keeps all.
    """

    channels: tuple[str, ...] = ("email", "webhook")
    public_url: str = ""
    keep_days: Amount = 30.0


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings.

    Attributes:
        backends: Names of the adapters to load; empty for all installed ones.
        plugins: One table for each plugin, read by the plugin itself.
        channels: One table for each notification channel, read by the channel itself.
    """

    server: ServerSettings = ServerSettings()
    storage: StorageSettings = StorageSettings()
    dispatch: DispatchSettings = DispatchSettings()
    workers: WorkerSettings = WorkerSettings()
    notify: NotifySettings = NotifySettings()
    backends: tuple[str, ...] = ()
    plugins: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)
    channels: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)


def load(
    file: Path | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """Read settings; later sources win.

    Args:
        file: A TOML file, or None for the defaults.
        environment: Variables to read; None for the process's own.
        overrides: Values of the command line, nested like the file.

    Raises:
        SettingsError: Names the source and the key.
    """
    values: dict[str, Any] = {}
    if file is not None:
        try:
            values = tomllib.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingsError(f"{file}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{file}: {error}") from error
        _check(values, str(file))
    variables = _from_environment(os.environ if environment is None else environment)
    _check(variables, "environment")
    values = _merged(_merged(values, variables), overrides or {})
    try:
        return msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{file or 'settings'}: {error}") from error


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in environment.items():
        *tables, key = name.removeprefix(PREFIX).lower().split("__")
        if not (name.startswith(PREFIX) and tables):
            continue
        here = found
        for table in tables:
            here = here.setdefault(table, {})
            if not isinstance(here, dict):
                raise SettingsError(f"environment: {name} names a member of what is not a table")
        here[key] = value
    return found


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = _merged(merged[key], value)
        else:
            merged[key] = value
    return merged


def _check(values: Mapping[str, Any], source: str) -> None:
    """Refuse unknown keys, with the nearest known one."""
    sections = {field.name: field.type for field in msgspec.structs.fields(Settings)}
    for key, value in values.items():
        if key not in sections:
            raise SettingsError(f"{source}: unknown key {key!r}{_nearest(key, sections)}")
        kind = sections[key]
        if isinstance(value, Mapping) and isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            known = kind.__struct_fields__
            for inner in value:
                if inner not in known:
                    raise SettingsError(f"{source}: unknown key {key}.{inner!s}{_nearest(inner, known)}")


def _nearest(key: str, known: Any) -> str:
    match = difflib.get_close_matches(key, list(known), n=1)
    return f"; did you mean {match[0]!r}?" if match else ""

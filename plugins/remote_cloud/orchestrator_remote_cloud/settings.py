"""The plugin's table of the configuration: one table for each remote."""

from __future__ import annotations

import os
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec

from orchestrator.errors import SettingsError

#: Bounds exclude NaN and infinity, which TOML can spell.
Amount = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
Positive = Annotated[float, msgspec.Meta(gt=0, le=1e9)]
Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class RemoteSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One remote, ``[plugins.remote_cloud.remotes.<name>]``.

    Attributes:
        url: Address, with or without ``/v0.4``.
        key_env: Environment variable that holds the API key; or `key_file`: a file that holds it. Never the key itself.
        kind: ``orchestrator`` or ``cloud``; ``auto`` asks the remote.
        backends: Local name -> name at the remote.
        prefix: Import all backends of the remote, under this prefix and their names; instead of `backends`.
        rate_per_s: Most requests a second; 0 for no limit. `burst`: so many may go at once before that counts.
        limit_per_job: Refuse jobs whose estimated cost is above this, in the remote's unit; without it none is
            estimated.
        in_flight: Most jobs at the remote at a time, for each backend.
        poll_least_s, poll_most_s: Shortest and longest time between two looks where there is no feed.
        refresh_s: Time between two looks at the remote's backends.
        connect_s, timeout_s: Time limits of connecting and of a request.
        grace_s: A submission whose answer was lost, and that the remote does not show after so long, never arrived.
        breaker_failures: So many failures in a row make the remote unavailable. `probe_most_s`: longest time between
            two tries to reach it again.
        run_limit_s: Longest run of a job at the remote; 0 for the server's own limit.
        shots: Fetch the list of shots too, where the remote has one, and not only their totals.
    """

    url: str
    key_env: str | None = None
    key_file: str | None = None
    kind: Literal["auto", "orchestrator", "cloud"] = "auto"
    backends: dict[str, str] = msgspec.field(default_factory=dict)
    prefix: str | None = None
    rate_per_s: Amount = 0.0
    burst: Count = 20
    limit_per_job: Amount | None = None
    in_flight: Count = 500
    poll_least_s: Positive = 1.0
    poll_most_s: Positive = 30.0
    refresh_s: Positive = 60.0
    connect_s: Positive = 10.0
    timeout_s: Positive = 60.0
    grace_s: Amount = 120.0
    breaker_failures: Count = 3
    probe_most_s: Positive = 60.0
    run_limit_s: Amount = 0.0
    shots: bool = False

    @property
    def root(self) -> str:
        """The address without the version."""
        return self.url.rstrip("/").removesuffix("/v0.4")

    @property
    def key_in_clear(self) -> bool:
        """A key goes over the network where others can read it."""
        parts = urlsplit(self.url)
        keyed = self.key_env is not None or self.key_file is not None
        return keyed and parts.scheme == "http" and not _this_machine(parts.hostname or "")

    def key(self) -> str | None:
        """The API key, read now: a file may be replaced while the server runs.

        Raises:
            SettingsError: It is not where the settings say.
        """
        if self.key_env is not None:
            key = os.environ.get(self.key_env, "").strip()
            where = f"the environment variable {self.key_env}"
        elif self.key_file is not None:
            where = f"the file {self.key_file}"
            try:
                key = Path(self.key_file).read_text("utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise SettingsError(f"{where} cannot be read: {type(error).__name__}") from None
        else:
            return None
        if not (key and key.isascii() and key.isprintable() and " " not in key):
            raise SettingsError(f"{where} holds no API key")
        return key


def _this_machine(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table ``[plugins.remote_cloud]``."""

    remotes: dict[str, RemoteSettings] = msgspec.field(default_factory=dict)


def read(table: Mapping[str, Any]) -> Settings:
    """The settings in the plugin's table.

    Raises:
        SettingsError: Something cannot be; names the remote and the key.
    """
    try:
        settings = msgspec.convert(dict(table), Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"remote_cloud: {error}") from error
    taken: dict[str, str] = {}
    for name, remote in settings.remotes.items():
        for fault in _faults(name, remote):
            raise SettingsError(f"remote_cloud: remotes.{name}.{fault}")
        for local in remote.backends:
            if local in taken:
                raise SettingsError(f"remote_cloud: remotes.{name}.backends: {local} is imported by {taken[local]} too")
            taken[local] = name
    return settings


def _faults(name: str, remote: RemoteSettings) -> list[str]:
    parts = urlsplit(remote.url)
    faults = []
    if not (name.isascii() and name.replace("-", "").replace("_", "").isalnum()):
        faults.append("the name of a remote has letters, digits, - and _ alone")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        faults.append("url: expected an address such as https://api.ionq.co/v0.4")
    elif parts.username is not None:
        faults.append("url: credentials do not belong into an address; use key_env or key_file")
    if remote.key_env is not None and remote.key_file is not None:
        faults.append("key_env: give key_env or key_file, not both")
    if bool(remote.backends) is (remote.prefix is not None):
        faults.append("backends: say which backends to import: either `backends`, or `prefix` for all")
    if len(set(remote.backends.values())) < len(remote.backends):
        faults.append("backends: a backend of the remote is imported twice")
    if not all(remote.backends) or not all(remote.backends.values()):
        faults.append("backends: a backend has a name")
    if remote.poll_least_s > remote.poll_most_s:
        faults.append("poll_least_s: above poll_most_s")
    return faults

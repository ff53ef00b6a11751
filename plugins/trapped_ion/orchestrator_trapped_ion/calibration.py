"""Calibrations: what a device is and how well it works, read from TOML.

The built-in ones are package data; a folder of the configuration may replace them or add devices.
A calibration is the state a device reverts to; what it was at a given time is a
`orchestrator.model.Characterization`, see `drift`.
"""

from __future__ import annotations

import itertools
import tomllib
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from orchestrator.backends.abc import Prices
from orchestrator.errors import SettingsError
from orchestrator.model import Characterization

Probability: TypeAlias = Annotated[float, msgspec.Meta(gt=0, le=1)]
Positive: TypeAlias = Annotated[float, msgspec.Meta(gt=0)]
Entangler: TypeAlias = Literal["ms", "zz"]

ONE_QUBIT: Final = frozenset({"gpi", "gpi2"})
TWO_QUBIT: Final = frozenset({"ms", "zz"})


class Fidelity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Average gate fidelities, and the probability to read back the bit that was prepared."""

    one_qubit: Probability = msgspec.field(name="1q")
    two_qubit: Probability = msgspec.field(name="2q")
    spam: Probability


class Timing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Durations and coherence times, seconds. `t1` is published but unused, see `noise`."""

    one_qubit: Positive = msgspec.field(name="1q")
    two_qubit: Positive = msgspec.field(name="2q")
    readout: Positive
    reset: Positive
    t1: Positive
    t2: Positive


class Drift(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the device wanders around its calibration, see `drift.drifted`.

    Attributes:
        spread: Standard deviation, in the long run, of the logarithm of an error or of a coherence time.
        relaxation_s: Time in which a deviation falls to 1/e, seconds.
        interval_s: Time between two characterizations, seconds.
    """

    spread: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.1
    relaxation_s: Positive = 86_400.0
    interval_s: Positive = 3_600.0


class Calibration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One device. `drift` is None for one that stays as it is, `prices` for one whose runs are free."""

    backend: str
    qubits: Annotated[int, msgspec.Meta(ge=1, le=1024)]
    native_gates: tuple[Literal["gpi", "gpi2", "ms", "zz", "nop"], ...]
    fidelity: Fidelity
    timing: Timing
    drift: Drift | None = None
    cost_model: Literal["QCT", "2QGE_operations"] | None = None
    prices: Prices | None = None

    def __post_init__(self) -> None:
        if not (set(self.native_gates) >= ONE_QUBIT and TWO_QUBIT & set(self.native_gates)):
            raise ValueError("native_gates need gpi, gpi2 and one of ms and zz")

    @property
    def entangler(self) -> Entangler:
        """The two-qubit gate that circuits are compiled to."""
        return "zz" if "zz" in self.native_gates else "ms"

    def characterization(self, record_id: str, now_ms: int) -> Characterization:
        """The device exactly as calibrated. Ions in one trap couple all to all."""
        return Characterization(
            id=record_id,
            backend=self.backend,
            recorded_at=now_ms,
            qubits=self.qubits,
            connectivity=list(itertools.combinations(range(self.qubits), 2)),
            fidelity={name: {"median": value} for name, value in msgspec.to_builtins(self.fidelity).items()},
            timing=msgspec.to_builtins(self.timing),
        )


def parse(text: str, source: str) -> Calibration:
    """Read one calibration.

    Raises:
        SettingsError: It is not TOML, or a key is missing, unknown or out of range; names `source` and the key.
    """
    try:
        return msgspec.convert(tomllib.loads(text), Calibration)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise SettingsError(f"{source}: {error}") from error


def load(overrides: Path | None = None) -> dict[str, Calibration]:
    """All devices by the name of their backend: the built-in ones, then those of the folder `overrides`.

    Raises:
        SettingsError: A file is wrong, or the folder holds none.
    """
    files = _toml_files(resources.files(__package__) / "calibrations")
    if overrides is not None:
        own = _toml_files(overrides) if overrides.is_dir() else []
        if not own:
            raise SettingsError(f"{overrides}: no calibrations (*.toml) in this folder")
        files += own
    calibrations = (parse(file.read_text(encoding="utf-8"), file.name) for file in files)
    return {calibration.backend: calibration for calibration in calibrations}


def _toml_files(folder: Traversable) -> list[Traversable]:
    return sorted((file for file in folder.iterdir() if file.name.endswith(".toml")), key=lambda file: file.name)

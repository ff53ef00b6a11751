"""Parts of a submission that both API versions spell alike: their shapes and their limits."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from orchestrator.api.endpoint import wrong
from orchestrator.errors import InvalidRequest
from orchestrator.model import MAX_SEED, MAX_SHOTS, Noise

#: Numbers that clients also send as decimal text or as integral floats.
Lax = int | float | str

#: The contract knows text alone; qiskit-ionq keeps its compiler's flag there, as a boolean.
WireMetadata = dict[str, str | bool]

_MAX_METADATA: Final = 10
_MAX_METADATA_NAME: Final = 40
_MAX_METADATA_VALUE: Final = 40_000
_MAX_NAME: Final = 1_000


class WireNoise(msgspec.Struct, kw_only=True):
    """``noise`` as sent; `seeds`, one for each circuit, are ours: orchestrators tell each other what they drew."""

    model: str
    seed: Lax | None = None
    seeds: list[Lax] | None = None


class _Compilation(msgspec.Struct, kw_only=True):
    opt: float | None = None
    precision: str | None = None
    gate_basis: str | None = None
    service_version: str | None = None


class _ErrorMitigation(msgspec.Struct, kw_only=True):
    debiasing: bool | dict[str, Any] | None = None
    debias: bool | None = None
    symmetry_verification: bool | None = None


class _Settings(msgspec.Struct, kw_only=True):
    compilation: _Compilation | None = None
    error_mitigation: _ErrorMitigation | None = None


def whole(value: Lax, field: str) -> int:
    """A whole number, however it was sent.

    Raises:
        InvalidRequest: It is not whole; names `field`.
    """
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        if value.is_integer() and abs(value) < 2**63:
            return int(value)
    elif len(value) <= 20 and value.isascii() and value.removeprefix("-").isdigit():
        return int(value)
    raise InvalidRequest(f"{field} must be a whole number", code="wrong_type", fields=(field,))


def between(value: int, low: int, high: int, field: str) -> int:
    """The value, if it lies in the range.

    Raises:
        InvalidRequest: It does not; names `field`.
    """
    if not low <= value <= high:
        name = field.rpartition(".")[2]
        raise InvalidRequest(
            f"{name} must be between {low:,} and {high:,}", code=f"{name}_out_of_range", fields=(field,)
        )
    return value


def read_shots(value: Lax | None) -> int:
    """Shots, 100 unless given."""
    return 100 if value is None else between(whole(value, "shots"), 1, MAX_SHOTS, "shots")


def read_noise(noise: WireNoise | None) -> Noise | None:
    """The noise model asked for; whether the backend has it is the service's question."""
    if noise is None:
        return None
    seed = None if noise.seed is None else between(whole(noise.seed, "noise.seed"), 1, MAX_SEED, "noise.seed")
    return Noise(model=noise.model, seed=seed)


def read_seeds(noise: WireNoise | None) -> tuple[int, ...] | None:
    """Seeds of the circuits, where they are given."""
    if noise is None or noise.seeds is None:
        return None
    return tuple(between(whole(seed, "noise.seeds"), 1, MAX_SEED, "noise.seeds") for seed in noise.seeds)


def noise_body(noise: Noise) -> dict[str, Any]:
    """A noise model; its seed only if one was given."""
    return {"model": noise.model} if noise.seed is None else {"model": noise.model, "seed": noise.seed}


def check_name(name: str | None) -> None:
    """Refuse a name beyond the limit.

    Raises:
        InvalidRequest: It is too long.
    """
    if name is not None and len(name) > _MAX_NAME:
        raise InvalidRequest(f"name may have {_MAX_NAME:,} characters", code="name_out_of_range", fields=("name",))


def read_metadata(metadata: WireMetadata | None) -> dict[str, str] | None:
    """Metadata within the documented limits, flags as text.

    Raises:
        InvalidRequest: It exceeds them.
    """
    if not metadata:
        return None if metadata is None else {}
    if len(metadata) > _MAX_METADATA:
        raise _metadata(f"metadata may have {_MAX_METADATA} entries")
    for key, value in metadata.items():
        if len(key) > _MAX_METADATA_NAME:
            raise _metadata(f"metadata names may have {_MAX_METADATA_NAME} characters")
        if isinstance(value, str) and len(value) > _MAX_METADATA_VALUE:
            raise _metadata(f"metadata values may have {_MAX_METADATA_VALUE:,} characters")
    return {key: value if isinstance(value, str) else str(value).lower() for key, value in metadata.items()}


def _metadata(message: str) -> InvalidRequest:
    return InvalidRequest(message, code="metadata_out_of_range", fields=("metadata",))


def check_settings(settings: dict[str, Any]) -> None:
    """Refuse known settings of the wrong type; unknown ones are kept as given.

    Raises:
        InvalidRequest: Names the member.
    """
    try:
        msgspec.convert(settings, _Settings)
    except msgspec.ValidationError as error:
        raise wrong(error, "settings") from None

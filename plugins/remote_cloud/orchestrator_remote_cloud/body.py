"""The body of a submission: what a local job, or a family of them, is called at a remote."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

import anyio.to_thread
import msgspec

from orchestrator.backends.abc import Attempt
from orchestrator.circuits import ir
from orchestrator.client import job_body
from orchestrator.errors import UserFault
from orchestrator.model import IDEAL

#: Most entries of metadata a job may have (reference: 10), names of 40 characters.
MOST_METADATA: Final = 10
#: A body of so many gates is written off the event loop.
_MANY: Final = 2_000


def token_of(attempts: Sequence[Attempt]) -> str:
    """The client token of the remote job that these make: the same whenever these same jobs go together again."""
    if attempts[0].job.parent_id is None:
        return attempts[0].id
    digest = hashlib.sha256(",".join(attempt.id for attempt in attempts).encode()).hexdigest()
    return f"{attempts[0].job.parent_id}.{digest[:12]}"


def token_key(instance: str) -> str:
    """The name of the metadata entry that holds the token; its own for each orchestrator, since they can be chained."""
    return f"token-{instance}"


def check_room(attempts: Sequence[Attempt], *, needs_token: bool) -> None:
    """Refuse a job whose metadata leaves no room for the token.

    Args:
        attempts: One, or the children of one parent.
        needs_token: The mark is all that finds the job again: the remote knows no idempotency keys.

    Raises:
        UserFault: There is none.
    """
    _, given = _named(attempts)
    if needs_token and len(given) >= MOST_METADATA:
        message = f"this backend marks each job with an entry of metadata of its own, so {MOST_METADATA - 1} are left"
        raise UserFault(message)


async def written(attempts: Sequence[Attempt], target: str, *, key: str, token: str, seeded: bool) -> bytes:
    """The body; the same bytes for the same jobs.

    Args:
        attempts: One, or the children of one parent in circuit order.
        target: The backend's name at the remote.
        key: Name of the metadata entry of the token, left out where there is no room for it.
        token: Marks the job.
        seeded: The remote is an orchestrator: it honours a seed on every backend, beside the model ``ideal`` where
            there are no others, and one for each circuit.
    """
    gates = sum(attempt.job.spec.stats.gates_1q + attempt.job.spec.stats.gates_2q for attempt in attempts)
    if gates + len(attempts) > _MANY:
        return await anyio.to_thread.run_sync(_written, attempts, target, key, token, seeded)
    return _written(attempts, target, key, token, seeded)


def _named(attempts: Sequence[Attempt]) -> tuple[str | None, dict[str, str]]:
    """Name and metadata that were given: those of a family are the parent's."""
    first = attempts[0]
    whole = first.job if first.job.parent_id is None else first.parent
    return (None, {}) if whole is None else (whole.spec.name, dict(whole.spec.metadata or {}))


def _written(attempts: Sequence[Attempt], target: str, key: str, token: str, seeded: bool) -> bytes:
    first = attempts[0].job
    single = first.parent_id is None
    name, metadata = _named(attempts)
    seeds = [attempt.job.spec.seed for attempt in attempts]
    options: dict[str, Any] = {"backend": target, "shots": first.spec.shots}
    if len(metadata) < MOST_METADATA:
        metadata[key] = token
    if metadata:
        options["metadata"] = metadata
    if name is not None:
        options["name"] = name
    if first.spec.settings:
        options["settings"] = first.spec.settings
    if (noise := first.spec.noise) is not None:
        options["noise"] = {"model": noise.model}
        # Circuits of one job share the seed a person gave; their own ones, drawn apart, the contract has no place for.
        seed = first.spec.seed if single else noise.seed
        if seed is not None:
            options["noise"]["seed"] = seed
        elif seeded:
            options["noise"]["seeds"] = seeds
    elif seeded:
        options["noise"] = {"model": IDEAL} | ({"seed": seeds[0]} if single else {"seeds": seeds})
    circuits = [ir.loads(attempt.input) for attempt in attempts]  # not kept, as `Attempt.circuit` would
    return msgspec.json.encode(job_body(circuits[0] if single else circuits, **options))

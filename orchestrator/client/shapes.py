"""What a server tells a client: jobs, backends and feed frames as the wire spells them, and refusals."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from orchestrator.errors import OrchestratorError
from orchestrator.lifecycle import TERMINAL, JobStatus
from orchestrator.model import CIRCUIT, Cost, Failure, Noise


class RemoteError(OrchestratorError):
    """The server refused a request; ``code`` is the server's own.

    Attributes:
        retry_after_s: After how many seconds the server wants to be asked again, if it says so.
    """

    def __init__(self, status: int, code: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code  # type: ignore[misc]
        self.retry_after_s = retry_after_s


class FeedUnavailable(RemoteError):
    """The server serves no feed, or not to this caller."""


class Unreachable(OrchestratorError):
    """No server answers at the address.

    Attributes:
        sent: The request may have reached it.
    """

    code = "unreachable"

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent


class OutcomeUnknown(Unreachable):
    """The answer to a submit was lost at a cloud that knows no idempotency keys, so it was not sent again: look at
    the newest jobs before you do. ``__cause__`` says how it was lost.
    """

    code = "outcome_unknown"

    def __init__(self) -> None:
        super().__init__(
            "the answer to the submit was lost, and this cloud would make a second job of another try: "
            "look at its newest jobs first"
        )


class PartlySubmitted(OrchestratorError):
    """Of several jobs one was refused; ``__cause__`` says why.

    Attributes:
        job_ids: For each piece of work its job, None where none is known to have been made.
    """

    code = "partly_submitted"

    def __init__(self, job_ids: list[str | None]) -> None:
        made = sum(job_id is not None for job_id in job_ids)
        super().__init__(f"{made} of {len(job_ids)} jobs were submitted")
        self.job_ids = job_ids


class JobInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A job as the contract shows it; times are ISO 8601, durations milliseconds.

    Attributes:
        child_job_ids: Children of a parent in circuit order; only where one job was asked for.
        results: What results there are, by name; None while there are none.
        cost: What it cost, once it is done; only where that was asked for (`Client.with_costs`).
        estimated_cost: What it was expected to cost, where its backend has prices; likewise.
    """

    id: str
    status: JobStatus
    backend: str
    submitted_at: str
    type: str = CIRCUIT
    name: str | None = None
    shots: int = 100
    noise: Noise | None = None
    metadata: dict[str, str] | None = None
    parent_job_id: str | None = None
    child_job_ids: list[str] | None = None
    started_at: str | None = None
    completed_at: str | None = None
    predicted_wait_time_ms: int | None = None
    execution_duration_ms: int | None = None
    failure: Failure | None = None
    stats: dict[str, Any] = {}
    results: dict[str, Any] | None = None
    cost: Cost | None = None
    estimated_cost: Cost | None = None

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL


class JobCost(msgspec.Struct, frozen=True, kw_only=True):
    """What a job cost and was expected to cost, as far as either is known."""

    cost: Cost | None = None
    estimated_cost: Cost | None = None


class JobList(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs, newest first, and the cursor of the next page."""

    jobs: list[JobInfo]
    next: str | None = None


class BackendInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A backend as the contract shows it.

    Attributes:
        reason: Why it is not available; told to the owner of the data folder alone.
    """

    backend: str
    status: str
    reason: str | None = None
    qubits: int
    average_queue_time: int = 0
    noise_models: list[str] = []
    supported_native_gates: list[str] = []


class FeedEvent(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="event", rename={"before": "from", "after": "to"}
):
    """A committed event; `at` in Unix milliseconds."""

    cursor: str
    kind: str
    at: int
    job_id: str | None = None
    parent_id: str | None = None
    project_id: str | None = None
    backend: str | None = None
    attempt: int = 0
    before: JobStatus | None = None
    after: JobStatus | None = None
    data: dict[str, Any] | None = None

    @property
    def fraction(self) -> float | None:
        """How far a job is, 0 to 1: what its backend tells, or for a parent how many children have ended."""
        data = self.data or {}
        if data.get("total"):
            return float(data["done"] / data["total"])
        return data.get("fraction")


class FeedGap(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="gap"):
    """Events before `cursor` are gone; the snapshot tells where things stand."""

    cursor: str
    snapshot: dict[str, Any]


class FeedLive(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="live"):
    """History is through; said once for each connection."""

    cursor: str


class FeedPlace(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="queue"):
    """Where a waiting job stands in its backend's line; news of the moment, without a cursor.

    Attributes:
        position: Place among the ready jobs, from 1.
        estimated_start: When it probably starts, Unix milliseconds; None where nothing is predicted.
    """

    job_id: str
    backend: str
    position: int
    estimated_start: int | None = None
    parent_id: str | None = None
    project_id: str | None = None


FeedFrame = FeedEvent | FeedGap | FeedLive | FeedPlace


class _Head(msgspec.Struct):
    type: str


_FRAMES: Final = msgspec.json.Decoder(FeedFrame)
_HEAD: Final = msgspec.json.Decoder(_Head)
_TYPES: Final = frozenset(str(frame.__struct_config__.tag) for frame in (FeedEvent, FeedGap, FeedLive, FeedPlace))


def read_frame(text: str | bytes) -> FeedFrame | None:
    """One text frame of the feed; None for a type that is not known here, as newer servers may send.

    Raises:
        msgspec.DecodeError: It is no frame, or a known one in a form that cannot be.
    """
    try:
        frame: FeedFrame = _FRAMES.decode(text)
    except msgspec.ValidationError:
        if _HEAD.decode(text).type in _TYPES:
            raise
        return None
    return frame

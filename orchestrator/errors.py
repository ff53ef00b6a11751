"""Every error this package raises, in one tree.

Each class names a condition and carries its stable ``code``, which HTTP answers,
the CLI and the logs repeat. Messages are written for people and never echo raw
bytes of a request.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class OrchestratorError(Exception):
    """Root of the tree. ``code`` is stable; the message is not."""

    code: ClassVar[str] = "internal"


# -- requests -----------------------------------------------------------------------------


class InvalidRequest(OrchestratorError):
    """The request is wrong and would be wrong again.

    Attributes:
        code: One of the stable codes of the reliability paper.
        fields: Names of the offending members, such as ``("input.circuit[3].gate",)``.
        source: The part of the request they stand in: ``body``, ``query`` or ``params``.
    """

    code = "invalid_request"

    def __init__(
        self, message: str, *, code: str = "invalid_request", fields: tuple[str, ...] = (), source: str = "body"
    ) -> None:
        super().__init__(message)
        self.code = code  # type: ignore[misc]
        self.fields = fields
        self.source = source


class BackendNotFound(InvalidRequest):
    """No enabled adapter serves a backend of that name."""

    def __init__(self, backend: str, known: tuple[str, ...]) -> None:
        listing = ", ".join(known) or "none"
        super().__init__(f"unknown backend; available: {listing}", code="unknown_backend", fields=("backend",))
        self.backend = backend


class BackendRetired(InvalidRequest):
    """The backend is known, and its adapter is disabled: it takes no new jobs."""

    def __init__(self, backend: str, adapter: str) -> None:
        message = f"{backend} takes no jobs: its adapter {adapter} is disabled"
        super().__init__(message, code="backend_retired", fields=("backend",))
        self.backend = backend


class IdempotencyMismatch(InvalidRequest):
    """The idempotency key was used before, with another body."""

    def __init__(self) -> None:
        super().__init__(
            "this Idempotency-Key was already used with another body",
            code="idempotency_mismatch",
            fields=("Idempotency-Key",),
            source="headers",
        )


class SessionRefused(InvalidRequest):
    """The session does not take the job. Unknown and foreign sessions look the same."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message, code=code, fields=("session_id",))


class InvalidCursor(InvalidRequest):
    """The cursor was not issued by this log."""

    def __init__(self) -> None:
        super().__init__(
            "the cursor was not issued by this log", code="invalid_cursor", fields=("cursor",), source="query"
        )


class CursorExpired(OrchestratorError):
    """Retention has removed events after this cursor; read a snapshot and go on from `resume`."""

    code = "cursor_expired"

    def __init__(self, resume: str) -> None:
        super().__init__("events after this cursor have been removed by retention")
        self.resume = resume


class JobNotFound(OrchestratorError):
    """No such job in this project: unknown, deleted and foreign ids look the same."""

    code = "not_found"

    def __init__(self, job_id: str) -> None:
        super().__init__("job not found")
        self.job_id = job_id


class SessionNotFound(OrchestratorError):
    """No such session in this project: unknown and foreign ids look the same."""

    code = "not_found"

    def __init__(self, session_id: str) -> None:
        super().__init__("session not found")
        self.session_id = session_id


class ProjectNotFound(OrchestratorError):
    """No project of that name or id."""

    code = "not_found"

    def __init__(self, project: str) -> None:
        super().__init__(f"project not found: {project}")


class KeyNotFound(OrchestratorError):
    """No API key of that id in the project."""

    code = "not_found"

    def __init__(self, key_id: str) -> None:
        super().__init__(f"key not found: {key_id}")


class HookNotFound(OrchestratorError):
    """No hook of that id in the project."""

    code = "not_found"

    def __init__(self, hook_id: str) -> None:
        super().__init__("hook not found")
        self.hook_id = hook_id


class DeliveryNotFound(OrchestratorError):
    """The hook has no delivery of that id; retention may have removed it."""

    code = "not_found"

    def __init__(self, delivery_id: str) -> None:
        super().__init__("delivery not found")
        self.delivery_id = delivery_id


class IllegalTransition(OrchestratorError):
    """The state machine has no such move; nothing changed."""

    code = "illegal_transition"

    def __init__(self, status: str, cause: str) -> None:
        super().__init__(f"a job that is {status} cannot be {cause}")
        self.status = status
        self.cause = cause


class JobFailed(OrchestratorError):
    """The awaited job ended as failed. ``failure_code`` and the message are the job's own."""

    code = "job_failed"

    def __init__(self, job_id: str, failure_code: str, message: str) -> None:
        super().__init__(f"{failure_code}: {message}")
        self.job_id = job_id
        self.failure_code = failure_code


class JobCanceled(OrchestratorError):
    """The awaited job ended as canceled."""

    code = "job_canceled"

    def __init__(self, job_id: str) -> None:
        super().__init__("the job was canceled")
        self.job_id = job_id


class ResultNotReady(OrchestratorError):
    """The job has not completed, so it has no result."""

    code = "not_found"

    def __init__(self, job_id: str) -> None:
        super().__init__("the job has no result")
        self.job_id = job_id


# -- backends -----------------------------------------------------------------------------


class ExecutionError(OrchestratorError):
    """Raised by adapters: the attempt failed. Its subclasses say whose fault it was, which decides the rest.

    Args:
        failure_code: A failure code of the vendor contract, such as ``SimulationError``; empty for the usual one of
            the backend's kind.
        message: For the person who submitted the job.
        retryable: Whether another attempt may succeed; counts towards the limit of attempts.

    Attributes:
        fault: Whose fault it was, in one word that also a worker process can say; empty where nobody said.
    """

    code = "execution_error"
    fault: ClassVar[str] = ""

    def __init__(self, failure_code: str, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.failure_code = failure_code
        self.message = message
        self.retryable = retryable


class UserFault(ExecutionError):
    """The job cannot be run as it is: it fails at once, and would fail again."""

    fault = "user"

    def __init__(self, message: str, failure_code: str = "InvalidInput") -> None:
        super().__init__(failure_code, message)


class BackendFault(ExecutionError):
    """The backend did its part and failed: the job fails, with ``SimulationError`` or ``QuantumComputerError``."""

    fault = "backend"

    def __init__(self, message: str, failure_code: str = "") -> None:
        super().__init__(failure_code, message)


class InfrastructureFault(ExecutionError):
    """Something between the orchestrator and the backend failed: the job is tried again, up to the limit."""

    fault = "infrastructure"

    def __init__(self, message: str, failure_code: str = "InternalError") -> None:
        super().__init__(failure_code, message, retryable=True)


class WorkerLost(InfrastructureFault):
    """The worker process died or stopped answering with this job on it."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the worker was lost: {reason}")


class CanceledByBackend(ExecutionError):
    """The backend stopped the execution for good, by its operator's will: the job ends canceled, not failed."""

    fault = "canceled"

    def __init__(self, message: str = "the backend canceled the job") -> None:
        super().__init__("SystemCancel", message)


class AdapterUnavailable(OrchestratorError):
    """A configured adapter is missing or broken; names it and the reason."""

    code = "adapter_unavailable"

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"adapter {name!r} is unavailable: {reason}")
        self.name = name
        self.reason = reason


class AdapterNotFound(OrchestratorError):
    """No enabled adapter has that name, or several have."""

    code = "not_found"

    def __init__(self, name: str, enabled: Sequence[str]) -> None:
        number = enabled.count(name)
        problem = f"{number} adapters are called {name}" if number else f"no enabled adapter is called {name}"
        super().__init__(f"{problem}; enabled: {', '.join(enabled) or 'none'}")
        self.name = name


class ChannelUnavailable(InvalidRequest):
    """A notification channel is not enabled, missing or broken; names it and the reason."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"channel {name!r} is unavailable: {reason}", code="channel_unavailable", fields=("channel",))
        self.name = name
        self.reason = reason


# -- storage and service ------------------------------------------------------------------


class StorageError(OrchestratorError):
    """The store cannot do what was asked."""

    code = "unavailable"


class StoreLocked(StorageError):
    """Another process owns this data folder."""

    def __init__(self, path: str, owner: str) -> None:
        super().__init__(f"{path} is in use by process {owner or 'unknown'}")


class StorageRefused(StorageError):
    """The file is foreign, corrupt or written by a newer release; it was not modified."""


class StorageFull(StorageError):
    """The disk is full; nothing of this request was stored."""

    code = "storage_full"

    def __init__(self) -> None:
        super().__init__("the storage is full")


class Unavailable(OrchestratorError):
    """The service is starting, draining or stopped."""

    code = "unavailable"


class SettingsError(OrchestratorError):
    """A setting is unknown or of the wrong kind; names the file and the key."""

    code = "settings"


class UnsupportedEventLoop(OrchestratorError):
    """Embedding needs the asyncio backend of anyio."""

    code = "unsupported_event_loop"

    def __init__(self, backend: str) -> None:
        super().__init__(f"the orchestrator runs on asyncio; this is {backend}")

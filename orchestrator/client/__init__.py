"""An asynchronous client: the vendor contract (v0.4) for jobs, the feed for events.

::

    async with Client("http://127.0.0.1:8642", key) as client:
        job_id = await client.submit(circuit, backend="qpu.aria-1", shots=500)
        result = await client.result(job_id)

`SyncClient` is the same without ``await``, for scripts and notebooks. Both speak to an orchestrator, and, the feed
aside, to any service that keeps the contract.
"""

from orchestrator.client.http import Client
from orchestrator.client.shapes import (
    BackendInfo,
    FeedEvent,
    FeedFrame,
    FeedGap,
    FeedLive,
    FeedPlace,
    FeedUnavailable,
    JobCost,
    JobInfo,
    JobList,
    OutcomeUnknown,
    PartlySubmitted,
    RemoteError,
    Unreachable,
)
from orchestrator.client.sync import SyncClient
from orchestrator.client.work import Work, job_body

__all__ = [
    "BackendInfo",
    "Client",
    "FeedEvent",
    "FeedFrame",
    "FeedGap",
    "FeedLive",
    "FeedPlace",
    "FeedUnavailable",
    "JobCost",
    "JobInfo",
    "JobList",
    "OutcomeUnknown",
    "PartlySubmitted",
    "RemoteError",
    "SyncClient",
    "Unreachable",
    "Work",
    "job_body",
]

"""An asynchronous client: the vendor contract (v0.4) for jobs, the feed for events.

::

    async with Client("http://127.0.0.1:8642", key) as client:
        job_id = await client.submit(circuit, backend="qpu.aria-1", shots=500)
        result = await client.result(job_id)

Speaks to an orchestrator, and, the feed aside, to any service that keeps the contract.
"""

from orchestrator.client.http import Client, Work, job_body
from orchestrator.client.shapes import (
    BackendInfo,
    FeedEvent,
    FeedFrame,
    FeedGap,
    FeedLive,
    FeedUnavailable,
    JobInfo,
    JobList,
    RemoteError,
    Unreachable,
)

__all__ = [
    "BackendInfo",
    "Client",
    "FeedEvent",
    "FeedFrame",
    "FeedGap",
    "FeedLive",
    "FeedUnavailable",
    "JobInfo",
    "JobList",
    "RemoteError",
    "Unreachable",
    "Work",
    "job_body",
]

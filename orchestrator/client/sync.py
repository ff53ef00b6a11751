"""The client without ``await``, for scripts and notebooks: an event loop in a thread of its own does the work.

Notebooks run a loop in the thread of their cells, where `asyncio.run` is refused. Nothing here touches the caller's
loop. The thread is a daemon: a client that nobody closed does not hold the interpreter back, and one that is collected
ends its thread.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from orchestrator.client.http import Client
from orchestrator.client.shapes import BackendInfo, FeedFrame, JobCost, JobInfo, JobList
from orchestrator.client.work import Work
from orchestrator.model import Result

T = TypeVar("T")
_CLOSED: Final = "the client is closed"


class SyncClient:
    """`orchestrator.client.Client` for callers that wait: same methods, same errors.

    Once it is closed, calls raise `RuntimeError`, those under way included.

    Close it, or use it as a context manager. Threads may share one. An interrupted call (Ctrl-C) stops waiting; it
    never cancels a job.

    Args:
        url: Address of the server, with or without ``/v0.4``.
        key: An API key.
        options: Further arguments of `Client`.
    """

    def __init__(self, url: str, key: str | None = None, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=_serve, args=(self._loop,), name="orchestrator-client", daemon=True)
        self._entry = threading.RLock()  # a call begins before the farewell, then it is ended by it, or not at all
        self._client = Client(url, key, **options)
        self._thread.start()
        # Must not block: garbage is collected in any thread, the loop's own included.
        self._farewell = weakref.finalize(self, _dismiss, self._loop, self._client)
        self._farewell.atexit = False  # a daemon dies with the interpreter anyway
        self._call(self._client.__aenter__())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close connections and end the thread; cancels the calls of other threads. Closing twice is fine."""
        with self._entry:
            self._farewell()
        self._thread.join()

    def submit(self, work: Work, *, idempotency_key: str | None = None, **options: Any) -> str:
        """See `Client.submit`."""
        return self._call(self._client.submit(work, idempotency_key=idempotency_key, **options))

    def submit_many(self, works: Sequence[Work], *, idempotency_key: str | None = None, **options: Any) -> list[str]:
        """See `Client.submit_many`."""
        return self._call(self._client.submit_many(works, idempotency_key=idempotency_key, **options))

    def get(self, job_id: str) -> JobInfo:
        """See `Client.get`."""
        return self._call(self._client.get(job_id))

    def jobs(
        self, *, status: str | None = None, backend: str | None = None, limit: int = 25, after: str | None = None
    ) -> JobList:
        """See `Client.jobs`."""
        return self._call(self._client.jobs(status=status, backend=backend, limit=limit, after=after))

    def cost(self, job_id: str) -> JobCost:
        """See `Client.cost`."""
        return self._call(self._client.cost(job_id))

    def with_costs(self, jobs: Sequence[JobInfo]) -> list[JobInfo]:
        """See `Client.with_costs`."""
        return self._call(self._client.with_costs(jobs))

    def cancel(self, job_ids: Sequence[str]) -> None:
        """See `Client.cancel`."""
        self._call(self._client.cancel(job_ids))

    def backends(self) -> list[BackendInfo]:
        """See `Client.backends`."""
        return self._call(self._client.backends())

    def wait(self, job_id: str, *, timeout_s: float | None = None) -> JobInfo:
        """See `Client.wait`."""
        return self._call(self._client.wait(job_id, timeout_s=timeout_s))

    def result(self, job_id: str, *, timeout_s: float | None = None) -> Result:
        """See `Client.result`."""
        return self._call(self._client.result(job_id, timeout_s=timeout_s))

    def results(self, job_id: str, *, timeout_s: float | None = None) -> list[Result]:
        """See `Client.results`."""
        return self._call(self._client.results(job_id, timeout_s=timeout_s))

    def events(
        self,
        cursor: str = "latest",
        *,
        jobs: Collection[str] = (),
        sessions: Collection[str] = (),
        kinds: Collection[str] = (),
        backends: Collection[str] = (),
        places: bool = False,
    ) -> Iterator[FeedFrame]:
        """See `Client.events`; leaving the loop that reads it closes the feed."""
        frames = self._client.events(
            cursor, jobs=jobs, sessions=sessions, kinds=kinds, backends=backends, places=places
        )

        async def following() -> FeedFrame:
            return await anext(frames)

        async def leaving() -> None:
            await frames.aclose()

        while True:
            frame = self._call(following())
            try:
                yield frame
            except GeneratorExit:
                # Not waited for: this too may be the garbage collector's call, in any thread.
                with self._entry:
                    if self._farewell.alive:
                        asyncio.run_coroutine_threadsafe(leaving(), self._loop)
                raise

    def beside(self, work: Callable[[Client], Coroutine[Any, Any, T]]) -> Future[T]:
        """Start something that goes on beside calls, on the client's loop; canceled when the client is closed."""
        with self._entry:
            if not self._farewell.alive:
                raise RuntimeError(_CLOSED)
            return asyncio.run_coroutine_threadsafe(work(self._client), self._loop)

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        with self._entry:
            if not self._farewell.alive:
                work.close()
                raise RuntimeError(_CLOSED)
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except CancelledError:
            raise RuntimeError(_CLOSED) from None
        except BaseException:
            future.cancel()  # the caller was interrupted: nobody waits for this any more
            raise


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    """The thread: run the loop until it is dismissed."""
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def _dismiss(loop: asyncio.AbstractEventLoop, client: Client) -> None:
    """Have the loop close its client and stop; does not wait for it."""
    asyncio.run_coroutine_threadsafe(_end(loop, client), loop)


async def _end(loop: asyncio.AbstractEventLoop, client: Client) -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await client.__aexit__(None, None, None)
    loop.stop()

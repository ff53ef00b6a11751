"""The link to one remote: how fast it may be asked, whether it is there, what its answers mean.

A circuit breaker: failures in a row make the link *down*, with a reason for people. Requests then wait. Whoever
watches a backend calls `recover`, which probes with backoff and jitter until an answer comes; then all go on. A key
that the remote refuses takes the link down at once: that is no fault of any job.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import anyio
import structlog

from orchestrator.backends.abc import Clock
from orchestrator.errors import SettingsError
from orchestrator_remote_cloud.answers import date, read, refusal, retry_after_s
from orchestrator_remote_cloud.settings import RemoteSettings
from orchestrator_remote_cloud.transport import Answer, Denied, Foreign, Lost, NotSent, Refused, Transport

T = TypeVar("T")
log = structlog.get_logger()

V04: Final = "/v0.4"
#: Longest pause a remote can ask for.
MOST_PAUSE_S: Final = 3600.0
_BACKOFF_S: Final = 0.2
_BACKOFF_CAP_S: Final = 15.0
_PROBE_S: Final = 1.0
#: A wait too short to wait for: sums of times are not exact.
_AT_ONCE_S: Final = 0.001
#: What one job alone asks for is asked so often, where the remote answers everything else: about half a minute.
TRIES: Final = 10
_MESSAGE: Final = 500
#: The question that is asked to see whether the remote answers.
_LITTLE: Final = (("limit", "1"),)


class Link:
    """See the module.

    Attributes:
        name: The remote's, as the settings call it.
        down: Why it is not asked at present; None when it is.
        orchestrator: It is another orchestrator, with routes of its own.
        requests: How many were sent.
        ahead_ms: By how much the remote's clock is ahead of ours, as far as it has said what time it has.
    """

    def __init__(
        self, name: str, settings: RemoteSettings, transport: Transport, clock: Clock, rng: random.Random
    ) -> None:
        self.name = name
        self.settings = settings
        self.transport = transport
        self.clock = clock
        self.down: str | None = None
        self.orchestrator = settings.kind == "orchestrator"
        self.requests = 0
        self.ahead_ms = 0
        self.key = settings.key()
        self._rng = rng
        self._bad_key = False
        self._failures = 0
        self._paused_until = 0.0
        self._next_slot = 0.0
        self._up = anyio.Event()
        self._up.set()
        self._changed = anyio.Event()
        self._probing = anyio.Lock()

    # -- asking -------------------------------------------------------------------------

    async def ask(self, shape: type[T], method: str, path: str, **request: Any) -> T:
        """One request, once the link is up and the rate allows it; its answer decoded.

        Raises:
            NotSent, Lost: See there. Refused: By the remote, for good.
        """
        await self.admitted()
        return await self.ask_now(shape, method, path, **request)

    async def admitted(self) -> None:
        """Wait until the link is up and the rate allows one more request, which is then to be made."""
        while True:
            if not self._up.is_set():
                await self._up.wait()
            if await self._slept(self._paused_until):
                continue
            if not await self._slept(self._reserve()) or self._open:
                return  # else its slot went by while nothing could be asked: there will be another

    @property
    def _open(self) -> bool:
        """Whether the link is up, and the remote has not asked for a pause."""
        return self._up.is_set() and self._paused_until - self.clock.monotonic() <= _AT_ONCE_S

    async def _slept(self, until: float) -> bool:
        """Wait until that time; whether there was anything to wait for."""
        wait_s = until - self.clock.monotonic()
        if wait_s <= _AT_ONCE_S:
            return False
        await self.clock.sleep(wait_s)
        return True

    async def persist(self, shape: type[T], method: str, path: str, **request: Any) -> T:
        """As `ask`, again and again until there is an answer; for requests that may be repeated.

        Raises:
            Refused: By the remote, for good.
        """
        failures = 0
        while True:
            try:
                return await self.ask(shape, method, path, **request)
            except (NotSent, Lost):
                failures += 1
                await self.pause(failures)

    async def persist_for_job(
        self, shape: type[T], path: str, *, tries: int = TRIES, params: Sequence[tuple[str, str]] = ()
    ) -> T:
        """As `persist`, for a ``GET`` of what one job came to: a job whose answer is bad does not make the remote bad.

        After each answer that is lost the remote is asked for something else. Only if that is answered, the loss
        counts: against the job.

        Raises:
            Refused: By the remote, for good; Lost: `tries` times, while it answered others.
        """
        tried = 0
        while True:
            try:
                return await self.ask(shape, "GET", path, of_job=True, params=params)
            except NotSent:
                await self.pause(tried + 1)
            except Lost:
                if await self._answers():
                    tried += 1
                    if tried >= tries:
                        raise
                await self.pause(tried + 1)

    async def _answers(self) -> bool:
        """Whether the remote answers at all; counts as any request does."""
        try:
            await self.ask(dict[str, Any], "GET", f"{V04}/jobs", params=_LITTLE)
        except (NotSent, Lost):
            return False
        except Refused:
            return True
        return True

    async def pause(self, failures: int) -> None:
        """Full jitter: anything up to a limit that doubles with each failure."""
        await self.clock.sleep(self._rng.uniform(0, min(_BACKOFF_CAP_S, _BACKOFF_S * 2 ** min(failures, 16))))

    def _reserve(self) -> float:
        """The time of the next slot the rate limit leaves free (monotonic seconds)."""
        rate, now = self.settings.rate_per_s, self.clock.monotonic()
        if not rate:
            return now
        self._next_slot = max(self._next_slot, now - (self.settings.burst - 1) / rate)
        slot = self._next_slot
        self._next_slot += 1 / rate
        return slot

    def _space(self, begin: float) -> None:
        """Nothing is asked before that time, and from then on one request after the other: no burst of what waited."""
        self._next_slot = max(self._next_slot, begin)

    async def ask_now(
        self, shape: type[T], method: str, path: str, *, probe: bool = False, of_job: bool = False, **request: Any
    ) -> T:
        """As `ask`, for whoever is `admitted`.

        Args:
            probe: Brings the link up by an answer that is good, no other.
            of_job: What is lost may be the job's fault: nothing is concluded from it. See `persist_for_job`.
            request: Further arguments of `Transport.send`.
        """
        self.requests += 1
        try:
            answer = await self.transport.send(method, path, key=self.key, **request)
        except Lost as error:
            if not of_job:
                self._failed(str(error))
            raise
        except NotSent as error:
            self._failed(str(error))
            raise
        if (at := date(answer.headers.get("Date"))) is not None:
            self.ahead_ms = round(at.timestamp() * 1000) - self.clock.now_ms()
        if answer.status == 403 and method == "POST":
            raise Denied(refusal(answer, self.key)[1])
        open_route = path.startswith(f"{V04}/backends")
        return await self._read(shape, answer, open_route=open_route, probe=probe, of_job=of_job)

    async def _read(self, shape: type[T], answer: Answer, *, open_route: bool, probe: bool, of_job: bool) -> T:
        status = answer.status
        if status in {429, 503}:
            self._heed(answer.headers)
        if status == 429:
            raise NotSent("the remote is asked too often")
        if status == 401 and not open_route:
            code, message = refusal(answer, self.key)
            self._bad_key = True
            self.take_down(f"the remote refuses the key ({status}): {message}")
            raise NotSent(f"{code}: {message}")
        if status >= 500 or status < 200 or 300 <= status < 400:
            if not of_job:
                self._failed(f"the remote answers {status}")
            raise Lost(f"HTTP {status}")
        if status >= 400:
            if not probe:
                self._worked(open_route=open_route)
            raise Refused(status, *refusal(answer, self.key))
        try:
            decoded = await read(shape, answer.body)
        except Foreign:
            if not of_job:
                self._failed("its answers are not those of this API")
            raise
        self._worked(open_route=open_route)
        return decoded

    def _heed(self, headers: Mapping[str, str]) -> None:
        """Ask nothing before the time that ``Retry-After`` names; a second where it names none."""
        seconds = retry_after_s(headers.get("Retry-After"), self.clock.now_ms())
        until = self.clock.monotonic() + (1.0 if seconds is None else min(seconds, MOST_PAUSE_S))
        self._paused_until = max(self._paused_until, until)
        self._space(self._paused_until)

    # -- up and down ----------------------------------------------------------------------

    def take_down(self, reason: str) -> None:
        """Ask nothing any more until `recover` has found the remote well."""
        if self.down != reason:
            log.warning("remote unavailable", remote=self.name, reason=reason)
            self.down = reason
            self._tell()
        if self._up.is_set():
            self._up = anyio.Event()

    def _failed(self, reason: str) -> None:
        self._failures += 1
        if self._failures >= self.settings.breaker_failures and self.down is None:
            self.take_down(reason)

    def _worked(self, *, open_route: bool) -> None:
        if self._bad_key and open_route:
            return  # such routes answer strangers too
        self._failures, self._bad_key = 0, False
        if self.down is not None:
            log.info("remote available again", remote=self.name)
            self.down = None
            self._space(self.clock.monotonic())
            self._reserve()  # by the request that was just answered
            self._up.set()
            self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def until_up(self) -> None:
        """Wait while the link is down."""
        await self._up.wait()

    @property
    def changed(self) -> anyio.Event:
        """Set when the link next goes down or comes up."""
        return self._changed

    async def recover(self) -> None:
        """Probe until the remote answers; one probe at a time, whoever waits."""
        async with self._probing:
            failures = 0
            while self.down is not None:
                span_s = min(self.settings.probe_most_s, _PROBE_S * 2 ** min(failures, 16))
                wait_s = max(self._rng.uniform(span_s / 2, span_s), self._paused_until - self.clock.monotonic())
                await self.clock.sleep(wait_s)
                failures += 1
                if self.down is not None:
                    await self._probe()

    async def _probe(self) -> None:
        try:
            self.key = self.settings.key()
            await self.ask_now(dict[str, Any], "GET", f"{V04}/jobs", params=_LITTLE, probe=True)
        except SettingsError as error:
            self.take_down(str(error))
        except (NotSent, Lost, Refused) as error:
            log.info("remote still unavailable", remote=self.name, reason=str(error)[:_MESSAGE])


async def first(clock: Clock, seconds: float, *events: anyio.Event) -> None:
    """Wait so long, or until the first of the events."""

    async def wait(source: Callable[[], Awaitable[object]]) -> None:
        await source()
        waiting.cancel_scope.cancel()

    async with anyio.create_task_group() as waiting:
        for event in events:
            waiting.start_soon(wait, event.wait)
        waiting.start_soon(wait, lambda: clock.sleep(seconds))

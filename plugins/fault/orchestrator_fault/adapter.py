"""The adapter that wraps another one and injects faults; what can happen is in `plan`, how in `injection`."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any

import anyio
import msgspec
import structlog

from orchestrator.backends.abc import Adapter, AdapterContext, Attempt, Capabilities, Emit, Estimated, Prepared, Ready
from orchestrator.backends.discovery import loaded
from orchestrator.backends.running import bind
from orchestrator.backends.threads import called
from orchestrator.errors import AdapterUnavailable, SettingsError
from orchestrator.model import BackendState, Characterization, Failure, Job, JobSpec
from orchestrator_fault.injection import Injection, renamed
from orchestrator_fault.plan import Fault, read

log = structlog.get_logger()
replace = msgspec.structs.replace


class FaultAdapter(Adapter):
    """Serves the backends of another adapter under names of their own, with faults; nothing if none is named.

    Args:
        wrapped: The adapter, not yet opened; None for the one that the settings name.
        settings: Members of `plan.Settings`, before those of the configuration.

    Attributes:
        injected: How often each fault was injected.
    """

    name = "fault"

    def __init__(self, wrapped: Adapter | None = None, **settings: Any) -> None:
        super().__init__()
        self.injected: Counter[Fault] = Counter()
        self._wrapped = wrapped
        self._given = settings
        self._injections: dict[str, Injection] = {}

    async def open(self, context: AdapterContext) -> None:
        """Make the wrapped adapter and open it.

        Raises:
            SettingsError: A setting is wrong, or no adapter of that name can be made.
        """
        self._settings = settings = read({**context.settings, **self._given})
        if self._wrapped is None:
            if not settings.adapter:
                return
            self._wrapped = _made(settings.adapter)
        prefix = settings.prefix
        known = {
            name.removeprefix(prefix): replace(item, backend=name.removeprefix(prefix))
            for name, item in context.characterizations.items()
            if name.startswith(prefix)
        }
        data = None if context.data is None else context.data / self._wrapped.name
        inside = dataclasses.replace(context, settings=settings.settings, data=data, characterizations=known)
        bind(self._wrapped, inside, move=True)
        self._context = context
        await self._wrapped.open(inside)
        self.capabilities()  # what stands before each backend is there from now on

    async def aclose(self) -> None:
        if self._wrapped is not None:
            await self._wrapped.aclose()
        if self.injected:
            log.info("faults were injected", **{fault.value: number for fault, number in self.injected.items()})

    def _count(self, fault: Fault) -> None:
        self.injected[fault] += 1

    @property
    def wrapped(self) -> Adapter:
        """The adapter inside; only asked for where a backend is served."""
        if self._wrapped is None:
            raise SettingsError("fault: no adapter is wrapped")
        return self._wrapped

    # -- what backends are ------------------------------------------------------------------

    def capabilities(self) -> Sequence[Capabilities]:
        if self._wrapped is None:
            return ()
        served = []
        for can in self._wrapped.capabilities():
            name = self._settings.prefix + can.backend
            served.append(replace(can, backend=name))
            if name not in self._injections:
                self._injections[name] = Injection(name, can.backend, self._settings, self._context, self._count)
        return served

    def initial_characterizations(self) -> Sequence[Characterization]:
        if self._wrapped is None:
            return ()
        prefix = self._settings.prefix
        return [replace(item, backend=prefix + item.backend) for item in self._wrapped.initial_characterizations()]

    def state(self, backend: str) -> BackendState:
        """As the wrapped adapter sees it; without its calibration while it is away for one."""
        injection = self._injections[backend]
        state = replace(self.wrapped.state(injection.inner), backend=backend)
        if injection.out:
            return replace(state, status="unavailable", reason="calibrating", characterization_id=None)
        return state

    def predict_ms(self, spec: JobSpec) -> int | None:
        return self.wrapped.predict_ms(replace(spec, backend=self._injections[spec.backend].inner))

    def announced(self, job: Job) -> None:
        self.wrapped.announced(renamed(job, self._injections[job.backend].inner))

    async def estimate(self, spec: JobSpec) -> Estimated | None:
        return await self.wrapped.estimate(replace(spec, backend=self._injections[spec.backend].inner))

    def wall_ms(self, execution_ms: int) -> int:
        return self.wrapped.wall_ms(execution_ms)

    # -- work -------------------------------------------------------------------------------

    async def prepare(self, attempts: Sequence[Attempt]) -> Sequence[Prepared | Failure]:
        inside = [
            replace(attempt, job=renamed(attempt.job, self._injections[attempt.job.backend].inner))
            for attempt in attempts
        ]
        return await called(self.wrapped.prepare, inside)

    async def serve(self, backend: Capabilities, ready: Ready, emit: Emit) -> None:
        """Have the wrapped adapter serve, behind the faults."""
        injection = self._injections[backend.backend]
        crash: Exception | None = None
        async with anyio.create_task_group() as tasks:
            await injection.begin(ready, emit, tasks)
            try:
                await self.wrapped.serve(replace(backend, backend=injection.inner), injection, injection)
            except Exception as error:
                crash = error
            finally:
                injection.end()
            tasks.cancel_scope.cancel()
        if crash is not None:
            raise crash

    async def cancel(self, attempt: Attempt) -> None:
        injection = self._injections[attempt.job.backend]
        held = injection.held(attempt)
        if (inner := injection.forget(attempt)) is not None and not held:
            await self.wrapped.cancel(inner)

    async def heartbeat(self, attempts: Sequence[Attempt]) -> Sequence[Attempt]:
        """Those that the wrapped adapter vouches for, and those it has not yet or no more."""
        inside, alive = [], []
        for attempt in attempts:
            injection = self._injections[attempt.job.backend]
            if injection.held(attempt):
                alive.append(attempt)
            elif (inner := injection.known(attempt)) is not None:
                inside.append(inner)
        if inside:
            ids = {each.id for each in await self.wrapped.heartbeat(inside)}
            alive += [inner.outer for inner in inside if inner.id in ids]
        return alive

    async def recover(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        inside = [self._injections[attempt.job.backend].enter(attempt) for attempt in attempts]
        running = {each.id for each in await self.wrapped.recover(inside)}
        for inner in inside:
            if inner.id not in running:
                self._injections[inner.outer.job.backend].forget(inner)
        return [inner.outer for inner in inside if inner.id in running]


def _made(name: str) -> Adapter:
    if name == FaultAdapter.name:
        raise SettingsError("fault: adapter is the plugin itself")
    try:
        return loaded(name).make()
    except AdapterUnavailable as problem:
        raise SettingsError(f"fault: {problem}") from problem

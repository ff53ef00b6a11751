"""Opening an orchestrator: its parts in the order they need each other, closed in reverse.

`opened` makes and connects the parts, `running` runs their loops in one task group; `service.Orchestrator` is what
people see of both.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import structlog

from orchestrator.accounts import Accounts
from orchestrator.backends.abc import Adapter, AdapterContext
from orchestrator.backends.discovery import discover, installed
from orchestrator.backends.placements import Placements
from orchestrator.backends.registry import Backends, settings_of
from orchestrator.backends.running import bind
from orchestrator.backends.standing import Standings
from orchestrator.bus import Bus
from orchestrator.clock import Clock, NewId
from orchestrator.datafolder import DATABASE, owned
from orchestrator.dispatch.dispatcher import Dispatcher
from orchestrator.dispatch.stats import QueueStats
from orchestrator.dispatch.watchdog import Blocker, watching
from orchestrator.errors import AdapterUnavailable
from orchestrator.fleet import Fleet
from orchestrator.housekeeping import keep_house, keep_outbox
from orchestrator.model import Job, Project, Result
from orchestrator.notify.abc import Channel
from orchestrator.notify.listeners import Listeners
from orchestrator.notify.notifier import Notifier
from orchestrator.notify.service import Hooks
from orchestrator.sessions import Sessions
from orchestrator.settings import Settings
from orchestrator.storage.abc import Store
from orchestrator.submission import Drafter
from orchestrator.subscription import EventLog
from orchestrator.tasks import background
from orchestrator.waiting import RecentJobs
from orchestrator.workers.pool import WorkerPool

log = structlog.get_logger()

#: At a stop, time for running attempts, beyond the drain limit of the settings, and to put the rest back.
CLOSE_LIMIT_S: Final = 10.0
#: At a stop, time for deliveries under way, and as much again for in-process hooks.
NOTIFY_LIMIT_S: Final = 2.0


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What an orchestrator is opened with; see `Orchestrator.open`.

    Attributes:
        reread: Reads the settings anew, for adapters that are made anew; None where nothing can be read.
        on_stuck: Called from a thread when the event loop is taken for stuck.
        result_of: Reads a job's result, for notifications.
    """

    settings: Settings
    store: Store
    data: Path | None
    adapters: Sequence[Adapter] | None
    channels: Sequence[Channel]
    listeners: Listeners
    clock: Clock
    rng: random.Random
    new_id: NewId
    reread: Callable[[], Settings] | None
    on_stuck: Callable[[Blocker], object] | None
    result_of: Callable[[Job], Awaitable[Result]]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The opened parts."""

    bus: Bus
    recent: RecentJobs
    accounts: Accounts
    project: Project
    workers: WorkerPool
    stats: QueueStats
    backends: Backends
    drafter: Drafter
    event_log: EventLog
    dispatcher: Dispatcher
    fleet: Fleet
    notifier: Notifier
    hooks: Hooks
    sessions: Sessions


async def opened(stack: AsyncExitStack, wanted: Wanted) -> Parts:
    """Make and connect all parts; `stack` closes them. Jobs that an earlier instance had started are ready again, and
    sessions whose time went by meanwhile are over."""
    store, settings, clock = wanted.store, wanted.settings, wanted.clock
    bus = Bus()
    recent = RecentJobs()
    bus.subscribe(recent.notice)
    if wanted.data is not None:
        stack.enter_context(owned(wanted.data))
    notifier = Notifier(store, settings, clock, wanted.rng, given=wanted.channels)
    await store.open(bus.publish, notifier.route)
    stack.push_async_callback(store.aclose)
    accounts = Accounts(store, clock, wanted.new_id)
    project = await accounts.open()
    count = settings.workers.count or os.cpu_count() or 1
    workers = await stack.enter_async_context(WorkerPool(count, clock))
    stats = QueueStats()
    await stats.load(store)
    bus.subscribe(stats.notice)
    standings = Standings(store, clock)
    await standings.open()
    dispatcher = Dispatcher(
        store, settings.dispatch, clock, wanted.rng, stats=stats, apply=store.apply, standings=standings
    )
    backends = Backends(store, clock, standings, queued=stats.of, running=dispatcher.busy)
    placements = Placements(wanted.data, clock.now_ms)
    stack.enter_context(watching(backends, settings.dispatch, placements, wanted.on_stuck))
    stack.push_async_callback(backends.aclose)
    told: asyncio.Queue[Adapter] = asyncio.Queue()
    contexts = partial(_contexts, workers, placements, told, wanted)
    await _open_backends(backends, placements, await contexts(settings), wanted)
    looks_only = wanted.adapters is not None and not wanted.adapters
    if not looks_only:
        standings.retire(standings.before().difference(backends.names()), "no adapter serves it")
    dispatcher.add(backends.served())
    fleet = Fleet(
        backends,
        dispatcher,
        standings,
        settings,
        placements=placements,
        contexts=contexts,
        reread=wanted.reread,
        told=told,
    )
    event_log = EventLog(store, bus)
    stack.callback(event_log.close)
    stack.callback(recent.close)
    store.claim = dispatcher.claim
    hooks = await notifier.open(
        wanted.new_id,
        project=project.id,
        project_of=accounts.project,
        result_of=wanted.result_of,
        resolve=str if looks_only else backends.resolve,  # who has loaded no adapters cannot judge names
    )
    stack.push_async_callback(notifier.aclose)
    await dispatcher.recover(lost=placements.lost())
    placements.settle()
    sessions = Sessions(store, clock, wanted.new_id, project=project.id, resolve=backends.resolve)
    await sessions.settle()
    for listener in dispatcher.notice, notifier.notice, wanted.listeners.notice:
        bus.subscribe(listener)
    return Parts(
        bus=bus,
        recent=recent,
        accounts=accounts,
        project=project,
        workers=workers,
        stats=stats,
        backends=backends,
        drafter=Drafter(backends, clock, wanted.new_id, wanted.rng),
        event_log=event_log,
        dispatcher=dispatcher,
        fleet=fleet,
        notifier=notifier,
        hooks=hooks,
        sessions=sessions,
    )


async def _open_backends(
    backends: Backends, placements: Placements, context: Callable[[Adapter], AdapterContext], wanted: Wanted
) -> None:
    left_out = {name: placement for name, placement in placements.all().items() if not placement.worker}
    adapters = wanted.adapters
    if adapters is None:
        names = wanted.settings.backends or sorted(installed())
        known = [name for name in names if name not in left_out]
        adapters, problems = await discover(known, wanted.settings.dispatch.import_limit_s)
        backends.problems += problems
    else:
        names = [adapter.name for adapter in adapters]
    await backends.open([adapter for adapter in adapters if adapter.name not in left_out], context)
    for name in sorted(left_out.keys() & {*names, *(adapter.name for adapter in adapters)}):
        log.warning("adapter left out", adapter=name, reason=left_out[name].reason)
        backends.problems.append(AdapterUnavailable(name, left_out[name].told(name)))


async def _contexts(
    workers: WorkerPool, placements: Placements, told: asyncio.Queue[Adapter], wanted: Wanted, settings: Settings
) -> Callable[[Adapter], AdapterContext]:
    """What adapters that are opened now are given: their tables of these settings, the newest calibrations."""
    newest = {}
    for backend in await wanted.store.calibrated():
        items, _ = await wanted.store.characterizations(backend, limit=1)
        newest[backend] = items[0]

    def context(adapter: Adapter) -> AdapterContext:
        made = AdapterContext(
            clock=wanted.clock,
            new_id=wanted.new_id,
            workers=workers,
            settings=settings_of(adapter, settings.plugins),
            data=None if wanted.data is None else wanted.data / "plugins" / adapter.name,
            characterizations=newest,
            changed=partial(told.put_nowait, adapter),
        )
        bind(adapter, made, move=wanted.settings.dispatch.blocking == "move", placements=placements)
        return made

    return context


@asynccontextmanager
async def running(parts: Parts, wanted: Wanted) -> AsyncGenerator[None]:
    """Run the loops of all parts while the block runs, then let what is under way end and put the rest back."""
    try:
        async with background() as tasks:
            parts.dispatcher.start(tasks)
            parts.notifier.start(tasks)
            wanted.listeners.start(tasks)
            tasks.start_soon(parts.fleet.follow)
            tasks.start_soon(parts.sessions.keep_time)
            keep = partial(keep_house, on_trimmed=parts.recent.forget)
            tasks.start_soon(keep, wanted.store, wanted.clock, wanted.settings.storage.keep_finished_days)
            tasks.start_soon(keep_outbox, wanted.store.outbox, wanted.clock, wanted.settings.notify.keep_days)
            try:
                yield
            finally:
                with anyio.move_on_after(CLOSE_LIMIT_S, shield=True):
                    await parts.fleet.aclose()
                    await parts.dispatcher.drain()
                for drain in parts.notifier.drain, wanted.listeners.drain:
                    with anyio.move_on_after(NOTIFY_LIMIT_S, shield=True):
                        await drain()
    finally:
        with anyio.move_on_after(CLOSE_LIMIT_S, shield=True):
            await parts.dispatcher.put_back()


def store_for(folder: Path | None, settings: Settings, clock: Clock) -> Store:
    """The store that a data folder means; imported here, since each brings a library the other does not need."""
    if folder is None:
        from orchestrator.storage.memory import MemoryStore  # noqa: PLC0415

        return MemoryStore(clock)
    from orchestrator.storage.sqlite.store import SqliteStore  # noqa: PLC0415

    return SqliteStore(folder / DATABASE, clock, synchronous=settings.storage.synchronous)

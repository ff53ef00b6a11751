"""``orchestrator events``: the log of a project, from a cursor on."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING

import click

from orchestrator.cli import DONE
from orchestrator.cli.options import Target, json_option, target_options

if TYPE_CHECKING:
    from orchestrator.cli.following import Show
    from orchestrator.client import FeedFrame


@click.command()
@click.option("--since", metavar="CURSOR", default="earliest", show_default=True, help="Begin after this cursor.")
@click.option("--follow", is_flag=True, help="Go on with what happens, until interrupted.")
@click.option("--job", "jobs", metavar="ID", multiple=True, help="Only this job and its children; repeatable.")
@click.option("--session", "sessions", metavar="ID", multiple=True, help="Only jobs of this session; repeatable.")
@click.option("--kind", "kinds", multiple=True, help="Only this kind, or a family such as job.*; repeatable.")
@click.option("--backend", "backends", metavar="NAME", multiple=True, help="Only of this backend; repeatable.")
@target_options
@json_option
def command(
    *,
    since: str,
    follow: bool,
    jobs: tuple[str, ...],
    sessions: tuple[str, ...],
    kinds: tuple[str, ...],
    backends: tuple[str, ...],
    target: Target,
    as_json: bool,
) -> int:
    """Print the events after a cursor.

    A line each; with --json a frame of the feed each, whose cursor is where a later --since goes on. With --follow
    a server that restarts is waited for. Where retention has removed events, a line tells of the gap.
    """
    wanted = {"jobs": jobs, "sessions": sessions, "kinds": kinds, "backends": backends}
    asyncio.run(_events(target, since, wanted, follow=follow, as_json=as_json))
    return DONE


async def _events(
    target: Target, since: str, wanted: Mapping[str, Collection[str]], *, follow: bool, as_json: bool
) -> None:
    from orchestrator.cli.board import Board  # noqa: PLC0415 - brings rich
    from orchestrator.cli.following import documents, lines  # noqa: PLC0415 - brings rich
    from orchestrator.errors import CursorExpired  # noqa: PLC0415

    async with target.client(run=follow) as client:
        events = functools.partial(
            client.events,
            jobs=wanted["jobs"],
            sessions=wanted["sessions"],
            kinds=wanted["kinds"],
            backends=wanted["backends"],
        )
        with documents(Board()) if as_json else lines(Board()) as show:
            cursor = since
            while True:
                try:
                    return await _print(events, cursor, show, follow=follow)
                except CursorExpired as error:
                    cursor = error.resume  # the gap, and where things stand, was shown


async def _print(events: Callable[[str], AsyncGenerator[FeedFrame]], cursor: str, show: Show, *, follow: bool) -> None:
    """Show frames, unless following until history is through."""
    from orchestrator.client import FeedLive  # noqa: PLC0415 - brings aiohttp

    async with aclosing(events(cursor)) as frames:
        async for frame in frames:
            show(frame)
            if isinstance(frame, FeedLive) and not follow:
                return

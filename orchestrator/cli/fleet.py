"""The commands that change what a running server serves: words of ``orchestrator backends`` and ``plugins``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from orchestrator.cli import DONE, NO
from orchestrator.cli.options import data_option, json_option

if TYPE_CHECKING:
    from orchestrator.cli.owner import OwnerClient

T = TypeVar("T")
#: One request waits no longer than this for what runs; the command asks again.
_WAIT_S: Final = 5.0

reason_option = click.option("--reason", default="", metavar="TEXT", help="Shown to people and in the feed.")
drain_option = click.option(
    "--drain",
    "drain_s",
    type=click.FloatRange(0, 30),
    metavar="SECONDS",
    help="Longest wait for what runs, before it is put back.  [default: dispatch.drain_s]",
)


@click.command()
@click.argument("backend")
@reason_option
@data_option
@json_option
def pause(backend: str, reason: str, data: Path, as_json: bool) -> None:
    """Hand out nothing more of a backend's jobs: new ones are accepted and wait, what runs goes on.

    Holds until `resume`, also when the server is started anew.
    """
    state = _asked(data, "POST", f"/backends/{backend}/pause", {"reason": reason})
    _show(state, _line(state), as_json=as_json)


@click.command()
@click.argument("backend")
@data_option
@json_option
def resume(backend: str, data: Path, as_json: bool) -> None:
    """End a pause."""
    state = _asked(data, "POST", f"/backends/{backend}/resume")
    _show(state, _line(state), as_json=as_json)


@click.command()
@click.argument("backend")
@click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Longest wait; none unless given.")
@reason_option
@data_option
@json_option
def drain(backend: str, timeout: float | None, reason: str, data: Path, as_json: bool) -> int:
    """Pause a backend and wait until nothing of it runs; exit 1 if something still does.

    It stays paused, also when the wait is interrupted.
    """
    answer = _run(data, lambda client: _drained(client, backend, timeout, {"reason": reason} if reason else {}))
    _show(answer, _line(answer["state"]), as_json=as_json)
    return DONE if answer["emptied"] else NO


async def _drained(client: OwnerClient, backend: str, timeout_s: float | None, body: dict[str, Any]) -> dict[str, Any]:
    import anyio  # noqa: PLC0415

    deadline = float("inf") if timeout_s is None else anyio.current_time() + timeout_s
    while True:
        wait_s = max(0.0, min(_WAIT_S, deadline - anyio.current_time()))
        path = f"/backends/{backend}/drain"
        answer: dict[str, Any] = await client.owner_ask(dict[str, Any], "POST", path, {**body, "wait_s": wait_s})
        if answer["emptied"] or anyio.current_time() >= deadline:
            return answer


@click.command()
@click.argument("name")
@data_option
@json_option
def enable(name: str, data: Path, as_json: bool) -> None:
    """Serve the backends of an installed plugin, on the running server.

    Until it stops: what is served after a start is what the settings name.
    """
    _changed(_asked(data, "POST", f"/adapters/{name}/enable"), as_json=as_json)


@click.command()
@click.argument("name")
@drain_option
@data_option
@json_option
def disable(name: str, drain_s: float | None, data: Path, as_json: bool) -> None:
    """Take a plugin's backends out of the running server; their jobs wait until it is enabled again.

    Until the server is started anew; to keep a plugin out, take its name out of `backends` in the settings.
    """
    _changed(_asked(data, "POST", f"/adapters/{name}/disable", {"drain_s": drain_s}), as_json=as_json)


@click.command()
@click.argument("name")
@drain_option
@data_option
@json_option
def restart(name: str, drain_s: float | None, data: Path, as_json: bool) -> None:
    """Make a plugin anew on the running server, with its settings as they are in the file now.

    The new one is opened first: with settings that are wrong, the old one goes on. Its code is what the server has
    loaded: for a new release, start the server anew.
    """
    _changed(_asked(data, "POST", f"/adapters/{name}/restart", {"drain_s": drain_s}), as_json=as_json)


def fleet_of(data: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The adapters of the server that runs in a folder, and the states of its backends."""

    async def look(client: OwnerClient) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        adapters = await client.owner_ask(list[dict[str, Any]], "GET", "/adapters")
        backends = await client.owner_ask(list[dict[str, Any]], "GET", "/backends")
        return adapters, [each["state"] for each in backends]

    return _run(data, look)


def _changed(answer: dict[str, Any], *, as_json: bool) -> None:
    _show(answer, f"{answer['name']}: {', '.join(answer['backends']) or 'no backends'}", as_json=as_json)


def _line(state: dict[str, Any]) -> str:
    reason = f" ({state['reason']})" if state["reason"] else ""
    return f"{state['backend']}: {state['status']}{reason}, {state['running']} running, {state['queued']} waiting"


def _show(document: object, text: str, *, as_json: bool) -> None:
    if as_json:
        from orchestrator.cli.output import emit  # noqa: PLC0415 - brings rich

        emit(document)
    else:
        click.echo(text)


def _asked(data: Path, method: str, path: str, body: object = None) -> dict[str, Any]:
    return _run(data, lambda client: client.owner_ask(dict[str, Any], method, path, body))


def _run(data: Path, ask: Callable[[OwnerClient], Awaitable[T]]) -> T:
    return asyncio.run(_running(data, ask))


async def _running(data: Path, ask: Callable[[OwnerClient], Awaitable[T]]) -> T:
    from orchestrator.api.admin_socket import served  # noqa: PLC0415
    from orchestrator.cli.owner import owner  # noqa: PLC0415 - brings aiohttp
    from orchestrator.errors import Unavailable  # noqa: PLC0415

    if not served(data):
        raise Unavailable(f"no server runs in {data}; name the data folder of a running one with --data")
    async with owner(data) as client:
        return await ask(client)

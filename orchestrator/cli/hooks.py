"""``orchestrator hooks``: notification rules, their deliveries and their log."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import click

from orchestrator.cli import DONE, NO
from orchestrator.cli.options import Target, json_option, target_options

_PATH = "/hooks/v1"


@click.group()
def command() -> None:
    """Tell people and programs what happens to jobs, over e-mail, webhooks and other channels.

    With --data these work while the server runs, and without it.
    """


@command.command()
@click.argument("channel")
@click.argument("members", metavar="[MEMBER=VALUE]...", nargs=-1)
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    help="Kind of event, or a family such as 'job.*'; repeatable.  [default: job.failed]",
)
@click.option("--backend", help="Only of this backend.")
@click.option("--tag", metavar="KEY[=VALUE]", help="Only jobs with this metadata.")
@click.option("--name", metavar="PATTERN", help="Only jobs whose name matches, like 'vqe-*'.")
@click.option("--children", is_flag=True, help="Also each circuit of a multi-circuit job.")
@target_options
@json_option
def add(
    channel: str,
    members: tuple[str, ...],
    kinds: tuple[str, ...],
    *,
    backend: str | None,
    tag: str | None,
    name: str | None,
    children: bool,
    target: Target,
    as_json: bool,
) -> None:
    """Add a hook: `hooks add webhook url=https://example.org/in`, `hooks add email to=ada@example.org`.

    A secret that the channel makes is shown now, and never again.
    """
    from orchestrator.cli.output import emit  # noqa: PLC0415 - brings rich

    body: dict[str, Any] = {"channel": channel, "target": dict(_member(text) for text in members)}
    given = {"kinds": list(kinds) or None, "backend": backend, "tag": tag, "name": name, "children": children}
    hook = _ask(target, "POST", "", body | {member: value for member, value in given.items() if value is not None})
    if as_json:
        emit(hook)
        return
    click.echo(hook["id"])
    if secret := hook["target"].get("secret"):
        click.echo(f"secret, store it now, it cannot be shown again: {secret}", err=True)


@command.command("list")
@target_options
@json_option
def listing(target: Target, as_json: bool) -> None:
    """List a project's hooks, oldest first."""
    from orchestrator.cli.output import emit, table  # noqa: PLC0415 - brings rich

    hooks = _ask(target, "GET", "")["hooks"]
    if as_json:
        emit(hooks)
        return
    rows = [
        [
            hook["id"],
            hook["channel"],
            "on" if hook["disabled_at"] is None else f"off: {hook['disabled_reason']}",
            " ".join(f"{name}={value}" for name, value in hook["target"].items()),
            ", ".join(_families(hook["kinds"])),
            " ".join(f"{name}={hook[name]}" for name in ("backend", "tag", "name") if hook[name]),
        ]
        for hook in hooks
    ]
    table(["id", "channel", "state", "target", "kinds", "only"], rows, optional=["only", "kinds"], wrap="target")


@command.command()
@click.argument("hook_id", metavar="ID")
@target_options
@json_option
def test(hook_id: str, target: Target, as_json: bool) -> int:
    """Deliver a test event now; exit 1 if it did not arrive."""
    from orchestrator.cli.output import emit  # noqa: PLC0415 - brings rich

    answer = _ask(target, "POST", f"/{hook_id}/test")
    if as_json:
        emit(answer)
    else:
        click.echo(f"{answer['verdict']}: {answer['detail']}")
    return DONE if answer["verdict"] == "delivered" else NO


@command.command()
@click.argument("hook_id", metavar="ID")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True)
@click.option("--dead", is_flag=True, help="The deliveries that were given up instead.")
@click.option("--pending", is_flag=True, help="The deliveries that are waiting instead.")
@target_options
@json_option
def log(hook_id: str, *, limit: int, dead: bool, pending: bool, target: Target, as_json: bool) -> None:
    """Show a hook's attempts, latest first."""
    from orchestrator.cli.output import emit, moment, table  # noqa: PLC0415 - brings rich

    if dead or pending:
        state = "dead" if dead else "pending"
        found = _ask(target, "GET", f"/{hook_id}/deliveries", state=state, limit=limit)["deliveries"]
        titles = ["delivery", "event", "detail", "attempts", "due (UTC)", "job"]
        rows = [
            [
                each["id"],
                each["event"]["kind"],
                each["detail"],
                str(each["attempts"]),
                moment(each["due_at"]),
                each["event"].get("job_id", ""),
            ]
            for each in found
        ]
    else:
        found = _ask(target, "GET", f"/{hook_id}/log", limit=limit)["attempts"]
        titles = ["delivery", "event", "verdict", "detail", "attempt", "at (UTC)", "took", "job"]
        rows = [
            [
                each["delivery_id"],
                each["kind"],
                each["verdict"],
                each["detail"],
                str(each["number"]),
                moment(each["at"]),
                f"{each['duration_ms']} ms",
                each["job_id"] or "",
            ]
            for each in found
        ]
    if as_json:
        emit(found)
    else:
        table(titles, rows, optional=[title for title in titles[:2:-1] if title != "detail"], wrap="detail")


@command.command()
@click.argument("hook_id", metavar="ID")
@click.argument("delivery_id", metavar="[DELIVERY]", required=False)
@target_options
@json_option
def redeliver(hook_id: str, delivery_id: str | None, target: Target, as_json: bool) -> None:
    """Deliver again under the same id: one delivery, or all that were given up."""
    from orchestrator.cli.output import emit  # noqa: PLC0415 - brings rich

    answer = _ask(target, "POST", f"/{hook_id}/redeliver", {"delivery": delivery_id})
    if as_json:
        emit(answer)
    else:
        click.echo(f"{answer['redelivered']} to deliver again")


@command.command()
@click.argument("hook_id", metavar="ID")
@target_options
@json_option
def enable(hook_id: str, target: Target, as_json: bool) -> None:
    """Turn a hook on again that was disabled, by hand or by its receiver (HTTP 410).

    What was waiting for it then was given up; `hooks redeliver` delivers that.
    """
    _switch(target, hook_id, enabled=True, as_json=as_json)


@command.command()
@click.argument("hook_id", metavar="ID")
@target_options
@json_option
def disable(hook_id: str, target: Target, as_json: bool) -> None:
    """Turn a hook off; what it still had to deliver is given up."""
    _switch(target, hook_id, enabled=False, as_json=as_json)


def _switch(target: Target, hook_id: str, *, enabled: bool, as_json: bool) -> None:
    from orchestrator.cli.output import emit  # noqa: PLC0415 - brings rich

    hook = _ask(target, "PATCH", f"/{hook_id}", {"enabled": enabled})
    if as_json:
        emit(hook)
    else:
        click.echo(f"{'enabled' if enabled else 'disabled'} {hook['id']}")


@command.command()
@click.argument("hook_id", metavar="ID")
@click.option("--finish", is_flag=True, help="End a rotation: the newest secret alone signs.")
@target_options
@json_option
def rotate(hook_id: str, *, finish: bool, target: Target, as_json: bool) -> None:
    """Give a webhook a new secret: both sign, until `hooks rotate --finish` drops the old one.

    The new secret is shown now, and never again.
    """
    from orchestrator.cli.output import emit  # noqa: PLC0415 - brings rich

    answer = _ask(target, "POST", f"/{hook_id}/rotate", {"finish": finish})
    if as_json:
        emit(answer)
    elif finish:
        click.echo(f"the newest secret alone signs for {answer['id']}")
    else:
        click.echo(answer["secret"])
        click.echo("store it now, it cannot be shown again; the old one signs too until --finish", err=True)


@command.command()
@click.argument("hook_id", metavar="ID")
@target_options
@json_option
def remove(hook_id: str, target: Target, as_json: bool) -> None:
    """Remove a hook, with what it still had to deliver and its log."""
    from orchestrator.cli.output import emit  # noqa: PLC0415 - brings rich

    answer = _ask(target, "DELETE", f"/{hook_id}")
    if as_json:
        emit(answer)
    else:
        click.echo(f"removed {answer['id']}")


def _families(kinds: Sequence[str]) -> list[str]:
    """Kinds as people ask for them: a family in place of all its kinds."""
    from orchestrator.events import FAMILIES  # noqa: PLC0415 - brings msgspec

    named = list(kinds)
    for family, members in FAMILIES.items():
        if members <= set(named):
            named = [family, *(kind for kind in named if kind not in members)]
    return named


def _member(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not (name and separator):
        raise click.UsageError(f"{text!r} is not MEMBER=VALUE, like url=https://example.org/in")
    return name, value


def _ask(target: Target, method: str, path: str, body: object = None, **params: Any) -> Any:
    return asyncio.run(_asked(target, method, path, body, params))


async def _asked(target: Target, method: str, path: str, body: object, params: dict[str, Any]) -> Any:
    import msgspec  # noqa: PLC0415

    if target.data is not None and target.project is not None:
        params["project"] = target.project
    data = None if body is None else msgspec.json.encode(body)
    async with target.client() as client:
        return await client.ask(Any, method, _PATH + path, data=data, params=params)

"""A mail as HTML, for the mail programs there are: tables, styles on each element, nothing loaded from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from orchestrator import histogram
from orchestrator.events import EventKind
from orchestrator.lifecycle import JobStatus
from orchestrator.model import Failure, Result
from orchestrator.notify.abc import Notification, Part
from orchestrator.notify.channels import wording
from orchestrator.notify.channels.plain import MOST

_FONT: Final = "font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif"
_MONO: Final = "font-family:ui-monospace,'SF Mono',Menlo,Consolas,'DejaVu Sans Mono',monospace"
_INK, _MUTED, _LINE, _LINK, _BAD = "#1e2233", "#687085", "#e6e8f0", "#3c4bb0", "#a3222f"

#: Colour of text and of its ground by what happened.
_NEUTRAL: Final = ("#3c4bb0", "#eceefb")
_COLOURS: Final = {
    EventKind.JOB_COMPLETED: ("#17663f", "#e3f5ea"),
    EventKind.JOB_FAILED: ("#a3222f", "#fdeaea"),
    EventKind.JOB_CANCELED: ("#5b6275", "#eef0f4"),
    EventKind.JOB_REQUEUED: ("#8a5a00", "#fdf3dc"),
}


#: Width of what is inside the mail's frame, and of a picture that has another one beside it.
_INNER: Final = 538
NARROW: Final = 256


@dataclass(frozen=True)
class Picture:
    """A picture that travels with the mail: its content id, what it shows, and the size to show it at."""

    cid: str
    result: Result
    width: int
    height: int


def html(notifications: Sequence[Notification], footer: str, pictures: Mapping[str, Picture]) -> str:
    """The body of a mail about one notification, with the pictures of results by their jobs' ids, or about several."""
    one = len(notifications) == 1
    inner = _one(notifications[0], pictures) if one else _several(notifications)
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light"><meta name="supported-color-schemes" content="light">'
        f"<title>{escape(wording.subject(notifications))}</title></head>"
        f'<body style="margin:0;padding:0;background:#f4f5f9;{_FONT};color:{_INK}">'
        f'<div style="display:none;max-height:0;overflow:hidden">{escape(_preview(notifications))}</div>'
        '<table role="presentation" width="100%" cellpadding="0" cellspacing="0" style="background:#f4f5f9"><tr>'
        '<td align="center" style="padding:28px 12px">'
        '<table role="presentation" width="600" cellpadding="0" cellspacing="0" style="width:100%;max-width:600px">'
        f'<tr><td style="background:#ffffff;border:1px solid {_LINE};border-radius:12px;padding:28px 30px;'
        f'text-align:left">{inner}</td></tr>'
        f'<tr><td style="padding:16px 30px;font-size:12px;line-height:18px;color:{_MUTED};text-align:left">'
        f"{escape(footer)}</td></tr></table></td></tr></table></body></html>"
    )


def _one(notification: Notification, pictures: Mapping[str, Picture]) -> str:
    parts = [_pill(notification), _heading(wording.name(notification))]
    problem = wording.failure(notification)
    if problem is not None:
        parts.append(_problem(problem))
    if picture := pictures.get(notification.event.job_id or ""):
        parts.append(_picture(picture, "0 0 20px"))
    if notification.parts:
        parts.append(_parts(notification, pictures))
    parts.append(_facts(wording.facts(notification)))
    if notification.link:
        parts.append(
            f'<p style="margin:24px 0 0"><a href="{escape(notification.link)}" style="display:inline-block;'
            "background:#4f56d3;border-radius:8px;padding:11px 20px;color:#ffffff;font-size:14px;font-weight:600;"
            'text-decoration:none">Open the job</a></p>'
        )
    return "".join(parts)


def _several(notifications: Sequence[Notification]) -> str:
    rows = "".join(_row(notification) for notification in notifications[:MOST])
    more = len(notifications) - MOST
    rest = f'<p style="margin:14px 0 0;font-size:13px;color:{_MUTED}">… and {more} more</p>' if more > 0 else ""
    return (
        f'<div style="font-size:13px;color:{_MUTED}">{escape(wording.clean(notifications[0].project.name))}</div>'
        f"{_heading(wording.summary(notifications))}"
        f'<table role="presentation" width="100%" cellpadding="0" cellspacing="0">{rows}</table>{rest}'
    )


def _row(notification: Notification) -> str:
    name = f"<bdi>{escape(wording.name(notification))}</bdi>"
    if notification.link:
        name = f'<a href="{escape(notification.link)}" style="color:{_LINK};text-decoration:underline">{name}</a>'
    problem, result = wording.failure(notification), notification.result
    told = _reason(problem) if problem else ""
    if result is not None:
        told = f'<br><span style="{_MONO};font-size:12px">{escape(wording.likely(result))}</span>'
    backend = f"{escape(wording.clean(notification.event.backend))} &middot; " if notification.event.backend else ""
    return (
        f'<tr><td style="padding:11px 12px 11px 0;border-top:1px solid {_LINE};font-size:14px;line-height:21px;'
        f'word-break:break-word"><strong style="font-weight:600">{name}</strong><br>'
        f'<span style="font-size:12px;color:{_MUTED}">{backend}{wording.moment(notification.event.at)}'
        f"</span>{told}</td>"
        f'<td align="right" style="padding:11px 0;border-top:1px solid {_LINE};white-space:nowrap;vertical-align:top">'
        f"{_pill(notification)}</td></tr>"
    )


def _reason(problem: Failure) -> str:
    return (
        f'<br><span style="font-size:13px"><span style="{_MONO};font-weight:600;color:{_BAD}">{escape(problem.code)}'
        f"</span>&nbsp; {escape(wording.in_short(problem))}</span>"
    )


def _parts(notification: Notification, pictures: Mapping[str, Picture]) -> str:
    """The circuits, each with its picture; beside each other where these are narrow and the reader's window is not."""
    width = _INNER if any(picture.width > NARROW for picture in pictures.values()) else NARROW + 12
    cells = "".join(_part(part, pictures.get(part.job.id), width) for part in notification.parts)
    more = wording.unshown(notification)
    rest = f'<div style="font-size:13px;color:{_MUTED}">… and {more}</div>' if more else ""
    return f'<div style="margin:0 0 20px;font-size:0">{cells}{rest}</div>'


def _part(part: Part, picture: Picture | None, width: int) -> str:
    status = part.job.status
    ink = {JobStatus.COMPLETED: "#17663f", JobStatus.FAILED: _BAD}.get(status, _MUTED)
    problem = wording.failure_of(part.job)
    return (
        f'<div style="display:inline-block;width:100%;max-width:{width}px;vertical-align:top">'
        f'<div style="padding:0 12px 14px 0;font-size:14px;line-height:21px;word-break:break-word">'
        f'<strong style="font-weight:600"><bdi>{escape(wording.part_name(part))}</bdi></strong> '
        f'<span style="font-size:12px;color:{ink}">{status}</span>'
        f"{_reason(problem) if problem else ''}{_picture(picture, '4px 0 0') if picture else ''}</div></div>"
    )


def _pill(notification: Notification) -> str:
    ink, ground = _COLOURS.get(notification.event.kind, _NEUTRAL)
    text = escape(wording.word(notification).capitalize())
    return (
        f'<span style="display:inline-block;background:{ground};color:{ink};border-radius:999px;padding:4px 12px;'
        f'font-size:12px;line-height:16px;font-weight:600">{text}</span>'
    )


def _heading(text: str) -> str:
    return (
        '<h1 style="margin:12px 0 18px;font-size:22px;line-height:29px;font-weight:650;word-break:break-word">'
        f"<bdi>{escape(text)}</bdi></h1>"
    )


def _problem(problem: Failure) -> str:
    message = "<br>".join(escape(line) for line in wording.clean_lines(problem.message))
    return (
        '<div style="background:#fdf3f3;border-left:4px solid #d5404f;border-radius:6px;padding:13px 16px;'
        'margin:0 0 20px;word-break:break-word">'
        f'<div style="{_MONO};font-size:14px;line-height:20px;font-weight:600;color:#a3222f">'
        f"{escape(problem.code)}</div>"
        f'<div style="font-size:14px;line-height:21px;padding-top:3px">{message}</div></div>'
    )


def _picture(picture: Picture, margin: str) -> str:
    told = ", ".join(f"{bar.label}: {histogram.percent(bar.probability)}" for bar in histogram.bars(picture.result))
    return (
        f'<img src="cid:{escape(picture.cid)}" width="{picture.width}" height="{picture.height}" '
        f'alt="{escape(told)}" style="display:block;width:100%;max-width:{picture.width}px;height:auto;'
        f'margin:{margin};{_MONO};font-size:13px">'
    )


def _facts(rows: Sequence[tuple[str, str]]) -> str:
    cell = f"padding:7px 0;border-top:1px solid {_LINE};font-size:13px;line-height:19px;vertical-align:top"
    body = "".join(
        f'<tr><td style="{cell};width:112px;color:{_MUTED}">{escape(label)}</td>'
        f'<td style="{cell};word-break:break-word"><bdi>{escape(value)}</bdi></td></tr>'
        for label, value in rows
    )
    return f'<table role="presentation" width="100%" cellpadding="0" cellspacing="0">{body}</table>'


def _preview(notifications: Sequence[Notification]) -> str:
    """What a list of mails shows beside the subject."""
    first = notifications[0]
    if len(notifications) > 1:
        return ", ".join(wording.name(notification) for notification in notifications[:5])
    problem = wording.failure(first)
    if problem is not None:
        return wording.clean(problem.message)
    if first.result is not None:
        return wording.likely(first.result)
    return wording.ended(first) or wording.moment(first.event.at)

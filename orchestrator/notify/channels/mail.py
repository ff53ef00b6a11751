"""A mail, ready to send, from notifications."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Final

from orchestrator.model import Result
from orchestrator.notify.abc import Notification
from orchestrator.notify.channels import picture, wording
from orchestrator.notify.channels.html import NARROW, Picture, html
from orchestrator.notify.channels.plain import text

_PLAIN_ID: Final = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
_MAX_ID: Final = 120


def compose(notifications: Sequence[Notification], *, sender: Address, recipient: Address, now_ms: int) -> EmailMessage:
    """The mail about one notification, or the digest of several.

    Its Message-ID follows from the ids of the notifications alone, so that a mail sent twice, because nobody could
    know whether the first arrived, is recognised as one. Mails about the same job stand in one thread. Takes tens of
    milliseconds when there is a picture to draw.
    """
    domain = sender.domain
    stable = stable_id([notification.id for notification in notifications])
    footer = (
        f"A hook of project {wording.clean(notifications[0].project.name)} sends these mails to {recipient.addr_spec}. "
        "Remove the hook to stop them."
    )
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = recipient
    message["Subject"] = wording.subject(notifications)
    message["Date"] = format_datetime(datetime.fromtimestamp(now_ms / 1000, UTC))
    message["Message-ID"] = f"<{stable}@{domain}>"
    job_id = notifications[0].event.job_id
    if len(notifications) == 1 and job_id is not None:
        message["References"] = f"<job.{stable_id([job_id])}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    drawn = _drawn(notifications[0]) if len(notifications) == 1 else []
    pictures, files = {}, []
    for number, (job_id, result, (png, width, height)) in enumerate(drawn, 1):
        cid = f"histogram.{number}.{stable}@{domain}"
        pictures[job_id] = Picture(cid, result, width, height)
        files.append((cid, png))
    message.set_content(text(notifications, footer), cte="quoted-printable")
    message.add_alternative(html(notifications, footer, pictures), subtype="html", cte="quoted-printable")
    *_, pictured = message.iter_parts()
    for cid, png in files:
        pictured.add_related(
            png, maintype="image", subtype="png", cid=f"<{cid}>", filename="histogram.png", disposition="inline"
        )
    return message


def _drawn(notification: Notification) -> list[tuple[str, Result, picture.Drawn]]:
    """Job, result and its picture: of a single job, or of the first circuits of several."""
    job, result = notification.job, notification.result
    if job is not None and result is not None:
        return [(job.id, result, picture.histogram(result))]
    found = [(part.job.id, part.result) for part in notification.parts if part.result is not None]
    pictures = picture.beside_each_other([result for _, result in found], NARROW)
    return [(job_id, result, drawn) for (job_id, result), drawn in zip(found, pictures, strict=True)]


def stable_id(ids: Sequence[str]) -> str:
    """Ids as one that may stand in a Message-ID: a plain one itself, all others as a digest."""
    if len(ids) == 1 and len(ids[0]) <= _MAX_ID and _PLAIN_ID.fullmatch(ids[0]):
        return ids[0]
    return "digest." + hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()[:40]

"""The channel: a hook names a service that the operator has configured, Apprise talks to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import anyio
import anyio.to_thread
import apprise
import msgspec

from orchestrator.errors import InvalidRequest, SettingsError
from orchestrator.notify.abc import Attempted, Channel, ChannelContext, Notification, Verdict
from orchestrator.notify.channels import plain, wording
from orchestrator.notify.channels.tables import read_settings, refuse_unknown


class AppriseSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What hooks may name.

    Attributes:
        targets: Apprise URLs by name.
        digest_s: Gather further notifications of a hook for this long; 0 sends each alone.
        limit_s: Longest attempt.
    """

    targets: dict[str, str] = msgspec.field(default_factory=dict)
    digest_s: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 60.0
    limit_s: Annotated[float, msgspec.Meta(gt=0, le=600)] = 30.0


class AppriseChannel(Channel):
    """Sends title and text to the service a target names, ``{"to": "lab_chat"}``.

    Apprise answers yes or no, so whatever fails is worth another attempt. It works on threads of its own: an attempt
    that is cut off may still arrive.
    """

    name: ClassVar[str] = "apprise"
    wants_results: ClassVar[bool] = True

    def __init__(self) -> None:
        self._services: dict[str, apprise.Apprise] = {}

    async def open(self, context: ChannelContext) -> None:
        settings = read_settings(context.settings, AppriseSettings, self.name)
        self.digest_s, self.limit_s = settings.digest_s, settings.limit_s
        # The first use of Apprise imports a hundred modules.
        self._services = await anyio.to_thread.run_sync(_services, settings.targets)

    def check(self, target: Mapping[str, Any]) -> dict[str, Any]:
        refuse_unknown(target, {"to"})
        if not isinstance(target.get("to"), str) or target["to"] not in self._services:
            raise InvalidRequest(
                "to: one of the names the operator of this server has configured is wanted (channels.apprise.targets)",
                code="invalid_address",
                fields=("target.to",),
            )
        return dict(target)

    async def deliver(self, target: Mapping[str, Any], notifications: Sequence[Notification]) -> Attempted:
        service = self._services.get(str(target.get("to")))
        if service is None:
            return Attempted(verdict=Verdict.REJECTED, detail="the operator has removed this name")
        taken = await service.async_notify(
            body=plain.text(notifications, wording.clean(notifications[0].project.name)),
            title=wording.subject(notifications),
            body_format=apprise.NotifyFormat.TEXT,
        )
        if taken:
            return Attempted(verdict=Verdict.DELIVERED, detail="taken")
        return Attempted(verdict=Verdict.RETRY, detail="the service did not take it")


def _services(targets: Mapping[str, str]) -> dict[str, apprise.Apprise]:
    services = {}
    for name, url in targets.items():
        services[name] = apprise.Apprise()
        if not services[name].add(url):
            raise SettingsError(f"channels.apprise: targets.{name}: Apprise cannot read this URL")
    return services

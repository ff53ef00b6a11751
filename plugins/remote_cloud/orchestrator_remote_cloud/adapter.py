"""The adapter: light where nothing is configured, since it is installed beside the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.backends.abc import Adapter, AdapterContext, Attempt, Capabilities, Emit, Estimated, Ready
from orchestrator.model import BackendState, Job, JobSpec
from orchestrator_remote_cloud.settings import read

if TYPE_CHECKING:
    from orchestrator_remote_cloud.remotes import Remotes


class RemoteCloudAdapter(Adapter):
    """Serves the imported backends of all configured remotes; without a table it serves none."""

    name = "remote_cloud"
    isolation = "server"

    def __init__(self, remotes: Remotes | None = None) -> None:
        self._remotes = remotes

    async def open(self, context: AdapterContext) -> None:
        """Read the settings, and the backends of the remotes; see `Remotes.open`.

        Raises:
            SettingsError: A setting is wrong, or a key is not where the settings say.
        """
        settings = read(context.settings)
        if settings.remotes:
            # Imported here: an HTTP client takes a tenth of a second to load.
            from orchestrator_remote_cloud.remotes import Remotes  # noqa: PLC0415

            self._remotes = self._remotes or Remotes()
            await self._remotes.open(settings, context)

    async def aclose(self) -> None:
        if self._remotes is not None:
            await self._remotes.aclose()

    def capabilities(self) -> Sequence[Capabilities]:
        return () if self._remotes is None else self._remotes.capabilities()

    @property
    def remotes(self) -> Remotes:
        """The remotes of an adapter that serves some."""
        if self._remotes is None:
            raise RuntimeError("no remote is configured")
        return self._remotes

    def state(self, backend: str) -> BackendState:
        return self.remotes.state(backend)

    def announced(self, job: Job) -> None:
        """Have its intent written while the store writes the job."""
        self.remotes.announced(job)

    async def estimate(self, spec: JobSpec) -> Estimated | None:
        return await self.remotes.estimate(spec)

    async def serve(self, backend: Capabilities, ready: Ready, emit: Emit) -> None:
        await self.remotes.serve(backend, ready, emit)

    async def cancel(self, attempt: Attempt) -> None:
        """Cancel the remote job too, once nobody here waits for any of its circuits."""
        await self.remotes.cancel(attempt)

    async def recover(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        """Those whose remote job is known; the intents of an earlier life say so."""
        return await self.remotes.recover(attempts)

"""Projects and API keys. Held in memory, so that authentication costs one hash and no read.

A generated key is ``ion_<id>_<secret>``, id and secret in hex. Of any key only the SHA-256 is stored, and found
by it: looking up an unknown key is the same work as a known one, and nothing is compared byte by byte.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable
from typing import Final

import anyio
import msgspec

from orchestrator.clock import Clock, NewId
from orchestrator.errors import InvalidRequest, KeyNotFound, ProjectNotFound
from orchestrator.model import ApiKey, Project
from orchestrator.storage.abc import Store

DEFAULT_PROJECT: Final = "default"
_NAME: Final = re.compile(r"[\w][\w .-]{0,63}")
_BOOTSTRAP: Final = re.compile(r"[\x21-\x7e]{16,128}")


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who a request comes from: a key, and the project it belongs to."""

    key_id: str
    key_name: str
    project_id: str


class Accounts:
    """See the module.

    Attributes:
        on_revoked: Called with the id of each revoked key; its feeds close on that.
    """

    def __init__(self, store: Store, clock: Clock, new_id: NewId) -> None:
        self.on_revoked: list[Callable[[str], None]] = []
        self._store = store
        self._clock = clock
        self._new_id = new_id
        self._projects: dict[str, Project] = {}
        self._keys: dict[str, ApiKey] = {}
        self._principals: dict[str, Principal] = {}

    async def open(self) -> Project:
        """Load everything; makes the first project in an empty store. Answers the first project."""
        self._projects = {project.id: project for project in await self._store.projects()}
        for key in await self._store.keys():
            self._remember(key)
        for project in self._projects.values():
            if project.name == DEFAULT_PROJECT:
                return project
        return await self.add_project(DEFAULT_PROJECT)

    def authenticate(self, key: str) -> Principal | None:
        """Who that key is, or None for an unknown or revoked one."""
        return self._principals.get(_digest(key))

    def is_revoked(self, key_id: str) -> bool:
        """Whether that key was revoked."""
        key = self._keys.get(key_id)
        return key is not None and key.revoked_at is not None

    # -- projects -----------------------------------------------------------------------

    def projects(self) -> list[Project]:
        """All projects, oldest first."""
        return list(self._projects.values())

    def project(self, name_or_id: str) -> Project:
        """A project by name or id.

        Raises:
            ProjectNotFound: There is none.
        """
        for project in self._projects.values():
            if name_or_id in {project.id, project.name}:
                return project
        raise ProjectNotFound(name_or_id)

    async def add_project(self, name: str) -> Project:
        """Add a project.

        Raises:
            InvalidRequest: The name is taken, or not 1 to 64 letters, digits, spaces, dots, dashes, underscores.
        """
        if not _NAME.fullmatch(name):
            message = "a project's name is 1 to 64 letters, digits, spaces, dots, dashes or underscores"
            raise InvalidRequest(message, fields=("name",))
        if any(project.name == name for project in self._projects.values()):
            raise InvalidRequest("a project of that name exists", fields=("name",))
        project = Project(id=self._new_id(), name=name, created_at=self._clock.now_ms())
        with anyio.CancelScope(shield=True):  # memory and store must not differ
            await self._store.put_project(project)
        self._projects[project.id] = project
        return project

    # -- keys ---------------------------------------------------------------------------

    def keys(self, project: str) -> list[ApiKey]:
        """A project's keys, revoked ones included, oldest first."""
        owner = self.project(project).id
        return [key for key in self._keys.values() if key.project_id == owner]

    async def add_key(self, project: str, name: str = "") -> tuple[ApiKey, str]:
        """Make a key; answers it with its secret text, which is not kept and cannot be shown again."""
        secret = f"ion_{secrets.token_hex(8)}_{secrets.token_hex(32)}"
        return await self._add(self.project(project), secret, name, key_id=self._new_id()), secret

    async def adopt_key(self, key: str, project: str) -> ApiKey:
        """Make a key out of a text given from outside; the same text again changes nothing.

        Raises:
            InvalidRequest: Not 16 to 128 printable ASCII characters without spaces, or the key was revoked.
        """
        if not _BOOTSTRAP.fullmatch(key):
            message = "a bootstrap key is 16 to 128 printable ASCII characters without spaces"
            raise InvalidRequest(message, fields=("key",))
        digest = _digest(key)
        for known in self._keys.values():
            if known.digest == digest:
                if known.revoked_at is not None:
                    raise InvalidRequest("the bootstrap key was revoked", fields=("key",))
                return known
        return await self._add(self.project(project), key, "bootstrap", key_id=self._new_id())

    async def revoke_key(self, key_id: str, *, project: str) -> ApiKey:
        """Revoke a key; it is refused from the moment this returns, and its feeds close.

        Raises:
            KeyNotFound: The project has no such key.
        """
        key = self._keys.get(key_id)
        if key is None or key.project_id != self.project(project).id:
            raise KeyNotFound(key_id)
        if key.revoked_at is None:
            key = msgspec.structs.replace(key, revoked_at=self._clock.now_ms())
            await self._put(key)
            for tell in self.on_revoked:
                tell(key_id)
        return key

    async def _add(self, project: Project, secret: str, name: str, *, key_id: str) -> ApiKey:
        key = ApiKey(
            id=key_id,
            project_id=project.id,
            name=name,
            digest=_digest(secret),
            created_at=self._clock.now_ms(),
        )
        await self._put(key)
        return key

    async def _put(self, key: ApiKey) -> None:
        with anyio.CancelScope(shield=True):  # memory and store must not differ
            await self._store.put_key(key)
        self._remember(key)

    def _remember(self, key: ApiKey) -> None:
        self._keys[key.id] = key
        if key.revoked_at is None:
            self._principals[key.digest] = Principal(key_id=key.id, key_name=key.name, project_id=key.project_id)
        else:
            self._principals.pop(key.digest, None)


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()

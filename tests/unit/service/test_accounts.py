"""Projects, keys and the lock on the data folder."""

import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import anyio
import pytest
from anyio.lowlevel import checkpoint

from orchestrator.accounts import Accounts, Principal
from orchestrator.clock import uuid7_factory
from orchestrator.datafolder import owned
from orchestrator.errors import InvalidRequest, KeyNotFound, ProjectNotFound, StoreLocked
from orchestrator.storage.memory import MemoryStore
from orchestrator.testing.clock import ManualClock


async def opened() -> tuple[Accounts, MemoryStore]:
    clock = ManualClock()
    store = MemoryStore(clock)
    await store.open(lambda _: None)
    accounts = Accounts(store, clock, uuid7_factory(clock))
    await accounts.open()
    return accounts, store


async def test_a_key_authenticates_until_it_is_revoked() -> None:
    """A key is told once, found by its digest alone, and dead from the moment it is revoked; listeners hear of it."""
    accounts, store = await opened()
    key, secret = await accounts.add_key("default", "laptop")
    assert re.fullmatch(r"ion_[0-9a-f]{16}_[0-9a-f]{64}", secret)
    principal = Principal(key_id=key.id, key_name="laptop", project_id=key.project_id)
    assert accounts.authenticate(secret) == principal
    assert accounts.authenticate(secret[:-1] + "x") is None
    assert accounts.authenticate("\ud800") is None
    assert secret not in repr(await store.keys())
    told: list[str] = []
    accounts.on_revoked.append(told.append)
    assert (await accounts.revoke_key(key.id, project="default")).revoked_at is not None
    assert accounts.authenticate(secret) is None
    await accounts.revoke_key(key.id, project="default")
    assert told == [key.id]
    reopened = Accounts(store, ManualClock(), lambda: "unused")
    await reopened.open()
    assert reopened.authenticate(secret) is None
    assert [known.id for known in reopened.keys("default")] == [key.id]


async def test_a_cancelled_revocation_does_not_leave_a_live_key() -> None:
    """Cancelled at any turn, memory and store agree on whether the key is dead."""
    for turns in range(4):
        accounts, store = await opened()
        key, secret = await accounts.add_key("default")
        revoke = partial(accounts.revoke_key, key.id, project="default")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(revoke)
            for _ in range(turns):
                await checkpoint()
            tasks.cancel_scope.cancel()
        dead = (await store.keys())[0].revoked_at is not None
        assert (accounts.authenticate(secret) is None) is dead


async def test_projects_do_not_see_each_others_keys() -> None:
    """A key of another project cannot be revoked; names are unique and of a known form."""
    accounts, _ = await opened()
    key, _ = await accounts.add_key("default")
    await accounts.add_project("team-a")
    with pytest.raises(KeyNotFound):
        await accounts.revoke_key(key.id, project="team-a")
    with pytest.raises(InvalidRequest):
        await accounts.add_project("team-a")
    for name in ("", "-a", "a" * 65, "a\n", "a/b"):
        with pytest.raises(InvalidRequest):
            await accounts.add_project(name)
    with pytest.raises(ProjectNotFound):
        accounts.project("nobody")


async def test_a_bootstrap_key_is_adopted_once() -> None:
    """The same text again is the same key, also after a restart; a revoked one stays dead; others are refused."""
    accounts, store = await opened()
    text = "any-printable~ASCII!"
    key = await accounts.adopt_key(text, "default")
    assert await accounts.adopt_key(text, "default") == key
    again = Accounts(store, ManualClock(), lambda: "unused")
    await again.open()
    assert await again.adopt_key(text, "default") == key
    principal = again.authenticate(text)
    assert principal is not None
    assert principal.key_id == key.id
    for bad in ("short", "x" * 129, "with a space in the key", "ümlaut-in-the-key-text", "new\nline-in-the-key"):
        with pytest.raises(InvalidRequest):
            await again.adopt_key(bad, "default")
    await again.revoke_key(key.id, project="default")
    with pytest.raises(InvalidRequest):
        await again.adopt_key(text, "default")


async def test_the_first_project_stays_the_first() -> None:
    """A project made while the wall clock stood in the past does not become the default."""
    clock = ManualClock()
    store = MemoryStore(clock)
    await store.open(lambda _: None)
    first = await Accounts(store, clock, uuid7_factory(clock)).open()
    clock.jump_wall(-1e6)
    accounts = Accounts(store, clock, uuid7_factory(clock))
    assert await accounts.open() == first
    await accounts.add_project("older than the first")
    assert await Accounts(store, clock, uuid7_factory(clock)).open() == first


def test_a_data_folder_has_one_owner(tmp_path: Path) -> None:
    """A second process is refused with the owner's pid named; after the owner's end the folder is free."""
    program = f"""
import pathlib, sys
from orchestrator.datafolder import owned
with owned(pathlib.Path({str(tmp_path / "data")!r})):
    print("owned", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdin=-1, stdout=-1, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "owned\n"
        with pytest.raises(StoreLocked, match=f"in use by process {owner.pid}"), owned(tmp_path / "data"):
            pass
        owner.kill()
        owner.wait()
    with owned(tmp_path / "data") as folder:
        assert folder.stat().st_mode & 0o777 == 0o700

"""Whose file it is, read from the first hundred bytes, before SQLite gets to see it.

An ordinary connection may already change a stranger's file: it recovers a journal, or checkpoints on close. The
offsets are those of the documented file format (sqlite.org/fileformat2.html, section 1.3).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from orchestrator.errors import StorageRefused

#: "ionq" in ASCII, written before anything else: marks our files.
APPLICATION_ID: Final = 0x696F6E71
_MAGIC: Final = b"SQLite format 3\0"
_SIZE: Final = 100


def check(path: Path, newest: int) -> None:
    """Pass what is missing, empty or ours, with a schema up to `newest`.

    Raises:
        StorageRefused: The file is none, another program's, or a newer release's database.
        OSError: The file cannot be read.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        header = file.read(_SIZE)
    if not header:
        return
    if len(header) < _SIZE or not header.startswith(_MAGIC):
        raise StorageRefused(f"{path} is not a database")
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise StorageRefused(f"{path} belongs to another program")
    refuse_newer(int.from_bytes(header[60:64], "big"), newest)


def refuse_newer(version: int, newest: int) -> None:
    """A schema of a newer release is not ours to touch.

    Raises:
        StorageRefused: `version` is beyond `newest`.
    """
    if version > newest:
        raise StorageRefused(f"the database has schema {version}; this release knows up to {newest}")

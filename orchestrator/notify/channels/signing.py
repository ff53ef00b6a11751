"""Signatures of the Standard Webhooks convention (symmetric, ``v1``).

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from typing import Final

PREFIX: Final = "whsec_"
_MIN_BYTES, _MAX_BYTES = 24, 64


def new_secret() -> str:
    """A fresh secret: 32 random bytes."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def key_of(secret: object) -> bytes:
    """The key a secret stands for.

    Raises:
        ValueError: It is not ``whsec_`` and the base64 of 24 to 64 bytes; the message does not repeat it.
    """
    problem = f"a secret is {PREFIX} and the base64 of {_MIN_BYTES} to {_MAX_BYTES} bytes"
    if not isinstance(secret, str) or not secret.startswith(PREFIX):
        raise ValueError(problem)
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(problem) from None
    if not _MIN_BYTES <= len(key) <= _MAX_BYTES:
        raise ValueError(problem)
    return key


def headers(message_id: str, timestamp_s: int, body: bytes, keys: Iterable[bytes]) -> dict[str, str]:
    """The headers of a message, with one signature for each key, in their order."""
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp_s, body)
    signatures = (base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in keys)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }

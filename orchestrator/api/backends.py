"""Questions about backends that both versions ask alike."""

from __future__ import annotations

from typing import Final

from orchestrator.api.endpoint import Call
from orchestrator.api.errors import NotFound
from orchestrator.errors import BackendNotFound

#: Most characterizations on one page.
MAX_CHARACTERIZATIONS: Final = 10


def named_backend(call: Call) -> str:
    """The backend in the path.

    Raises:
        NotFound: There is none of that name.
    """
    try:
        return call.orchestrator.backends.resolve(call.part("backend"))
    except BackendNotFound:
        raise NotFound("backend not found") from None

"""``/jobs/{id}``, the page that notifications link to, and what it is made of.

The page is the same bytes for everyone and every id: it knows nothing until somebody gives it a key, which it keeps in
the tab's own storage and sends to the API alone. Job names and failures are other people's text: the page puts them
into text nodes only, and its policy lets no script run but the one that is served here.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from aiohttp import web

from orchestrator.api.endpoint import Access, Call, Handler, Route

_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def _file(name: str, content_type: str) -> Handler:
    body = files(__package__).joinpath(name).read_bytes()
    headers = {"Content-Type": f"{content_type}; charset=utf-8", **_HEADERS}

    async def serve(call: Call) -> web.Response:
        return web.Response(body=body, headers=headers)

    return serve


def routes() -> tuple[Route, ...]:
    """The page of a job and its parts; their places are relative, so that an application may be mounted anywhere."""
    return (
        Route("GET", "/jobs/{id}", Access.OPEN, _file("job.html", "text/html")),
        Route("GET", "/console/job.js", Access.OPEN, _file("job.js", "text/javascript")),
        Route("GET", "/console/job.css", Access.OPEN, _file("job.css", "text/css")),
        Route("GET", "/console/icon.svg", Access.OPEN, _file("icon.svg", "image/svg+xml")),
    )

"""The style and the script, read once; pages name them with the version."""

from __future__ import annotations

from functools import cache

from starlette.requests import Request
from starlette.responses import Response

from greylag.show.style import CSS
from greylag.web.drawing import FOLDER
from greylag.web.messages import refusal

_KINDS = {
    "style.css": "text/css; charset=utf-8",
    "charts.css": "text/css; charset=utf-8",
    "script.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


@cache
def _content(name: str) -> bytes:
    if name == "charts.css":
        return CSS.encode()
    return (FOLDER / "static" / name).read_bytes()


async def static(request: Request) -> Response:
    """Return one of the files that there are."""
    name = request.path_params["name"]
    if name not in _KINDS:
        return refusal(request.scope["visit"], 404, "There is no such file.")
    headers = {"cache-control": "public, max-age=3600", "content-type": _KINDS[name]}
    return Response(_content(name), headers=headers)

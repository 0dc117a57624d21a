"""Pages that say one thing: what was refused, what failed, what was done."""

from __future__ import annotations

from starlette.responses import HTMLResponse, RedirectResponse, Response

from greylag.web.visit import Visit

_TITLES = {
    400: "Wrong input",
    403: "Not allowed",
    404: "Not here",
    405: "Not allowed",
    413: "Too large",
    415: "No form",
    421: "Another name",
    429: "Too many tries",
    500: "An error of greylag",
    503: "Not now",
}


def refusal(visit: Visit, status: int, told: str, wait: int = 0) -> Response:
    """Return a page that says why there is no other."""
    page = visit.web.drawing.page("message", visit, title=_TITLES[status], told=told)
    headers = {"retry-after": str(wait)} if wait else None
    return HTMLResponse(page, status, headers)


def away(visit: Visit, cause: str) -> Response:
    """Return a page that says that the store is away."""
    page = visit.web.drawing.page("away", visit, cause=cause)
    return HTMLResponse(page, 503, {"retry-after": "10"})


def go_to(path: str) -> Response:
    """Have the browser load another page of ours, after a form."""
    return RedirectResponse(path, 303)

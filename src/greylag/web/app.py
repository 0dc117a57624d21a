"""The application: which page is where, who may see it, and what becomes of what goes wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from traceback import extract_tb
from typing import TypeAlias
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from greylag.admin.typed import WrongValue
from greylag.store.base import Store, StoreError
from greylag.web.accounts import AccountsError, Overtaken, Role
from greylag.web.cookies import give_word, new_word
from greylag.web.forms import WrongForm
from greylag.web.gate import Gate
from greylag.web.messages import away, go_to, refusal
from greylag.web.pages import CHANGES, OWNERS_CHANGES, OWNERS_PAGE, PAGES, box
from greylag.web.signing import Hashing, Signing
from greylag.web.static import static
from greylag.web.visit import Visit, Web

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]
Work: TypeAlias = Callable[[Visit, Store], Response | str]
_NO_LINK = "There is no such link, or its time is over."
_OVERTAKEN = "Your role or your password was changed meanwhile: nothing else was changed."
_LOCATION = 200  # characters of where a bug was


def application(web: Web) -> ASGIApp:
    """Return the dashboard."""
    signing = Signing(Hashing())
    routes = [
        Route("/static/{name}", static, methods=["GET"]),
        Route("/sign-in", _open(signing.form), methods=["GET"]),
        Route("/sign-in", _open(signing.sign_in), methods=["POST"]),
        Route("/sign-out", _open(signing.sign_out), methods=["POST"]),
        Route("/set-up/{word}", _open(signing.set_up_form), methods=["GET"]),
        Route("/set-up/{word}", _open(signing.set_up), methods=["POST"]),
        Route("/password", _signed_in(signing.password_form), methods=["GET"]),
        Route("/password", _signed_in(signing.set_password), methods=["POST"]),
    ]
    routes += [Route(path, _page(work), methods=["GET"]) for path, work in PAGES.items()]
    routes += [
        Route(path, _change(role, work), methods=["POST"]) for path, (role, work) in CHANGES.items()
    ]
    path, owners = OWNERS_PAGE
    routes.append(Route(path, _owners_page(owners), methods=["GET"]))
    routes += [
        Route(path, _owners_change(work), methods=["POST"]) for path, work in OWNERS_CHANGES.items()
    ]
    app = Starlette(routes=routes, exception_handlers={404: _nowhere, 405: _nowhere})
    app.router.redirect_slashes = False
    return Gate(app, web)


def _visit(request: Request) -> Visit:
    visit: Visit = request.scope["visit"]
    visit.parts = {key: str(text) for key, text in request.path_params.items()}
    return visit


def _open(serve: Callable[[Visit], Awaitable[Response]]) -> Endpoint:
    """Serve everybody."""

    async def endpoint(request: Request) -> Response:
        visit = _visit(request)
        return await _guarded(visit, serve(visit))

    return endpoint


def _signed_in(serve: Callable[[Visit], Awaitable[Response]]) -> Endpoint:
    """Serve whoever is signed in."""

    async def endpoint(request: Request) -> Response:
        visit = _visit(request)
        return await _guarded(visit, serve(visit)) if visit.account else _sign_in_first(visit)

    return endpoint


def _page(work: Work) -> Endpoint:
    """Show a page that reads the store, to whoever is signed in."""

    async def endpoint(request: Request) -> Response:
        visit = _visit(request)
        if visit.account is None:
            return _sign_in_first(visit)
        return await _guarded(visit, _worked(visit, work))

    return endpoint


def _change(role: Role, work: Work) -> Endpoint:
    """Make a change, for whoever has the role."""

    async def endpoint(request: Request) -> Response:
        visit = _visit(request)
        if visit.account is None:
            return refusal(visit, 403, "Sign in first: nothing was changed.")
        if visit.web.read_only:
            return refusal(visit, 403, "This dashboard only reads: nothing was changed.")
        if not visit.account.role.may(role):
            told = f"This takes the role {role.value}: nothing was changed."
            return refusal(visit, 403, told)
        return await _guarded(visit, _worked(visit, work))

    return endpoint


def _owners_page(work: Work) -> Endpoint:
    """Show a page to whoever has its link; its forms need a word of the browser."""

    async def endpoint(request: Request) -> Response:
        visit = _visit(request)
        if not box.is_known(visit):
            return refusal(visit, 404, _NO_LINK)
        given = not visit.word
        visit.word = visit.word or new_word()
        response = await _guarded(visit, _worked(visit, work))
        if given:
            give_word(response, visit.word, secure=visit.secure)
        return response

    return endpoint


def _owners_change(work: Work) -> Endpoint:
    """Make a change for whoever has a link."""

    async def endpoint(request: Request) -> Response:
        visit = _visit(request)
        if not box.is_known(visit):
            return refusal(visit, 404, _NO_LINK)
        if visit.web.read_only:
            return refusal(visit, 403, "This dashboard only reads: nothing was changed.")
        return await _guarded(visit, _worked(visit, work))

    return endpoint


async def _worked(visit: Visit, work: Work) -> Response:
    made = await visit.web.stores.run(lambda store: work(visit, store))
    return made if isinstance(made, Response) else HTMLResponse(made)


async def _guarded(visit: Visit, serving: Awaitable[Response]) -> Response:
    """Return the response; or a page that says what went wrong."""
    try:
        return await serving
    except StoreError as error:
        visit.web.journal.event({"event": "web-store-failed", "error": str(error)}, "error")
        return away(visit, str(error))
    except (WrongValue, WrongForm) as error:
        told = str(error)
        return refusal(visit, 400, f"{told[:1].upper()}{told[1:]}.")
    except LookupError:
        return refusal(visit, 404, "There is no such page, or what it showed is gone.")
    except Overtaken:
        return refusal(visit, 403, _OVERTAKEN)
    except AccountsError as error:
        return refusal(visit, 503, f"{error}.")
    except Exception as error:  # noqa: BLE001 - a bug in one page ends no other
        told = f"{type(error).__name__}: {error}"
        last = extract_tb(error.__traceback__)[-1]
        where = f"{last.filename}:{last.lineno}"[-_LOCATION:]
        about = {"event": "web-bug", "path": visit.path, "where": where, "error": told}
        visit.web.journal.event(about, "error")
        return refusal(visit, 500, "This page could not be made: the log tells why.")


def _sign_in_first(visit: Visit) -> Response:
    if visit.method == "POST":
        return refusal(visit, 403, "Sign in first: nothing was changed.")
    query = visit.query.without()
    back = visit.path + (f"?{query}" if query else "")
    return go_to("/sign-in" + (f"?{urlencode({'back': back})}" if back != "/" else ""))


async def _nowhere(request: Request, _error: Exception) -> Response:
    visit = _visit(request)
    if visit.account is None and visit.method != "POST":
        return _sign_in_first(visit)
    return refusal(visit, 404, "There is no such page, or what it showed is gone.")

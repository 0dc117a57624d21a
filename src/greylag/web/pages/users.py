"""Who may sign in. A password is set by its user, or by `greylag web passwd` on the server."""

from __future__ import annotations

from starlette.responses import HTMLResponse, Response

from greylag.admin.typed import WrongValue
from greylag.store.base import Store
from greylag.web.accounts import Role
from greylag.web.audit import changed
from greylag.web.messages import go_to, refusal
from greylag.web.visit import Visit


def page(visit: Visit, store: Store) -> Response:
    """Show the users, their roles and how often each is signed in."""
    del store
    if visit.role is not Role.ADMIN:
        return refusal(visit, 403, f"This takes the role {Role.ADMIN.value}.")
    web = visit.web
    rows = [(one, web.sessions.count(one.name, visit.now)) for one in web.accounts.all().values()]
    roles = [role.value for role in Role]
    return HTMLResponse(web.drawing.page("users", visit, rows=rows, roles=roles))


def sign_out(visit: Visit, store: Store) -> Response:
    """End all sessions of a user."""
    name = visit.form.one("user")
    ended = visit.web.sessions.end_all_of(name)
    changed(visit, store, "sign-out", f"{name} ({ended} sessions)")
    return go_to("/users")


def change_role(visit: Visit, store: Store) -> Response:
    """Give a user another role. Nobody changes his own: so there is always an admin."""
    web, name = visit.web, visit.form.one("user")
    _not_oneself(visit, name)
    words = {role.value: role for role in Role}
    role = words.get(visit.form.one("role"))
    if role is None:
        raise WrongValue(f"expected a role: {', '.join(words)}")
    if not web.accounts.give_role(name, role, visit.user):
        raise LookupError(name)
    changed(visit, store, "role", f"{name} {role.value}")
    return go_to("/users")


def remove(visit: Visit, store: Store) -> Response:
    """Delete a user."""
    name = visit.form.one("user")
    _not_oneself(visit, name)
    if not visit.web.accounts.remove(name, visit.user):
        raise LookupError(name)
    visit.web.sessions.end_all_of(name)
    changed(visit, store, "remove-user", name)
    return go_to("/users")


def _not_oneself(visit: Visit, name: str) -> None:
    if name == visit.user:
        raise WrongValue("this is yourself: another admin, or `greylag web passwd`, can do it")
